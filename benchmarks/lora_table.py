"""Full training against adapters of ranks 8, 16 and 32: what each costs and what it learns.

    OMP_NUM_THREADS=1 python benchmarks/lora_table.py [--steps N] [--folder DIR]

A small network is trained on drawn clips of shapes that pass each other; this is the base.
From it, each method is trained on clips in which they collide, in a process of its own, on the
same clips in the same order. Printed is a table in Markdown: the loss on held-out clips, which
is the average's; bytes held beside activations; the process's peak; seconds of the steps; the
file. A second table has the same for the published 2B network, by arithmetic on its shapes.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import adapter_size
from worldtune.config.compose import compose
from worldtune.config.predict2 import Predict2Recipe
from worldtune.data.shapes import write_clips
from worldtune.inference.pieces import adapter_config, network_config, network_dtype
from worldtune.models.build import build
from worldtune.models.lora import Adapter, adapter_weights, add_lora
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train import run as training
from worldtune.train.logs import read_metrics
from worldtune.train.setup import Learner

EXPERIMENT = "predict2_video2world_training_tiny"
NET = "model.config.pipe_config.net"
SIZE, FRAMES, LATENT_FRAMES = (64, 112), 17, 5
WIDTH, BLOCKS, HEADS = 256, 6, 8
BASE_STEPS, BASE_RATE = 800, 1e-3
RANKS = (8, 16, 32)
# The best after 300 steps of 1e-4, 3e-4, 1e-3 and 3e-3; for adapters, at rank 16, of 1e-2 too.
FULL_RATE, LORA_RATE = 1e-3, 3e-3
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Measured:
    """What one training run took and reached."""

    loss: float
    held: int
    peak_gib: float
    seconds: float
    file: int


def words_of(clips: Path, kind: str, steps: int, rate: float) -> list[str]:
    """The tiny experiment at the sizes of this comparison, on clips of a kind."""
    words = [
        f"{NET}.model_channels={WIDTH}",
        f"{NET}.num_blocks={BLOCKS}",
        f"{NET}.num_heads={HEADS}",
        f"model.config.pipe_config.state_t={LATENT_FRAMES}",
        f"trainer.max_iter={steps}",
        f"trainer.validation_iter={steps}",
        "trainer.max_val_iter=8",
        f"checkpoint.save_iter={steps}",
        f"optimizer.lr={rate}",
        "scheduler.warm_up_steps=[20]",
    ]
    for name, part in (("dataloader_train", "train"), ("dataloader_val", "val")):
        words += [
            f"{name}.dataset.dataset_dir={clips / kind / part}",
            f"{name}.dataset.num_frames={FRAMES}",
            f"{name}.dataset.video_size=[{SIZE[0]},{SIZE[1]}]",
            f"{name}.batch_size=2",
            f"{name}.num_workers=0",
        ]
    return words


def train_and_measure(words: Sequence[str], folder: Path, answer: Connection) -> None:
    """Train in this process and say what it took."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    held: list[int] = []
    build_learner = training.build_learner

    def counted(*things: object) -> Learner:
        learner = build_learner(*things)  # pyright: ignore[reportArgumentType]
        held.append(sum(learner.bytes_held().values()))
        return learner

    training.build_learner = counted
    training.run_training(compose(PREDICT2, EXPERIMENT, words, environment={}), folder)
    lines = read_metrics(folder / "metrics.jsonl")
    steps = [line for line in lines if line["kind"] == "step"]
    loss = [line for line in lines if line["kind"] == "validation"][-1]["average"]
    kinds = ("adapters/iter_*[0-9].safetensors", "model/iter_*.pt")
    file = next(file for kind in kinds for file in (folder / "checkpoints").glob(kind))
    measured = Measured(
        loss=loss,
        held=held[0],
        peak_gib=steps[-1]["memory_gib"],
        seconds=sum(line["step_s"] for line in steps),
        file=file.stat().st_size,
    )
    answer.send(json.dumps(asdict(measured)))


def measure(words: Sequence[str], folder: Path) -> Measured:
    """The same in a process of its own, so that its peak is its own."""
    context = get_context("spawn")
    hears, tells = context.Pipe(duplex=False)
    process = context.Process(target=train_and_measure, args=(words, folder, tells))
    process.start()
    tells.close()
    try:
        return Measured(**json.loads(hears.recv()))
    except EOFError:
        raise RuntimeError(f"{folder} failed; see its stdout.log") from None
    finally:
        process.join()


def first_loss(folder: Path) -> float:
    """The held-out loss of the base, which is what adapters begin with."""
    lines = read_metrics(folder / "metrics.jsonl")
    return next(line for line in lines if line["kind"] == "validation")["network"]


def draw(clips: Path) -> None:
    """Clips of both kinds to train on and to hold out."""
    for number, (part, count) in enumerate((("train", 96), ("val", 16))):
        for kind in ("normal", "collision"):
            write_clips(
                clips / kind / part,
                count,
                kind=kind,
                size=SIZE,
                frames=2 * FRAMES - 1,
                seed=number,
            )


def measure_all(base: Path, steps: int) -> None:
    """Train the base and then each method, and print the table."""
    clips = base / "clips"
    draw(clips)
    measure(words_of(clips, "normal", BASE_STEPS, BASE_RATE), base / "base")
    weights = next((base / "base" / "checkpoints" / "model").glob("iter_*.pt"))
    start = [
        "model.config.fresh_weights=False",
        f"model.config.model_manager_config.dit_path={weights}",
    ]
    rows = {"full": [*words_of(clips, "collision", steps, FULL_RATE), *start]}
    for rank in RANKS:
        adapters = [
            "model.config.train_architecture=lora",
            f"model.config.lora_rank={rank}",
            f"model.config.lora_alpha={rank}",
        ]
        rows[f"LoRA, rank {rank}"] = [
            *words_of(clips, "collision", steps, LORA_RATE),
            *start,
            *adapters,
        ]
    print("| | held-out loss | held | peak of the process | seconds | file |")
    print("|---|---|---|---|---|---|")
    for name, words in rows.items():
        got = measure(words, base / name.replace(", ", "_").replace(" ", "_"))
        if name == "full":
            print(f"| the base | {first_loss(base / 'full'):.4f} | | | | |")
        print(
            f"| {name} | {got.loss:.4f} | {got.held / MIB:.1f} MiB | {got.peak_gib:.2f} GiB | "
            f"{got.seconds:.0f} | {got.file / MIB:.2f} MiB |",
            flush=True,
        )


# --- the published size, by arithmetic ---


def published(rank: int | None) -> tuple[int, int]:
    """Bytes held beside activations, and of the file, for 2B in bfloat16 with an average."""
    experiment = "predict2_video2world_training_2b_its"
    words = []
    if rank is not None:
        words = [
            "model.config.train_architecture=lora",
            f"model.config.lora_rank={rank}",
            f"model.config.lora_alpha={rank}",
        ]
    recipe: Predict2Recipe = compose(PREDICT2, experiment, words, environment={}).recipe
    dtype = network_dtype(recipe)
    network = build(network_config(recipe), device="meta", dtype=dtype)
    base = sum(weight.nbytes for weight in network.parameters())
    count = sum(weight.numel() for weight in network.parameters())
    config = adapter_config(recipe)
    if config is None:
        # Masters, gradients, two moments and the average in float32; the file holds both.
        return base + 5 * 4 * count, base + 4 * count
    add_lora(network, config, seed=0)
    weights = {name: weight.detach() for name, weight in adapter_weights(network).items()}
    count = sum(weight.numel() for weight in weights.values())
    notes = AdapterNotes(config=config, family="predict2")
    # An adapter is its own master.
    return base + 5 * 4 * count, adapter_size(Adapter(config, weights), notes, dtype)


def tell_published() -> None:
    """Print the second table."""
    print("\n| 2B | held | file |")
    print("|---|---|---|")
    for name, rank in {"full": None, **{f"LoRA, rank {rank}": rank for rank in RANKS}}.items():
        held, file = published(rank)
        size = f"{file / 1e9:.1f} GB" if file > 1e9 else f"{file / 1e6:.0f} MB"
        print(f"| {name} | {held / GIB:.1f} GiB | {size} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep clips and runs here")
    args = parser.parse_args()
    tell = args.folder
    if tell is not None:
        tell.mkdir(parents=True)
        measure_all(tell, args.steps)
    else:
        with tempfile.TemporaryDirectory() as base:
            measure_all(Path(base), args.steps)
    tell_published()


if __name__ == "__main__":
    main()

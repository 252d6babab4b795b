"""Pretrain the base that comes with the package: normal traffic, at most an hour on two cores.

    python -m benchmarks.base [--folder DIR]             # clips, training, weights, curve
    python -m benchmarks.base --folder DIR --finish      # weights and curve of a run so far

Clips are painted from the package's recordings of normal traffic, without those that the demo
holds out. The run goes on where it was when the same command is started again. Written are
`src/worldtune/recipes/base/traffic.safetensors`, which is the average at the last save, and
`docs/base-loss.png`; printed is what docs/base.md says of them.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from safetensors.torch import save_file

from worldtune.cli.demo_steps import FULL, Demo, divided
from worldtune.config.compose import compose
from worldtune.config.predict2 import Predict2Recipe
from worldtune.data.scenes import library
from worldtune.data.scenes.write import write_its
from worldtune.inference.checkpoints import find_checkpoint, load_network
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.traffic_experiments import (
    BASE_EXPERIMENT,
    BASE_WEIGHTS,
    FPS,
    FRAMES,
    SIZE,
)
from worldtune.train.curve import LossCurve
from worldtune.train.logs import read_metrics

CLIPS, CLIP_FRAMES, CLIP_SEED = 640, 81, 1001
DEMO_SEED = 0
PROCESSES = 2
LOSS_PICTURE = Path(__file__).parents[1] / "docs" / "base-loss.png"
MIB = 2**20


def held_out_recordings() -> set[str]:
    """Recordings of normal traffic that the demo holds out."""
    clips = divided(Demo(Path(), FULL, DEMO_SEED))
    return {c.recording for c in clips if (c.kind, c.part) == ("normal", "val")}


def paint(folder: Path, workers: int) -> None:
    """Paint clips to train on, from all other recordings, and those that the demo holds out."""
    recordings = folder / "recordings"
    if not (recordings / "accident.xz").exists():
        held_out = held_out_recordings()
        kept = [r for r in library.recordings("normal") if r.name not in held_out]
        # Of accidents only the places are used: cameras look where they happen.
        accidents = library.recordings("accident")
        library.write_files(recordings, library.layouts(), {"normal": kept, "accident": accidents})
    write_its(
        folder / "base", normal=CLIPS, accident=0, size=SIZE, frames=CLIP_FRAMES, fps=FPS,
        seed=CLIP_SEED, recorded=recordings, workers=workers, progress=_tell,
    )  # fmt: skip
    write_its(
        folder / "val", normal=FULL.held_out, accident=0, size=SIZE, frames=FRAMES, fps=FPS,
        seed=DEMO_SEED, workers=workers, progress=_tell,
    )  # fmt: skip


def _tell(done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"{done} of {total} clips", flush=True)


def run_folder(folder: Path) -> Path:
    """Where the run lies."""
    return folder / "runs" / "posttraining" / "video2world" / "base_traffic"


def train(folder: Path) -> None:
    """Train the experiment on the clips, in two processes of one thread each."""
    launched = [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={PROCESSES}"),
        *("-m", "worldtune", "train", f"--experiment={BASE_EXPERIMENT}"),
        f"dataloader_train.dataset.dataset_dir={folder / 'base' / 'normal'}",
        f"dataloader_val.dataset.dataset_dir={folder / 'val' / 'normal'}",
    ]
    environment = {
        **os.environ,
        "IMAGINAIRE_OUTPUT_ROOT": str(folder / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(launched, env=environment, check=True)


def write_weights(run: Path) -> int:
    """Write the run's average as the package's base, under the network's names; its bytes."""
    recipe = compose(PREDICT2, BASE_EXPERIMENT, (), environment={}).recipe
    assert isinstance(recipe, Predict2Recipe)
    checkpoint = find_checkpoint(run)
    loaded = load_network(checkpoint, recipe, device="cpu", average=True)
    weights = {name: p.detach().contiguous() for name, p in loaded.network.named_parameters()}
    BASE_WEIGHTS.parent.mkdir(exist_ok=True)
    save_file(weights, BASE_WEIGHTS, metadata={"experiment": BASE_EXPERIMENT})
    BASE_WEIGHTS.chmod(0o644)
    print(loaded.report)
    return BASE_WEIGHTS.stat().st_size


def tell(run: Path, size: int) -> None:
    """Draw the curve and print the numbers."""
    lines = read_metrics(run / "metrics.jsonl")
    steps = [line for line in lines if line["kind"] == "step"]
    checks = [line for line in lines if line["kind"] == "validation"]
    last = steps[-1]["iteration"]
    curve = LossCurve(run, run / "metrics.jsonl", every=1)
    curve.path = LOSS_PICTURE
    curve.draw()
    before = [c["average"] for c in checks if 0 < c["iteration"] <= 0.8 * last + 1e-9]
    end = checks[-1].get("average", checks[-1]["network"])
    told = {
        "steps": last,
        "minutes of steps": round(sum(line["step_s"] for line in steps) / 60, 1),
        "held-out loss before the first step": round(checks[0]["network"], 4),
        "held-out loss at four fifths": round(before[-1], 4) if before else None,
        "held-out loss at the end": round(end, 4),
        "gain of the last fifth": f"{1 - end / before[-1]:.1%}" if before else None,
        "training loss, last 500 steps": round(fmean(line["loss"] for line in steps[-500:]), 4),
        "weights in MiB": round(size / MIB, 2),
    }
    print(json.dumps(told, indent=1))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("worldtune-base"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--finish", action="store_true", help="neither paint nor train")
    args = parser.parse_args()
    if not args.finish:
        paint(args.folder, args.workers)
        train(args.folder)
    run = run_folder(args.folder)
    tell(run, write_weights(run))


if __name__ == "__main__":
    main()

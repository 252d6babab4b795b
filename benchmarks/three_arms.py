"""What accidents in the mixture bring: the base, tuned on normal traffic only, tuned 1:1.

    python -m benchmarks.three_arms [--folder DIR] [--steps N] [--rate LR] [--seeds 0 1 2]

All arms start from the package's base and take the same steps on the same noise; only the folder
that clips come from differs. Trainings run two at once, of one thread each; those that are done
are not done again. Printed, as tables in Markdown: the losses on the demo's held-out
clips for each seed; and, of clips that each arm makes from five given frames, the PSNR on pixels
that move in the real clip, beside that of a clip that stands still, and the motion energy as a
share of the real clips'.

A pixel moves where the real clip leaves its first frame by more than 24 of 255 in any colour; both
clips are compared as the tokenizer gives them back, so its own loss counts for neither.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from worldtune.cli import demo_steps
from worldtune.cli.demo_steps import CLASSES, FULL, Demo
from worldtune.cli.main import run as run_command
from worldtune.data.decode import read_window
from worldtune.data.video import to_pixels
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.recipes.traffic_experiments import BASE_WEIGHTS, FPS, FRAMES, TUNED_EXPERIMENT

ARMS = ("base", "normal", "mixed")
TOLD = {"base": "the base", "normal": "normal traffic only", "mixed": "1:1"}
MOVES = 24
Losses = dict[str, float]


def clips_of(demo: Demo, arm: str) -> list[str]:
    """The words that name an arm's clips."""
    if arm == "normal":
        return [f"dataloader_train.dataset.dataset_dir={demo.clips('train', 'normal')}"]
    words = demo_steps.train_words(demo)
    return [word for word in words if word.startswith("dataloader_train.dataset.")]


def train(demo: Demo, arm: str, seed: int, steps: int, rate: float) -> Path:
    """Train an arm, or find that it is trained; give the run's folder."""
    name = f"{arm}_{seed}"
    words = [
        f"--experiment={TUNED_EXPERIMENT}",
        *clips_of(demo, arm),
        f"job.name={name}",
        f"trainer.max_iter={steps}",
        f"scheduler.cycle_lengths=[{steps}]",
        f"trainer.seed={seed}",
        f"optimizer.lr={rate}",
        "trainer.run_validation=False",
        f"trainer.logging_iter={steps // 4}",
        f"checkpoint.save_iter={steps}",
        "dataloader_train.num_workers=0",
    ]
    environment = {
        **os.environ,
        "IMAGINAIRE_OUTPUT_ROOT": str(demo.runs),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "worldtune", "train", *words]
    with (demo.out / f"{name}.log").open("ab") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
    return demo.runs / "posttraining" / "video2world" / name


def model_words(run: Path | None) -> list[str]:
    """The words that name an arm's weights."""
    if run is None:
        return ["--checkpoint", str(BASE_WEIGHTS), "--experiment", TUNED_EXPERIMENT]
    return ["--checkpoint", str(run)]


def measure(demo: Demo, run: Path | None, out: Path) -> Losses:
    """The losses of an arm on held-out clips, by class."""
    folders = [w for k in CLASSES for w in ("--clips", f"{k}={demo.clips('val', k)}")]
    run_command(["measure", *model_words(run), *folders, "--out", str(out)])
    told = json.loads(out.read_text(encoding="utf-8"))["losses"]
    return {kind: told[kind]["mean"] for kind in CLASSES}


@dataclass(frozen=True)
class Motion:
    """How well made clips move: PSNR in dB on moving pixels, and energy as a share of the real.

    `energy` is of all clips together, `each` the geometric mean over clips, in which those that
    hardly move count as much as any.
    """

    psnr_db: float
    still_db: float
    energy: float
    each: float


def generate(demo: Demo, run: Path | None, name: str) -> None:
    """Let an arm go on from all held-out clips."""
    requests = demo_steps.write_requests(demo, name)
    words = [*model_words(run), "--batch", str(requests), "--fps", f"{FPS:g}", "--force"]
    run_command(["generate", *words, *demo_steps.SAMPLING])


def motion(demo: Demo, name: str, kind: str) -> Motion:
    """How an arm's clips of a class move, beside the real ones."""
    tokenizer = BuiltinTokenizer()
    made_db, still_db, energies, real_energies = [], [], [], []
    for kind_of, clip in demo.shown():
        if kind_of != kind:
            continue
        pixels = read_window(demo.real(kind, clip), 0, FRAMES)
        video = pixels.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        real = to_pixels(tokenizer.decode(tokenizer.encode(video))[0]).float()
        made = read_window(demo.made(name, clip), 0, FRAMES).float()
        moves = (pixels.float() - pixels[:1]).abs().amax(-1) > MOVES
        moves[: demo_steps.GIVEN] = False
        if not moves.any():
            continue
        made_db.append(psnr(made[moves], real[moves]))
        still_db.append(psnr(real[:1].expand_as(real)[moves], real[moves]))
        energies.append(energy(made))
        real_energies.append(energy(real))
    shares = [one / other for one, other in zip(energies, real_energies, strict=True)]
    each = math.exp(fmean(map(math.log, shares)))
    return Motion(fmean(made_db), fmean(still_db), sum(energies) / sum(real_energies), each)


def psnr(one: Tensor, other: Tensor) -> float:
    """In dB, of values up to 255."""
    return 10 * math.log10(255**2 / (one - other).square().mean().item())


def energy(frames: Tensor) -> float:
    """Mean square of the change from frame to frame, behind the given ones."""
    return torch.diff(frames[demo_steps.GIVEN - 1 :], dim=0).square().mean().item()


def main() -> None:
    """Read the command line, train the arms, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("worldtune-arms"))
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--rate", type=float, default=1e-3, help="largest learning rate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=2, help="trainings at once")
    parser.add_argument("--shown", type=int, default=FULL.held_out, help="clips made of a class")
    args = parser.parse_args()
    torch.set_num_threads(1)
    amounts = demo_steps.Amounts(FULL.train, FULL.held_out, args.shown, args.steps)
    demo = Demo(args.folder, amounts, 0)
    run_command(demo_steps.paint_words(demo, workers=args.at_once))
    demo_steps.divide(demo)

    trained = [(arm, seed) for seed in args.seeds for arm in ARMS[1:]]
    with ThreadPoolExecutor(args.at_once) as pool:
        folders = pool.map(
            lambda each: train(demo, each[0], each[1], args.steps, args.rate), trained
        )
        runs = dict(zip(trained, folders, strict=True))
    losses = {
        (arm, seed): measure(demo, run, demo.out / f"{arm}_{seed}.json")
        for (arm, seed), run in runs.items()
    }
    base = measure(demo, None, demo.losses("base"))
    losses |= {("base", seed): base for seed in args.seeds}
    tell_losses(losses, args.seeds)

    demo_steps.cut_first_frames(demo)
    print(
        "\n| clips made by | class | PSNR, moving pixels | standing still | motion energy | each |"
    )
    print("|---|---|---|---|---|---|")
    for arm in ARMS:
        generate(demo, runs.get((arm, args.seeds[0])), arm)
        for kind in CLASSES:
            got = motion(demo, arm, kind)
            print(
                f"| {TOLD[arm]} | {kind} | {got.psnr_db:.2f} dB | {got.still_db:.2f} dB "
                f"| {got.energy:.2f} | {got.each:.2f} |",
                flush=True,
            )


def tell_losses(losses: dict[tuple[str, int], Losses], seeds: list[int]) -> None:
    """Print the table of losses."""
    print("\n| seed | class | the base | normal traffic only | 1:1 | 1:1 against normal only |")
    print("|---|---|---|---|---|---|")
    for seed in seeds:
        for kind in CLASSES:
            base, normal, mixed = (losses[arm, seed][kind] for arm in ARMS)
            print(
                f"| {seed} | {kind} | {base:.4f} | {normal:.4f} | {mixed:.4f} "
                f"| {mixed / normal - 1:+.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""`worldtune demo`: the whole way in minutes, by the commands that a user would type."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from worldtune.errors import DataError, ExitStatus, RecipeError

EXPERIMENT = "predict2_video2world_training_tiny"
SIZE = (64, 112)
FRAMES = 17
DRAWN = {"train": 96, "val": 8}
# Every fifth clip of a folder of one's own is held out, two at least: they are sampled from.
HELD_OUT_EVERY = 5
FEWEST_CLIPS = 4


def demo(
    clips: Annotated[
        Path | None,
        typer.Option(help="Train on this folder (videos/, metas/) in place of drawn clips."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path(
        "worldtune-demo"
    ),
    iterations: Annotated[int, typer.Option(min=20, help="Training steps.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of clips, training and sampling.")] = 0,
) -> int:
    """Train a tiny model on clips of moving shapes, and make a clip with it.

    Takes a few minutes on two cores. Nothing is downloaded.
    """
    claim(out, {"clips": str(clips.resolve()) if clips else "drawn", "seed": seed})
    folder = out / "clips"
    if clips is None:
        typer.echo(f"Drawing {sum(DRAWN.values())} clips of moving shapes into {folder}")
        draw_clips(folder, seed)
    else:
        typer.echo(f"Holding out some clips of {clips}; links lie in {folder}")
        divide_clips(clips, folder)
    run = train_tiny(folder, out, iterations, seed)
    made = out / "made.mp4"
    first, caption = held_out_clip(folder / "val")
    status = make_clip(run, first, caption, made, seed)
    if status != ExitStatus.DONE:
        return status
    tell_result(run, made, first)
    return ExitStatus.DONE


def claim(out: Path, asked: dict[str, object]) -> None:
    """Note what a folder's demo is of; refuse a folder that holds something else.

    The same demo goes on from where it was.
    """
    note = out / "demo.json"
    if note.exists():
        before = json.loads(note.read_text(encoding="utf-8"))
        if before != asked:
            raise RecipeError(
                f"{out} holds a demo of {before}, and this one is of {asked}; give it a folder "
                "of its own with --out"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise RecipeError(f"{out} holds other things; give the demo a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(asked), encoding="utf-8")


def draw_clips(folder: Path, seed: int) -> None:
    """Draw training and held-out clips, of different seeds; those that are there stay."""
    from worldtune.data.shapes import write_clips

    for number, (part, count) in enumerate(DRAWN.items()):
        if not (folder / part / "videos").is_dir():
            write_clips(
                folder / part, count, size=SIZE, frames=2 * FRAMES - 1, seed=2 * seed + number
            )


def divide_clips(source: Path, folder: Path) -> None:
    """Link a folder's clips and captions into a part to train on and one held out."""
    videos = sorted((source / "videos").glob("*.mp4"))
    if len(videos) < FEWEST_CLIPS:
        raise DataError(
            f"{source / 'videos'} has {len(videos)} .mp4 files; the demo needs {FEWEST_CLIPS} to "
            "train on some and hold out others"
        )
    every = min(HELD_OUT_EVERY, len(videos) // 2)
    for number, video in enumerate(videos):
        part = folder / ("val" if number % every == 0 else "train")
        for kind, file in (("videos", video), ("metas", source / "metas" / f"{video.stem}.txt")):
            link = part / kind / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())


def train_tiny(folder: Path, out: Path, iterations: int, seed: int) -> Path:
    """Train the tiny recipe on the folder's clips and give the run's folder."""
    from worldtune.cli.train import start

    os.environ["IMAGINAIRE_OUTPUT_ROOT"] = os.environ["OUTPUT_ROOT"] = str(out / "runs")
    size = f"[{SIZE[0]},{SIZE[1]}]"
    words = [f"--experiment={EXPERIMENT}", f"trainer.max_iter={iterations}", f"trainer.seed={seed}"]
    for loader, part in (("dataloader_train", "train"), ("dataloader_val", "val")):
        words += [
            f"{loader}.dataset.dataset_dir={folder / part}",
            f"{loader}.dataset.video_size={size}",
        ]
    words += [
        f"trainer.sample_iter={iterations}",
        f"trainer.validation_iter={iterations // 4}",
        f"trainer.logging_iter={max(1, iterations // 20)}",
        f"checkpoint.save_iter={iterations // 2}",
        f"scheduler.cycle_lengths=[{iterations}]",
        "scheduler.f_min=[0.1]",
    ]
    say_command(f"IMAGINAIRE_OUTPUT_ROOT={out / 'runs'} worldtune train", words)
    start(words)
    return out / "runs" / "posttraining" / "video2world" / "tiny"


def make_clip(run: Path, first: Path, caption: str, made: Path, seed: int) -> int:
    """Make a clip that goes on from a held-out one's frames; give the command's status."""
    from worldtune.cli.main import run as run_command

    words = ["generate", "--checkpoint", str(run), "--input", str(first), "--prompt", caption]
    words += ["--guidance", "1", "--seed", str(seed), "--out", str(made), "--force"]
    say_command("worldtune", words)
    return run_command(words)


def held_out_clip(part: Path) -> tuple[Path, str]:
    """The first held-out clip and its caption."""
    video = min((part / "videos").glob("*.mp4"))
    return video, (part / "metas" / f"{video.stem}.txt").read_text(encoding="utf-8").strip()


def say_command(program: str, words: list[str]) -> None:
    """Show a command as one would type it."""
    typer.echo(f"\n$ {program} {shlex.join(words)}\n")


def tell_result(run: Path, made: Path, first: Path) -> None:
    """What was learned, and where to look."""
    from worldtune.train.logs import read_metrics

    losses = [r for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "validation"]
    start, end = losses[0]["network"], losses[-1].get("average", losses[-1]["network"])
    typer.echo(f"\nHeld-out loss: {start:.3f} before the first step, {end:.3f} at the end")
    typer.echo(f"Loss curve:    {run / 'loss.png'}")
    strips = sorted((run / "samples").glob("*/strip.png"))
    if strips:
        typer.echo(f"Samples:       {strips[-1]} (real clips above, the model's below)")
    typer.echo(f"The clip made: {made} (it goes on from the end of {first})")

"""`worldtune measure`: the loss of weights on folders of held-out clips.

Nothing heavy is imported here: `--help` has half a second.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from worldtune.cli import generate_words as option
from worldtune.errors import RecipeError


def measure(
    checkpoint: option.Checkpoint = None,
    clips: Annotated[
        list[str] | None,
        typer.Option("--clips", help="NAME=FOLDER of videos/ and metas/; may be given again."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the losses here, as JSON.")] = None,
    average: option.Average = None,
    config: option.Config = None,
    experiment: option.Experiment = None,
    device: option.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Measure the loss of weights on folders of clips that they were not trained on.

    \b
      worldtune measure --checkpoint RUN --clips normal=val/normal --clips accident=val/accident

    Each clip gets the same noise every time, at one level in each quarter of those that
    training draws, so the losses of two checkpoints differ by what was learned.
    """
    folders = _folders(clips or [])
    from worldtune.cli.measuring import losses_of, read_model

    model = read_model(
        option.Words(checkpoint=checkpoint, average=average, config=config, experiment=experiment,
                     device=device)
    )  # fmt: skip
    told = {"weights": model.report, "losses": {}}
    if not as_json:
        typer.echo(f"Weights: {model.report}")
    for name, folder in folders.items():
        losses, count = losses_of(model, folder)
        told["losses"][name] = {**losses, "clips": count}
        if not as_json:
            bands = ", ".join(f"{band} {losses[band]:.4f}" for band in losses if band != "mean")
            typer.echo(f"{name}: {losses['mean']:.4f} on {count} clips ({bands})")
    text = json.dumps(told, indent=1)
    if as_json:
        typer.echo(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


def _folders(clips: list[str]) -> dict[str, Path]:
    """Folders by name, as the words say. Errors: RecipeError."""
    folders: dict[str, Path] = {}
    for word in clips:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise RecipeError(f"--clips {word} names no folder; expected NAME=FOLDER")
        if name in folders:
            raise RecipeError(f"--clips names {name} twice; give each folder a name of its own")
        folders[name] = Path(folder)
    if not folders:
        raise RecipeError("say what to measure on: --clips NAME=FOLDER, once for each folder")
    return folders

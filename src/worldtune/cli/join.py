"""`worldtune join`: join the tensor-parallel parts of a training checkpoint.

Nothing heavy is imported here: `--help` has half a second.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldtune.cli.conversion import (
    AsJson,
    Force,
    Verify,
    shown_progress,
    tell_converted,
    times,
    works_here,
)
from worldtune.errors import CheckpointError, ExitStatus

if TYPE_CHECKING:
    from worldtune.checkpoint.join import JoinReport


def join(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A part, or the master iter_N.pt beside the parts.")
    ] = None,
    checkpoint_path: Annotated[
        Path | None,
        typer.Option("--checkpoint-path", help="The same, as the published command says it."),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            help="The run's name: the files go into its `fsdp_checkpoints`, and a path of "
            "another run is refused.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output-directory",
            "--output",
            help="Folder; `fsdp_checkpoints` beside that of the parts.",
        ),
    ] = None,
    include_base_model: Annotated[
        bool, typer.Option("--include-base-model", help="Put the frozen base into both files.")
    ] = False,
    allow_different_replicas: Annotated[
        bool,
        typer.Option(
            "--allow-different-replicas",
            help="Take part 0's copy of weights that every part holds whole and that differ.",
        ),
    ] = False,
    force: Force = False,
    verify: Verify = True,
    as_json: AsJson = False,
) -> None:
    """Join the tensor-parallel parts of a training checkpoint into files that are read whole.

    \b
      worldtune join checkpoints/.../EXPERIMENT/checkpoints/iter_000000100.pt

    Writes iter_000000100_reg_model.pt (the weights) and iter_000000100_ema_model.pt (their
    average). How many parts there are is read from them. One process, no GPU, one tensor in
    memory at a time. After a break the same command goes on.
    """
    if not works_here():
        return
    path = _one_path(checkpoint, checkpoint_path)
    from worldtune.checkpoint.join import join_parts

    with shown_progress() as progress:
        report = join_parts(
            path,
            output,
            experiment=experiment,
            include_base_model=include_base_model,
            allow_different_replicas=allow_different_replicas,
            force=force,
            verify=verify,
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(_answer(report), indent=1))
        return
    for notice in report.notices:
        typer.echo(f"Notice: {notice}")
    typer.echo(f"{report.checkpoint}: {report.tensors} tensors from {report.size} parts")
    tell_converted(report.converted, verified=verify)
    for file in (report.weights, report.average, report.also):
        if file:
            typer.echo(f"  {file}{'  (the same file)' if file == report.also else ''}")


def _answer(report: "JoinReport") -> dict[str, object]:
    """What a program is told."""
    return {
        "checkpoint": str(report.checkpoint),
        "size": report.size,
        "tensors": report.tensors,
        "weights": str(report.weights),
        "average": report.average and str(report.average),
        "also": report.also and str(report.also),
        "written": [str(path) for path in report.converted.written],
        "kept": [str(path) for path in report.converted.kept],
        **times(report.converted),
        "notices": list(report.notices),
    }


def _one_path(word: Path | None, option: Path | None) -> Path:
    if (word is None) == (option is None):
        found = "none" if word is None else f"both {word} and {option}"
        raise CheckpointError(
            f"One checkpoint is joined, and {found} was given. Give a part or its master, "
            "such as .../EXPERIMENT/checkpoints/iter_000000100.pt."
        )
    path = word or option
    assert path is not None
    return path


def launch(words: Sequence[str]) -> int:
    """`convert_ckpt_tp_to_fsdp.py`, alone or under torchrun, which takes the same words."""
    from worldtune.cli.main import run

    return run(["join", *words]) if works_here() else ExitStatus.DONE

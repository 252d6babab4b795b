"""`worldtune split`: cut a file of weights into tensor-parallel parts.

Nothing heavy is imported here: `--help` has half a second.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

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
from worldtune.errors import ExitStatus


def split(
    file: Annotated[Path, typer.Argument(help="A .pt or .safetensors file of whole weights.")],
    size: Annotated[
        int, typer.Option("--size", help="How many parts; attention heads must divide by it.")
    ] = 8,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "--output-directory", help="Folder; `checkpoints_tp` beside the file."
        ),
    ] = None,
    force: Force = False,
    verify: Verify = True,
    as_json: AsJson = False,
) -> None:
    """Cut a file of weights into tensor-parallel parts, as Transfer1's training loads them.

    \b
      worldtune split checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV/base_model.pt

    Writes checkpoints_tp/STEM_model_mp_0.pt, ..., and the marker checkpoints_tp/STEM.pt. One
    process, no GPU, one tensor in memory at a time. After a break the same command goes on.
    """
    if not works_here():
        return
    from worldtune.checkpoint.split import split_weights

    with shown_progress() as progress:
        report = split_weights(file, size, output, force=force, verify=verify, progress=progress)
    if as_json:
        answer = {
            "source": str(report.source),
            "size": report.size,
            "tensors": report.tensors,
            "divided": report.divided,
            "parts": [str(path) for path in report.parts],
            "marker": str(report.marker),
            "written": [str(path) for path in report.converted.written],
            "kept": [str(path) for path in report.converted.kept],
            **times(report.converted),
            "notices": list(report.notices),
        }
        typer.echo(json.dumps(answer, indent=1))
        return
    for notice in report.notices:
        typer.echo(f"Notice: {notice}")
    typer.echo(
        f"{report.source}: {report.tensors} tensors, {report.divided} of them divided by "
        f"{report.size}"
    )
    tell_converted(report.converted, verified=verify)
    for path in (*report.parts, report.marker):
        typer.echo(f"  {path}")


def launch(words: Sequence[str]) -> int:
    """`scripts/convert_ckpt_fsdp_to_tp.py`, which takes the same words."""
    from worldtune.cli.main import run

    return run(["split", *words]) if works_here() else ExitStatus.DONE

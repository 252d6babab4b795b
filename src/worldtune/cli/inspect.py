"""`worldtune inspect`: what a file or folder of weights is.

Nothing heavy is imported here, and torch not at all: a file of 4 GB is told in a moment.
"""

import json
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    path: Annotated[Path, typer.Argument(help="A file of weights, a run, or any folder of them.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all data and hold it against its checksums.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Say what weights are: family, size, dtypes, adapter, part, and whether all is there.

    \b
      worldtune inspect checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/model-720p-16fps.pt
      worldtune inspect checkpoints/posttraining/video2world/2b_its
    """
    from worldtune.checkpoint.inspect import describe

    description = describe(path, verify=verify)
    if as_json:
        typer.echo(json.dumps(description.to_json(), indent=1))
    else:
        typer.echo("\n".join(description.lines()))

"""`worldtune lora`: adapters merged into their base, found again, and written for others.

Nothing heavy is imported here: `--help` has half a second.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Form = StrEnum("Form", {"diffusers": "diffusers", "comfyui": "comfyui", "worldtune": "worldtune"})
Dtype = StrEnum("Dtype", {"bfloat16": "bfloat16", "float32": "float32"})

Out = Annotated[Path, typer.Option("--out", help="The file to write.")]
Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Average = Annotated[
    bool | None,
    typer.Option(
        "--ema/--no-ema",
        show_default=False,
        help="The average, or not; by default the average of a run's folder, else the network.",
    ),
]
WrittenDtype = Annotated[
    Dtype | None,
    typer.Option("--dtype", show_default=False, help="By default that of the weights read."),
]


def merge(
    adapters: Annotated[
        list[str], typer.Argument(metavar="FILE[:WEIGHT]", help="Adapters, or a LoRA run.")
    ],
    out: Out,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="File or run; by default the one that the adapters name."),
    ] = None,
    any_base: Annotated[
        bool, typer.Option("--any-base", help="Also on a base that they were not trained on.")
    ] = False,
    average: Average = None,
    dtype: WrittenDtype = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Merge adapters into their base: whole weights, which need no adapters any more.

    \b
      worldtune lora merge RUN --out merged.safetensors
      worldtune lora merge a.safetensors:0.7 b.safetensors:0.5 --out merged.pt
    """
    from worldtune.cli.lora_work import merge_files

    answer = merge_files(
        adapters, out, base=base, any_base=any_base, average=average, dtype=dtype, force=force
    )
    _tell(answer, as_json)


def extract(
    tuned: Annotated[Path, typer.Argument(help="Trained whole weights: a file, or a run.")],
    base: Annotated[Path, typer.Option("--base", help="What they were trained from.")],
    out: Out,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapters.")] = 16,
    alpha: Annotated[float | None, typer.Option("--alpha", help="By default the rank.")] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", show_default=False, help="By default those of the recipes."),
    ] = None,
    average: Average = None,
    dtype: WrittenDtype = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the adapters that come nearest to the change between two whole weights.

    \b
      worldtune lora extract RUN --base model-720p-16fps.pt --rank 32 --out adapters.safetensors

    Says how much of the change they do not hold.
    """
    from worldtune.cli.lora_work import extract_file

    answer = extract_file(
        tuned, base, out, rank=rank, alpha=alpha, targets=targets, average=average, dtype=dtype,
        force=force,
    )  # fmt: skip
    _tell(answer, as_json)


def export(
    adapter: Annotated[Path, typer.Argument(help="Adapters of any form, or a LoRA run.")],
    to: Annotated[Form, typer.Option("--to", help="Whose names the file has.")],
    out: Annotated[
        Path, typer.Option("--out", help="The file to write; for diffusers a folder will do.")
    ],
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="For files that do not say it."),
    ] = None,
    average: Average = None,
    dtype: WrittenDtype = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write adapters in the names of diffusers, of ComfyUI, or of this project.

    \b
      worldtune lora export RUN --to comfyui --out adapters_comfyui.safetensors
      worldtune lora export model/iter_000002000.pt --to worldtune --alpha 16 --out a.safetensors

    The second takes adapters out of a file of Cosmos-Predict2's trainer, which holds the base
    twice.
    """
    from worldtune.cli.lora_work import export_file

    answer = export_file(
        adapter, str(to), out, alpha=alpha, average=average, dtype=dtype, force=force
    )
    _tell(answer, as_json)


def _tell(answer: dict, as_json: bool) -> None:
    """Print what was done: `told` are lines for people, the rest is for programs."""
    lines = answer.pop("told")
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        typer.echo("\n".join(lines))


COMMANDS = {"merge": merge, "extract": extract, "export": export}
HELP = "Merge adapters into their base, find them again, write them for other programs."


def app() -> typer.Typer:
    """The commands as one group."""
    group = typer.Typer(name="lora", help=HELP, no_args_is_help=True)
    for name, function in COMMANDS.items():
        group.command(name)(function)
    return group

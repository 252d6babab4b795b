"""`worldtune download`: fetch published weights, and check them.

Nothing heavy is imported here: `--help` has half a second.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from worldtune.errors import RecipeError

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def download(
    repositories: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OWNER/NAME]...", help="Repositories; none: those of --model."),
    ] = None,
    output_dir: Annotated[
        Path, typer.Option("--output_dir", "--output-dir", help="Folder for all of them.")
    ] = Path("checkpoints"),
    model: Annotated[
        Literal["all", "7b", "7b_av"],
        typer.Option(help="Which weights of Transfer1: all, for clips, or for cars."),
    ] = "all",
    hf_token: Annotated[
        str | None,
        typer.Option(
            "--hf_token",
            "--hf-token",
            envvar="HF_TOKEN",
            show_envvar=True,
            help="Hugging Face token, where `hf auth login` was not used.",
        ),
    ] = None,
    dryrun: Annotated[
        bool, typer.Option("--dryrun", help="Only say what would be fetched.")
    ] = False,
) -> None:
    """Fetch published weights to OUTPUT_DIR/OWNER/NAME and check them against their checksums.

    \b
      worldtune download --model 7b_av
      worldtune download nvidia/Cosmos-Predict2-2B-Video2World

    Without names it is what the published downloader of Transfer1 fetches: about 300 GB.
    """  # fmt: skip
    from worldtune.checkpoint.download import download as fetch_all
    from worldtune.checkpoint.repositories import chosen, named

    for name in repositories or ():
        if not REPOSITORY.fullmatch(name):
            raise RecipeError(f"'{name}' is not a repository; expected OWNER/NAME")
    wanted = [named(name) for name in repositories] if repositories else list(chosen(model))
    if dryrun:
        for repository in wanted:
            typer.echo(
                f"https://huggingface.co/{repository.name} to {output_dir / repository.name}"
            )
        return
    fetch_all(wanted, output_dir, token=hf_token, tell=typer.echo)


def launch(words: Sequence[str]) -> int:
    """`scripts/download_checkpoints.py`, which takes the same words."""
    from worldtune.cli.main import run

    return run(["download", *words])

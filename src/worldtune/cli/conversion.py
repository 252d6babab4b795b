"""What `split` and `join` share: how far they are, and which process does the work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worldtune.checkpoint.conversion import Converted
    from worldtune.checkpoint.conversion_job import Progress

Force = Annotated[bool, typer.Option("--force", help="Overwrite files with another content.")]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Read the files again and compare every bit.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]

DOING = {
    "compare": "comparing with what is there",
    "write": "writing",
    "verify": "verifying",
}
SHARE_A_LINE = 0.25  # of the bytes, where there is no bar


def works_here() -> bool:
    """Whether this process converts; of those that torchrun starts only the first does.

    The others leave at once: torchrun waits for the first, and nothing is exchanged. Both
    words are asked for, so that a RANK left over from elsewhere cannot make a command that
    was started alone do nothing.
    """
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


@contextmanager
def shown_progress() -> Iterator["Progress"]:
    """Show on stderr how many bytes are done: a bar on a terminal, a few lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(DOING[what])
            bar.update(tasks[what], completed=done, total=total)

        yield tell


class _Lines:
    """A line when something begins and after every quarter of it."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        share = done / max(total, 1)
        if what in self._told and share < self._told[what]:
            return
        self._told[what] = (share // SHARE_A_LINE + 1) * SHARE_A_LINE
        from worldtune.checkpoint.disk import gib

        typer.echo(f"{DOING[what]}: {gib(done)} of {gib(total)}", err=True)


def tell_converted(converted: "Converted", *, verified: bool) -> None:
    """Say what was written and what was there already."""
    from worldtune.checkpoint.disk import gib

    if converted.kept:
        typer.echo(f"  {len(converted.kept)} files were there already, and are equal")
    if not converted.written:
        return
    if converted.went_on:
        typer.echo("  gone on with what an earlier run had begun")
    size = f"{gib(converted.nbytes)} in {converted.write_s:.0f} s"
    checked = f", read again and compared in {converted.verify_s:.0f} s" if verified else ""
    typer.echo(f"  {len(converted.written)} files, {size}{checked}")


def times(converted: "Converted") -> dict[str, int | float]:
    """What a program may want to know of the work: bytes written and seconds taken."""
    return {
        "nbytes": converted.nbytes,
        "write_s": round(converted.write_s, 3),
        "verify_s": round(converted.verify_s, 3),
    }

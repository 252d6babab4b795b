"""`worldtune scenes`: make clips of the built-in traffic world.

Nothing heavy is imported here: `--help` has half a second.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from worldtune.errors import DataError

Out = Annotated[Path, typer.Argument(help="Folder to write into.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed makes other clips.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def app() -> typer.Typer:
    """Gather the commands about the built-in traffic world."""
    scenes = typer.Typer(
        name="scenes", help="Make clips of the built-in traffic world.", no_args_is_help=True
    )
    scenes.command("its")(its)
    scenes.command("record")(record)
    return scenes


def its(
    out: Out,
    normal: Annotated[int, typer.Option(min=0, help="Clips of normal traffic.")] = 24,
    accident: Annotated[int, typer.Option(min=0, help="Clips of accidents.")] = 24,
    size: Annotated[str, typer.Option(help="Height and width in pixels.")] = "128x224",
    frames: Annotated[int, typer.Option(min=2, help="Frames of each clip.")] = 93,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 16.0,
    seed: Seed = 0,
    recordings: Annotated[
        Path | None, typer.Option(help="Traffic of `scenes record`, not the package's own.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that paint.")] = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds other things.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Paint clips of a traffic camera: normal traffic and accidents, captioned and labelled.

    \b
      worldtune scenes its traffic --normal 100 --accident 100 --workers 2

    Writes OUT/normal and OUT/accident, each with videos/, metas/ (captions) and labels/. The
    same words give the same clips; after a break the same command goes on.
    """
    shape = _size(size)
    from worldtune.data.scenes.write import write_its

    with _shown("clips") as progress:
        videos = write_its(
            out, normal=normal, accident=accident, size=shape, frames=frames, fps=fps, seed=seed,
            recorded=recordings, workers=workers, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"out": str(out), "videos": [str(path) for path in videos]}))
        return
    typer.echo(f"{normal} normal and {accident} accident clips lie in {out}")
    if normal and accident:
        typer.echo(
            "Train on both alike: "
            f"dataset.mix={{{out / 'normal'}: 1, {out / 'accident'}: 1}} in place of dataset_dir"
        )


def record(
    out: Out,
    normal: Annotated[int, typer.Option(min=0, help="Recordings of normal traffic.")] = 60,
    accident: Annotated[int, typer.Option(min=0, help="Recordings of accidents.")] = 60,
    seed: Seed = 0,
) -> None:
    """Record new traffic with the simulator, in place of what the package carries.

    \b
      pip install 'worldtune[sumo]'
      worldtune scenes record recorded --normal 60 --accident 60
    """
    from worldtune.data.scenes.record import record as record_traffic

    with _shown("recordings") as progress:
        record_traffic(out, normal=normal, accident=accident, seed=seed, progress=progress)
    typer.echo(f"{normal} normal and {accident} accident recordings lie in {out}")


def _size(written: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\s*[x,]\s*(\d+)", written.strip().lower())
    if not found:
        raise DataError(f"--size {written} is no size; write height and width, such as 128x224")
    return int(found[1]), int(found[2])


@contextmanager
def _shown(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress: a bar on a terminal, else a line for each tenth."""
    if not sys.stderr.isatty():
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            tenth = 10 * done // max(total, 1)
            if tenth > told:
                told = tenth
                typer.echo(f"{done} of {total} {what}", err=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)

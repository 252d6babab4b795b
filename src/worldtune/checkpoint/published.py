"""Where published weights lie, and the command that fetches each."""

import difflib
from pathlib import Path

from worldtune.checkpoint.layout import PART_FILE
from worldtune.errors import CheckpointError

# Publishers under which the documents place repositories: checkpoints/OWNER/REPOSITORY/FILE.
OWNERS = ("nvidia", "google-t5")


def weights_not_found(path: str | Path) -> CheckpointError:
    """The error for a weights file that is not there, naming the command that brings it.

    The path need not be absolute; a file of a published repository is recognised by
    `OWNER/REPOSITORY/` in it.
    """
    path = Path(path)
    part = PART_FILE.fullmatch(path.name)
    if path.parent.name == "checkpoints_tp" and part:
        return _part_not_found(path, path.parent.parent / f"{part['stem']}.pt")
    command = fetch_command(path)
    if command:
        return CheckpointError(f"{path} is not there. Fetch it with:\n  {command}")
    return CheckpointError(f"{path} is not there.{_near(path)}")


def _part_not_found(path: Path, whole: Path) -> CheckpointError:
    """Parts are made here, from the whole file, which may have to be fetched first."""
    fetch = None if whole.exists() else fetch_command(whole)
    verbs = "Fetch and split it" if fetch else "Split it"
    commands = "".join(
        f"\n  {command}" for command in (fetch, f"worldtune split {whole}") if command
    )
    return CheckpointError(
        f"{path} is not there: weights for tensor parallelism are split from the whole "
        f"file. {verbs} with:{commands}"
    )


def fetch_command(path: Path) -> str | None:
    """The command that fetches a published file to this path; None for any other file."""
    folders = path.parts
    for at in range(len(folders) - 2):
        if folders[at] in OWNERS:
            repository, inside = f"{folders[at]}/{folders[at + 1]}", folders[at + 2 :]
            target = Path(*folders[: at + 2])
            return f"hf download {repository} {'/'.join(inside)} --local-dir {target}"
    if len(folders) >= 2 and folders[-2] in OWNERS:
        return f"hf download {'/'.join(folders[-2:])} --local-dir {path}"
    return None


def _near(path: Path) -> str:
    """What lies where the path was looked for: the part that is missing, and its like."""
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return f" The folder {path.parent} is not there either; {folder} is. Check the path."
    names = sorted(entry.name for entry in folder.iterdir())
    like = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if like:
        return f" Did you mean {' or '.join(repr(name) for name in like)} in {folder}?"
    return f" {folder} holds {len(names)} other files. Check the path."

"""The folder of a run's training states: names, pointer, order of trust, what is removed.

    checkpoints/state/
      iter_000000400/  iter_000000500/   one folder for each state
      latest_state.txt                   one line, the state to go on from
      .lock                              held by the process that writes

A folder `iter_N` appears by a rename when all in it is on the disk. `*.tmp` was never
finished, or is about to go. `iter_N.replaced` is the older of two states of one iteration,
kept until the newer has its name.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.disk import TEMPORARY, Disk, sync_folder, write_file
from worldtune.checkpoint.saved_state import SavedState
from worldtune.errors import CheckpointError

POINTER = "latest_state.txt"
REPLACED = ".replaced"
STATE = re.compile(r"iter_(?P<iteration>\d{9,})(?P<replaced>\.replaced)?")
LEFT_OVER = re.compile(r"iter_\d{9,}(\.removed)?\.tmp|latest_state\.txt\.tmp")


@dataclass(frozen=True)
class StateRef:
    """A state that is whole; `verified` when every checksum was held against its data."""

    path: Path
    iteration: int
    verified: bool = False


@dataclass(frozen=True)
class Latest:
    """The state to go on from, None where there is none, and what the user must know."""

    state: StateRef | None
    warnings: tuple[str, ...] = ()


def state_name(iteration: int) -> str:
    """Name of a state's folder."""
    return f"iter_{iteration:09d}"


def find_latest(folder: Path, *, verify: bool = True) -> Latest:
    """Find the state to go on from: the one pointed at, or the newest whole one before it.

    With verify all data is read and held against its checksums. Each state that is passed
    over is told in a warning with its damage. Nothing in the folder is changed.
    """
    states = list_states(folder)
    if not states:
        return Latest(None)
    pointed = _read_pointer(folder)
    order, warnings = _order(states, pointed, folder)
    for path in order:
        try:
            with SavedState(path) as state:
                if verify:
                    state.verify()
                found = StateRef(path, state.iteration, verified=verify)
            if warnings and path is not order[0]:
                warnings.append(f"{path.name} is whole and is used: iteration {found.iteration}.")
            return Latest(found, tuple(warnings))
        except (CheckpointError, OSError) as fault:
            warnings.append(f"{path.name} is passed over: {fault}")
    warnings.append(f"No state in {folder} is whole.")
    return Latest(None, tuple(warnings))


def list_states(folder: Path) -> list[Path]:
    """Folders that hold a state, by iteration; one being replaced only while it is the only."""
    names = {path.name: path for path in folder.glob("iter_*") if STATE.fullmatch(path.name)}
    kept = [
        path
        for name, path in names.items()
        if name.removesuffix(REPLACED) not in names.keys() - {name}
    ]
    return sorted(kept, key=_iteration)


def _iteration(path: Path) -> int:
    match = STATE.fullmatch(path.name)
    assert match is not None
    return int(match["iteration"])


def _read_pointer(folder: Path) -> str | None:
    try:
        return (folder / POINTER).read_text(errors="replace").strip()
    except OSError:
        return None


def _order(
    states: Sequence[Path], pointed: str | None, folder: Path
) -> tuple[list[Path], list[str]]:
    """States from the most to the least trusted, and what is odd about the pointer."""
    newest_first = list(reversed(states))
    if pointed is None:
        return newest_first, [f"{folder / POINTER} is not there; the newest whole state is taken."]
    match = STATE.fullmatch(pointed)
    if match is None:
        return newest_first, [
            f"{folder / POINTER} names no state ({pointed[:40]!r}); the newest whole one is taken."
        ]
    told = int(match["iteration"])
    warnings = []
    if told not in map(_iteration, states):
        warnings.append(f"{pointed} is passed over: {POINTER} names it and it is not there.")
    # What is newer than the pointer was saved by a run that has been gone back behind.
    return [path for path in newest_first if _iteration(path) <= told], warnings


def point_to(folder: Path, path: Path, disk: Disk) -> None:
    """Make a state the one to go on from."""
    write_file(folder / POINTER, [f"{path.name}\n".encode()], disk)


def clean_leftovers(folder: Path, disk: Disk) -> tuple[str, ...]:
    """Remove what an interrupted save left, and give the names; hold the folder's lock."""
    cleaned = []
    for path in sorted(folder.iterdir()):
        if LEFT_OVER.fullmatch(path.name):
            disk.remove(path)
            cleaned.append(path.name)
        elif path.name.endswith(REPLACED) and STATE.fullmatch(path.name):
            newer = path.with_name(path.name.removesuffix(REPLACED))
            if newer.exists():
                disk.remove(path)
            else:
                disk.rename(path, newer)
            cleaned.append(path.name)
    return tuple(cleaned)


def put_in_place(temporary: Path, final: Path, disk: Disk) -> None:
    """Give a finished state its name; an older one of that name goes after it."""
    replaced = final.with_name(final.name + REPLACED)
    if final.exists():
        disk.rename(final, replaced)
    disk.rename(temporary, final)
    sync_folder(final.parent, disk)
    if replaced.exists():
        _remove(replaced, disk)


def remove_old(folder: Path, keep_last: int, disk: Disk) -> tuple[str, ...]:
    """Remove all but the newest states up to the pointer, which itself is never removed.

    A state that cannot be removed stays; the next save tries again.
    """
    pointed = _read_pointer(folder)
    match = STATE.fullmatch(pointed or "")
    if match is None or keep_last < 1:
        return ()
    told = int(match["iteration"])
    older = [path for path in list_states(folder) if _iteration(path) < told]
    going = older[: max(0, len(older) - (keep_last - 1))]
    removed = []
    for path in going:
        with contextlib.suppress(OSError):
            _remove(path, disk)
            removed.append(path.name)
    return tuple(removed)


def _remove(path: Path, disk: Disk) -> None:
    """Remove a state so that half of it is never taken for one."""
    if path.is_symlink():
        disk.remove(path)
        return
    going = path.with_name(path.name.removesuffix(REPLACED) + ".removed" + TEMPORARY)
    disk.rename(path, going)
    disk.remove(going)

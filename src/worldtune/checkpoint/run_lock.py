"""One run, one writer: a second process that would save into the same folder is told so."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.disk import Disk, save_failed
from worldtune.checkpoint.file_lock import take_lock
from worldtune.checkpoint.state_folder import clean_leftovers

FILE_NAME = ".lock"


@dataclass(frozen=True)
class RunLock:
    """A folder that this process alone writes into, until it ends in whatever way."""

    folder: Path


@contextlib.contextmanager
def lock_run(folder: Path, disk: Disk | None = None) -> Iterator[RunLock]:
    """Hold a folder of states and clear what an interrupted save left in it.

    The system lets go of the folder when the process ends, in whatever way.

    CheckpointError where another process holds it, named with its machine and start. A file
    system without locks is written to without one.
    """
    disk = disk or Disk()
    with contextlib.ExitStack() as held:
        try:
            disk.make_folder(folder)
            handle = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            held.callback(os.close, handle)
            _take(handle, folder)
            clean_leftovers(folder, disk)
        except OSError as fault:
            raise save_failed("The training state", folder, None, fault) from fault
        yield RunLock(folder)


def _take(handle: int, folder: Path) -> None:
    take_lock(
        handle,
        lambda: (
            f"{folder} is being written by another process ({_holder(folder)}): two runs of one "
            "name would overwrite each other. Wait for it, stop it, or give this run another "
            "job.name."
        ),
    )
    if sys.platform == "win32":
        return
    note = {"process": os.getpid(), "machine": socket.gethostname(), "since": _now()}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(note).encode(), 0)


def _holder(folder: Path) -> str:
    try:
        note = json.loads((folder / FILE_NAME).read_bytes())
        return f"process {note['process']} on {note['machine']} since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which has just begun"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")

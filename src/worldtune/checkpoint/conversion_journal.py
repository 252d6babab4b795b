"""How far a conversion has come, for the next run of the same command.

One file beside the outputs, with one JSON object a line: first what is converted, then after
every gigabyte or so how many tensors are on the disk and the checksums of the new ones. It
is also the lock: the process that converts holds it, and removes it when all is done.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from worldtune.checkpoint.disk import Disk, DiskWriter
from worldtune.checkpoint.file_lock import take_lock

FORMAT = "worldtune conversion"
VERSION = 1


class Journal:
    """The open journal: `done` steps are on the disk, with `crc32` by the output's name."""

    def __init__(self, path: Path, handle: int, key: str, disk: Disk) -> None:
        """Read what an earlier run noted, if it converted the same thing."""
        self._path, self._handle, self._key, self._disk = path, handle, key, disk
        self.done = 0
        self.crc32: dict[str, list[int]] = {}
        lines, length = _lines(path)
        os.ftruncate(handle, length)
        if not lines or lines[0] != self._first():
            self.start_over()
            return
        for line in lines[1:]:
            self.done = line["done"]
            for name, sums in line["crc32"].items():
                self.crc32.setdefault(name, []).extend(sums)

    def start_over(self) -> None:
        """Forget what was done."""
        self.done, self.crc32 = 0, {}
        os.ftruncate(self._handle, 0)
        self._add(self._first())

    def note(self, done: int, crc32: Mapping[str, Sequence[int]]) -> None:
        """Note that so many steps are on the disk, with the checksums since the last note."""
        self._add({"done": done, "crc32": {name: list(sums) for name, sums in crc32.items()}})

    def remove(self) -> None:
        """All is done: nothing is left to go on with."""
        self._disk.remove(self._path)

    def _first(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, "key": self._key}

    def _add(self, line: Mapping[str, Any]) -> None:
        DiskWriter(self._disk, self._handle).write(json.dumps(line).encode() + b"\n")
        self._disk.sync(self._handle)


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines up to one that was broken off, and their length in bytes."""
    lines: list[dict[str, Any]] = []
    length = 0
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            if not text.endswith(b"\n"):
                break
            lines.append(json.loads(text))
        except ValueError:
            break
        length += len(text)
    return lines, length


@contextlib.contextmanager
def open_journal(path: Path, key: str, disk: Disk) -> Iterator[Journal]:
    """Hold the journal of one conversion; `key` says what is converted into what.

    CheckpointError where another process holds it.
    """
    with contextlib.ExitStack() as held:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            held.callback(os.close, handle)
            take_lock(handle, partial(_held, path))
            # The process that held it before may have removed it in the meantime.
            if os.fstat(handle).st_nlink:
                break
        yield Journal(path, handle, key, disk)


def _held(path: Path) -> str:
    return (
        f"Another process is writing the same files in {path.parent} (it holds "
        f"{path.name}). Wait for it, or choose another folder with --output."
    )

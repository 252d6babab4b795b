"""Disks that fail, and a record of what was asked of one."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from worldtune.checkpoint.disk import Disk


class PowerCut(BaseException):
    """The machine stops: nothing after it happens, no clean-up either."""


class QuickDisk(Disk):
    """A disk that is not waited for: a test has no power cut that it must outlive."""

    def sync(self, handle: int) -> None:
        pass


class TracingDisk(QuickDisk):
    """A disk that counts its calls and may fail at one; `trace` holds (call, subject)."""

    def __init__(self, fail: Callable[[int, str], None] | None = None) -> None:
        self.trace: list[tuple[str, str]] = []
        self.fail = fail or (lambda number, call: None)
        self.names: dict[int, str] = {}

    def _note(self, call: str, subject: str) -> None:
        self.trace.append((call, subject))
        self.fail(len(self.trace) - 1, call)

    def make_folder(self, path: Path) -> None:
        self._note("make", path.name)
        super().make_folder(path)

    def create(self, path: Path) -> int:
        self._note("create", path.name)
        handle = super().create(path)
        self.names[handle] = path.name
        return handle

    def reopen(self, path: Path, length: int) -> int:
        self._note("reopen", path.name)
        handle = super().reopen(path, length)
        self.names[handle] = path.name
        return handle

    def write(self, handle: int, piece: memoryview) -> int:
        try:
            self._note("write", self.names.get(handle, "journal"))
        except BaseException:
            super().write(handle, piece[: len(piece) // 2])
            raise
        return super().write(handle, piece)

    def sync(self, handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        self._note("sync", "folder" if folder else self.names.get(handle, "journal"))
        super().sync(handle)

    def rename(self, old: Path, new: Path) -> None:
        self._note("rename", f"{old.name} {new.name}")
        super().rename(old, new)

    def link(self, old: Path, new: Path) -> None:
        self._note("link", f"{old.name} {new.name}")
        super().link(old, new)

    def remove(self, path: Path) -> None:
        self._note("remove", path.name)
        super().remove(path)


def fails_at(number: int, code: int) -> Callable[[int, str], None]:
    """One call fails, those after it work."""

    def fail(at: int, call: str) -> None:
        if at == number:
            raise OSError(code, errno.errorcode[code])

    return fail


def full_from(number: int) -> Callable[[int, str], None]:
    """From one call on nothing more fits; names can still be changed and removed."""

    def fail(at: int, call: str) -> None:
        if at >= number and call in ("make", "create", "write", "sync"):
            raise OSError(errno.ENOSPC, "No space left on device")

    return fail


def cut_at(number: int) -> Callable[[int, str], None]:
    """From one call on there is no power."""

    def fail(at: int, call: str) -> None:
        if at >= number:
            raise PowerCut

    return fail

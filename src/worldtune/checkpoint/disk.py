"""Writing so that a file is there whole or not at all.

Every call that changes the disk goes through one object: a test can make any of them fail.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from worldtune.errors import CheckpointError, RunError, WorldtuneError

TEMPORARY = ".tmp"
# As cp writes. Measured on ext4: pieces of 1 MiB took twice as long and pieces of 64 MiB five
# times, because the system then looks for large free pages to hold each of them.
PIECE_BYTES = 128 << 10
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


class Disk:
    """The calls that change a disk; each raises OSError as the system does."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, as far as they are not there."""
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        """Make a new file, in place of one that is there, and open it for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def reopen(self, path: Path, length: int) -> int:
        """Open a file to go on writing behind its first bytes; those after them are lost."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(handle, length)
        os.lseek(handle, length, os.SEEK_SET)
        return handle

    def write(self, handle: int, piece: memoryview) -> int:
        """Write some bytes of a piece, perhaps not all, and give their count."""
        return os.write(handle, piece)

    def sync(self, handle: int) -> None:
        """Wait until a file or folder is on the disk."""
        os.fsync(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Give a new name at once; a file under that name is replaced."""
        old.rename(new)

    def link(self, old: Path, new: Path) -> None:
        """Give a file a second name."""
        new.hardlink_to(old)

    def remove(self, path: Path) -> None:
        """Remove a file, a folder with all in it, or a link but not what it points to."""
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)


class DiskWriter:
    """A file being written."""

    def __init__(self, disk: Disk, handle: int) -> None:
        """Write to an open file."""
        self._disk, self._handle, self._position = disk, handle, 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of the data."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            rest = rest[self._disk.write(self._handle, rest[:PIECE_BYTES]) :]
        self._position += size
        return size

    def tell(self) -> int:
        """Bytes from the begin of the file."""
        return self._position

    def seek(self, position: int) -> int:
        """Go back to write something again, or forward to the end."""
        self._position = os.lseek(self._handle, position, os.SEEK_SET)
        return self._position


@contextlib.contextmanager
def new_file(path: Path, disk: Disk) -> Iterator[DiskWriter]:
    """Write a file and wait until its content is on the disk."""
    handle = disk.create(path)
    try:
        writer = DiskWriter(disk, handle)
        yield writer
        disk.sync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path, disk: Disk) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        disk.sync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replaced_file(path: Path, disk: Disk) -> Iterator[DiskWriter]:
    """Write a file beside the one that is there, and put it in its place when it is whole.

    On an OSError the old file stays and the new one is removed.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with new_file(temporary, disk) as writer:
            yield writer
        disk.rename(temporary, path)
        sync_folder(path.parent, disk)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise


def write_file(path: Path, pieces: Iterable[bytes], disk: Disk) -> None:
    """Write or replace a small file, whole or not at all."""
    with replaced_file(path, disk) as writer:
        for piece in pieces:
            writer.write(piece)


def free_space(folder: Path) -> int:
    """Bytes free for this user where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(folder: Path, needed: int) -> None:
    """Raise CheckpointError where fewer bytes are free than a save needs."""
    free = free_space(folder)
    if free < needed:
        raise CheckpointError(
            f"A save into {folder} needs {gib(needed)} and {gib(free)} are free. Free "
            f"{gib(needed - free)}, or save elsewhere, before the run begins."
        )


def gib(count: int) -> str:
    """A size as messages say it."""
    if count < 2**20:
        return f"{count:,} bytes"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def save_failed(what: str, folder: Path, needed: int | None, fault: OSError) -> WorldtuneError:
    """The error for a save that the system refused, with the bytes needed and free."""
    reason = fault.strerror or str(fault)
    if fault.errno in FULL:
        size = f"It needs {gib(needed)}, and" if needed is not None else "Only"
        return RunError(
            f"{what} could not be saved: {reason}. {size} {gib(free_space(folder))} are free in "
            f"{folder} (a quota or a limit on the size of files may be lower). What was saved "
            "before is whole. Free space and start the same command again: it goes on from "
            "there."
        )
    if fault.errno in FORBIDDEN:
        return CheckpointError(
            f"{what} could not be saved: {fault.filename or folder}: {reason}. Let {folder} "
            "be a folder in which this user may write, or choose another output folder."
        )
    return RunError(
        f"{what} could not be saved: {fault.filename or folder}: {reason}. What was saved "
        "before is whole. Look at the disk, then start the same command again."
    )

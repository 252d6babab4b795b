"""A file's bytes as tensors, used where they lie."""

import errno
import mmap
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worldtune.checkpoint.entries import ITEM_BYTES, PlacedTensor, Record
from worldtune.errors import CheckpointError

if TYPE_CHECKING:
    import torch


def map_private(path: Path) -> mmap.mmap:
    """Map a whole file so that writes stay in memory.

    CheckpointError where the system has no room for it among its addresses.
    """
    with path.open("rb") as stream:
        length = os.fstat(stream.fileno()).st_size
        if not hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_COPY)
        # Without MAP_NORESERVE (0x4000 on Linux; Python names it from 3.13) the system
        # counts a private map as memory, and refuses files that are larger than that.
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", _linux_flag(0x4000))
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        try:
            return mmap.mmap(stream.fileno(), length, flags=flags, prot=protection)
        except OSError as fault:
            if fault.errno != errno.ENOMEM:
                raise
            raise CheckpointError(
                f"{path} cannot be mapped: the system refuses {length:,} bytes of addresses, "
                "which take no memory. Raise the limit (`ulimit -v`), or let the kernel "
                "overcommit (vm.overcommit_memory is 2; 0 or 1 will do)."
            ) from fault


def _linux_flag(flag: int) -> int:
    return flag if sys.platform == "linux" else 0


def view_tensor(pages: mmap.mmap, placed: PlacedTensor) -> "torch.Tensor":
    """View the pages as a tensor."""
    import torch

    entry, dtype = placed.entry, getattr(torch, placed.entry.dtype)
    if entry.numel == 0:
        return torch.empty(entry.shape, dtype=dtype)
    item = ITEM_BYTES[entry.dtype]
    count = placed.last_element - placed.start + 1
    offset = placed.record.offset + placed.start * item
    if offset % item:
        # Only foreign writers leave data off its natural boundary.
        raw = torch.frombuffer(pages, dtype=torch.uint8, count=count * item, offset=offset)
        flat = raw.clone().view(dtype)
    else:
        flat = torch.frombuffer(pages, dtype=dtype, count=count, offset=offset)
    return flat.as_strided(entry.shape, placed.stride, 0)


def drop_pages(pages: mmap.mmap, record: Record) -> None:
    """Give back the memory of a record's pages; what was written into them is lost."""
    first = -(-record.offset // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (record.offset + record.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if length > 0 and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED, first, length)

"""Writing what torch.load reads, one tensor at a time.

torch.save needs all tensors in memory at once, in the dtype that is saved; a 14B network
with its average would need 85 GB. Here a tensor is made when its turn comes. The archive
has the layout of torch.save's: any program that reads one reads the other.
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from worldtune.checkpoint.disk import Disk, DiskWriter, replaced_file
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.shards import dtype_name, pieces_of
from worldtune.checkpoint.torch_layout import TorchLayout
from worldtune.checkpoint.torch_pickle import Planned


def write_torch_file(path: Path, tree: Any, disk: Disk | None = None) -> None:
    """Write an object of containers, plain values, Tensors and Planned, whole or not at all.

    OSError where the disk refuses; the file that was there then stays.
    """
    layout = TorchLayout(tree)
    with replaced_file(path, disk or Disk()) as writer:
        writer.write(layout.head)
        sums = [
            write_data(writer, layout, number, _pieces(plan))
            for number, plan in enumerate(layout.plans)
        ]
        writer.write(layout.tail(sums))


def write_data(
    writer: DiskWriter,
    layout: TorchLayout,
    number: int,
    pieces: Iterable[memoryview],
    crc32: int | None = None,
) -> int:
    """Write the header and the data of a tensor, whose turn it is; give its checksum.

    A checksum that is not known is worked out, and the header written again.
    """
    writer.write(layout.header(number, crc32 or 0))
    found = 0
    # Each piece is summed up right before it is written: it is in the cache then.
    for piece in pieces:
        if crc32 is None:
            found = zlib.crc32(piece, found)
        writer.write(piece)
    if crc32 is not None:
        return crc32
    writer.seek(layout.start(number))
    writer.write(layout.header(number, found))
    writer.seek(layout.start(number + 1))
    return found


def _pieces(plan: Planned) -> Iterator[memoryview]:
    made = plan.make()
    assert (tuple(made.shape), dtype_name(made.dtype)) == (plan.entry.shape, plan.entry.dtype)
    return pieces_of(made)


def torch_file_size(entries: list[TensorEntry]) -> int:
    """Bytes that a file of these tensors takes, a little more than less."""
    return sum(entry.nbytes for entry in entries) + 600 * (len(entries) + 4)

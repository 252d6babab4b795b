"""Where everything lies in a file for torch.load, known before any of it is written.

The archive is torch.save's: a pickle of names and shapes, then the data of each tensor,
uncompressed, on a boundary of 64 bytes. Sizes alone decide every offset. So the bytes a
file takes are known in advance, several files can be written side by side, and a file that
was broken off can be gone on with at any tensor.

    layout = TorchLayout({"model": {"net.w": TensorEntry((4, 4), "float32")}, "ema": None})
    layout.head                      # what comes before the tensors
    layout.header(0, crc32)          # what comes before the data of a tensor
    layout.tail([crc32])             # what comes after all of them

Source: the zip format's APPNOTE 6.3, sections 4.3 to 4.5.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldtune.checkpoint.entries import (
    PlacedTensor,
    Record,
    TensorEntry,
    contiguous_stride,
)
from worldtune.checkpoint.torch_pickle import Planned, pickled

ROOT = "archive"
# As torch.save does, so that data can be used in place with any instruction.
ALIGNMENT = 64
LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END_LARGE = struct.Struct("<4sQ2H2I4Q")
END_LARGE_PLACE = struct.Struct("<4sIQI")
# A number of four bytes that is all ones says: look among the numbers of eight.
ELSEWHERE = 0xFFFFFFFF
# From here on a size or an offset needs eight bytes, and a count more than two.
LARGE_FROM, MANY_FROM = ELSEWHERE, 0xFFFF
# The earliest date there is: two files of the same weights are equal in bytes.
FIRST_OF_1980 = 1 << 5 | 1
VERSION, VERSION_LARGE = 20, 45
# What torch writes beside the tensors: their byte order, and the version of its format.
ORDER, RELEASE = b"little", b"3\n"


@dataclass(frozen=True)
class _Member:
    """One run of bytes in the archive: its header begins at start, its data at data."""

    name: bytes
    nbytes: int
    start: int
    data: int
    large: bool
    extra: bytes  # sizes of a large member, then filling up to the boundary
    content: bytes | None

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.data + self.nbytes

    def header(self, crc32: int) -> bytes:
        """What stands before the data."""
        size = ELSEWHERE if self.large else self.nbytes
        fixed = LOCAL.pack(
            b"PK\x03\x04",
            VERSION_LARGE if self.large else VERSION,
            *(0, 0, 0, FIRST_OF_1980),
            *(crc32, size, size, len(self.name), len(self.extra)),
        )
        return fixed + self.name + self.extra

    def row(self, crc32: int) -> bytes:
        """Its row in the list of contents."""
        size = ELSEWHERE if self.large else self.nbytes
        far = self.start >= LARGE_FROM
        numbers = [self.nbytes] * (2 * self.large) + [self.start] * far
        extra = _large_numbers(*numbers) if numbers else b""
        version = VERSION_LARGE if numbers else VERSION
        fixed = CENTRAL.pack(
            b"PK\x01\x02",
            *(version, version, 0, 0, 0, FIRST_OF_1980),
            *(crc32, size, size, len(self.name), len(extra)),
            *(0, 0, 0, 0, ELSEWHERE if far else self.start),
        )
        return fixed + self.name + extra


def _member(start: int, name: str, nbytes: int, content: bytes | None = None) -> _Member:
    full_name, large = f"{ROOT}/{name}".encode(), nbytes >= LARGE_FROM
    sizes = _large_numbers(nbytes, nbytes) if large else b""
    filling = b"Z" * (-(start + LOCAL.size + len(full_name) + len(sizes) + 4) % ALIGNMENT)
    extra = sizes + b"FB" + struct.pack("<H", len(filling)) + filling
    data = start + LOCAL.size + len(full_name) + len(extra)
    return _Member(full_name, nbytes, start, data, large, extra, content)


def _large_numbers(*numbers: int) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


class TorchLayout:
    """The frame of one file: every byte but the tensors' own.

    `tensors` are the entries in the order in which their data follows; `placed` is the tree
    with PlacedTensor for each TensorEntry, as a reader will find it; `nbytes` is the size of
    the file.
    """

    def __init__(self, tree: Any) -> None:
        """Lay out an object of containers and plain values, and of what stands for tensors.

        That is a TensorEntry where the data comes from elsewhere, or a Tensor or Planned, which
        `plans` then makes.
        """
        content, plans = pickled(_each_tensor(tree, _plan))
        self.plans: tuple[Planned, ...] = tuple(plans)
        self.tensors: tuple[TensorEntry, ...] = tuple(plan.entry for plan in plans)
        first = _member(0, "data.pkl", len(content), content)
        second = _member(first.end, "byteorder", len(ORDER), ORDER)
        data: list[_Member] = []
        end = second.end
        for key, entry in enumerate(self.tensors):
            data.append(_member(end, f"data/{key}", entry.nbytes))
            end = data[-1].end
        self._before, self._data = (first, second), tuple(data)
        self._after = (_member(end, "version", len(RELEASE), RELEASE),)
        self.nbytes = self._after[-1].end + len(self._contents([0] * len(self._data)))
        members = iter(self._data)
        self.placed = _each_tensor(tree, lambda entry: _placed(entry, next(members)))

    @property
    def head(self) -> bytes:
        """The bytes before the first tensor."""
        return b"".join(map(_whole, self._before))

    def header(self, number: int, crc32: int) -> bytes:
        """The bytes before the data of one tensor, of which the checksum must be known."""
        return self._data[number].header(crc32)

    def start(self, number: int) -> int:
        """Where the header of a tensor begins; for the number behind the last, the tail."""
        return self._data[number].start if number < len(self._data) else self._after[0].start

    def tail(self, crc32: Sequence[int]) -> bytes:
        """The bytes behind the last tensor, from the checksums of all of them."""
        return b"".join(map(_whole, self._after)) + self._contents(crc32)

    def _contents(self, crc32: Sequence[int]) -> bytes:
        """The list of contents, and where it lies."""
        rows = [
            *(member.row(_sum(member)) for member in self._before),
            *(member.row(crc) for member, crc in zip(self._data, crc32, strict=True)),
            *(member.row(_sum(member)) for member in self._after),
        ]
        listed = b"".join(rows)
        begin, count, size = self._after[-1].end, len(rows), len(listed)
        if max(begin, size) < LARGE_FROM and count < MANY_FROM:
            return listed + END.pack(b"PK\x05\x06", 0, 0, count, count, size, begin, 0)
        numbers = (VERSION_LARGE, VERSION_LARGE, 0, 0, count, count, size, begin)
        return (
            listed
            + END_LARGE.pack(b"PK\x06\x06", END_LARGE.size - 12, *numbers)
            + END_LARGE_PLACE.pack(b"PK\x06\x07", 0, begin + size, 1)
            + END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, ELSEWHERE, ELSEWHERE, 0)
        )


def _sum(member: _Member) -> int:
    return zlib.crc32(member.content or b"")


def _whole(member: _Member) -> bytes:
    return member.header(_sum(member)) + (member.content or b"")


def _each_tensor(tree: Any, change: Any) -> Any:
    """The tree with every TensorEntry changed, in order."""
    if isinstance(tree, TensorEntry):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _each_tensor(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_each_tensor(value, change) for value in tree]
    return tree


def _plan(entry: TensorEntry) -> Planned:
    return Planned(entry, _made_elsewhere)


def _made_elsewhere() -> Any:
    raise AssertionError("a layout holds no data")


def _placed(entry: TensorEntry, member: _Member) -> PlacedTensor:
    record = Record(member.data, member.nbytes)
    return PlacedTensor(entry, record, 0, contiguous_stride(entry.shape))

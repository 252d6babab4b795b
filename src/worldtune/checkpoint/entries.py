"""What a file of weights lists: names, shapes and dtypes, known without reading the data.

Nothing here imports torch, so that a file can be described at once.
"""

from dataclasses import dataclass
from math import prod

# Bytes of one element, by torch's name of the dtype.
ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file; dtype is torch's name of it, such as `bfloat16`."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """Count of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.numel * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        """As messages say it: `bfloat16[2048, 72]`."""
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class Record:
    """A run of bytes in a file, with the checksum the file keeps of it, if it keeps one."""

    offset: int
    nbytes: int
    crc32: int | None = None


@dataclass(frozen=True)
class PlacedTensor:
    """A tensor and where its elements lie in its record.

    start and stride count elements, as torch does.
    """

    entry: TensorEntry
    record: Record
    start: int
    stride: tuple[int, ...]

    @property
    def last_element(self) -> int:
        """Index in the record of the element that lies last; start where there is none."""
        steps = zip(self.entry.shape, self.stride, strict=True)
        return self.start + sum((size - 1) * step for size, step in steps if size > 1)

    def fits(self) -> bool:
        """Whether all elements lie inside the record."""
        if self.start < 0 or any(step < 0 for step in self.stride):
            return False
        if self.entry.numel == 0:
            return True
        return (self.last_element + 1) * ITEM_BYTES[self.entry.dtype] <= self.record.nbytes


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a tensor laid out row by row."""
    return tuple(prod(shape[dim + 1 :]) for dim in range(len(shape)))

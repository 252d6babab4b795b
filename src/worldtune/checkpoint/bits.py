"""The bits of tensors: compared, and given in pieces that stay in the processor's cache."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldtune.checkpoint.disk import PIECE_BYTES

# Floating point is compared as whole numbers, or one NaN would differ from itself.
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree in dtype, shape and every bit."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(_as_bits(one), _as_bits(other))


def _as_bits(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(BITS[tensor.itemsize])


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, where they lie."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


@dataclass(frozen=True)
class SideBySide:
    """A tensor that is not put together: its pieces along one dim, in order.

    One piece alone may lie in any way, such as some columns of a larger matrix.
    """

    pieces: tuple[Tensor, ...]
    dim: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.nbytes for piece in self.pieces)

    def equals(self, tensor: Tensor) -> bool:
        """Whether a tensor is this one, in dtype, shape and every bit."""
        if len(self.pieces) == 1:
            return same_bits(self.pieces[0], tensor)
        sizes = [piece.shape[self.dim] for piece in self.pieces]
        if tensor.dim() <= self.dim or tensor.shape[self.dim] != sum(sizes):
            return False
        places = tensor.split(sizes, self.dim)
        return all(map(same_bits, self.pieces, places))

    def chunks(self) -> Iterator[memoryview]:
        """Its bytes, row by row, a few at a time; each is gone with the next."""
        if len(self.pieces) == 1 or self.dim == 0:
            for piece in self.pieces:
                if piece.is_contiguous() or piece.dim() == 1:
                    yield from _cut(bytes_of(piece.contiguous()))
                else:
                    yield from _bands((piece,))
        else:
            yield from _bands(self.pieces)


def _cut(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _bands(pieces: tuple[Tensor, ...]) -> Iterator[memoryview]:
    """Some rows at a time, of matrices that stand beside one another."""
    # By numpy, which uses one thread: several wait for one another at every few rows, and
    # on a machine with other work that takes ten times as long.
    views = [_as_bits(piece).numpy() for piece in pieces]
    rows, columns = len(views[0]), sum(view.shape[1] for view in views)
    height = max(PIECE_BYTES * rows // max(sum(view.nbytes for view in views), 1), 1)
    room = np.empty((height, columns, *views[0].shape[2:]), dtype=views[0].dtype)
    for start in range(0, rows, height):
        band = room[: min(height, rows - start)]
        column = 0
        for view in views:
            band[:, column : column + view.shape[1]] = view[start : start + height]
            column += view.shape[1]
        yield from _cut(band.reshape(-1).view(np.uint8).data)

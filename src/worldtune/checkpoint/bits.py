"""The bits of tensors: compared, and gathered in memory that is used again."""

from collections.abc import Sequence

import torch
from torch import Tensor

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


class Scratch:
    """Memory for one tensor at a time: what it held is gone with the next.

    It is used again, because fresh pages cost more than the copy into them.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._memory = torch.empty(0, dtype=torch.uint8)

    def contiguous(self, tensor: Tensor) -> Tensor:
        """The tensor itself if its elements lie row by row, else a copy in which they do."""
        if tensor.is_contiguous():
            return tensor
        return self._room(tensor.shape, tensor.dtype).copy_(tensor)

    def joined(self, pieces: Sequence[Tensor], dim: int) -> Tensor:
        """The pieces as one tensor, joined along a dim."""
        shape = list(pieces[0].shape)
        shape[dim] = sum(piece.shape[dim] for piece in pieces)
        room = self._room(shape, pieces[0].dtype)
        for place, piece in zip(
            room.split([p.shape[dim] for p in pieces], dim), pieces, strict=True
        ):
            place.copy_(piece)
        return room

    def _room(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        nbytes = torch.Size(shape).numel() * dtype.itemsize
        if nbytes > len(self._memory):
            self._memory = torch.empty(nbytes, dtype=torch.uint8)
        return self._memory[:nbytes].view(dtype).view(list(shape))

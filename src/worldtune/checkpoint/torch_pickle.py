"""The pickle in a file for torch.load: names and shapes, and what stands for the data."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch
from torch import Tensor
from torch._utils import _rebuild_tensor_v2, _rebuild_tensor_v3

from worldtune.checkpoint.entries import TensorEntry, contiguous_stride
from worldtune.checkpoint.pickles import STORAGE_DTYPES
from worldtune.checkpoint.shards import dtype_name

STORAGE_OF_DTYPE = {dtype: storage for storage, dtype in STORAGE_DTYPES.items()}


@dataclass(frozen=True)
class Planned:
    """A tensor that is made when it is written."""

    entry: TensorEntry
    make: Callable[[], Tensor]


def planned(tensor: Tensor, dtype: torch.dtype | None = None) -> Planned:
    """Plan to write a tensor, cast to a dtype if it is given one."""
    target = dtype or tensor.dtype
    entry = TensorEntry(tuple(tensor.shape), dtype_name(target))
    return Planned(entry, lambda: tensor.detach().to(target))


def pickled(tree: Any) -> tuple[bytes, list[Planned]]:
    """Give the pickle of an object, and its tensors in the order in which their data follows."""
    content = BytesIO()
    pickler = _Pickler(content)
    pickler.dump(tree)
    return content.getvalue(), pickler.tensors


class _Storage:
    """What the pickle refers to in place of data."""

    def __init__(self, key: int, entry: TensorEntry) -> None:
        self.key, self.entry = key, entry


class _Pickler(pickle.Pickler):
    """Pickle an object as torch.save does; `tensors` are then those whose data follows."""

    def __init__(self, stream: BytesIO) -> None:
        super().__init__(stream, protocol=2)
        self.tensors: list[Planned] = []

    def reducer_override(self, obj: object, /) -> Any:
        """Turn a tensor into the call that makes it again."""
        if isinstance(obj, Tensor):
            obj = planned(obj)
        if not isinstance(obj, Planned):
            return NotImplemented
        storage = _Storage(len(self.tensors), obj.entry)
        self.tensors.append(obj)
        shape = obj.entry.shape
        words = (storage, 0, shape, contiguous_stride(shape), False, OrderedDict())
        if obj.entry.dtype in STORAGE_OF_DTYPE:
            return _rebuild_tensor_v2, words
        return _rebuild_tensor_v3, (*words, getattr(torch, obj.entry.dtype))

    def persistent_id(self, obj: object, /) -> Any:
        """Name the data of a tensor by its number."""
        if not isinstance(obj, _Storage):
            return None
        kind = STORAGE_OF_DTYPE.get(obj.entry.dtype)
        if kind is None:
            return "storage", torch.UntypedStorage, str(obj.key), "cpu", obj.entry.nbytes
        return "storage", getattr(torch, kind), str(obj.key), "cpu", obj.entry.numel

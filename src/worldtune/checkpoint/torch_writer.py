"""Writing what torch.load reads, one tensor at a time.

torch.save needs all tensors in memory at once, in the dtype that is saved; a 14B network
with its average would need 85 GB. Here a tensor is made when its turn comes. The archive
has the layout of torch.save's: any program that reads one reads the other.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor
from torch._utils import _rebuild_tensor_v2, _rebuild_tensor_v3

from worldtune.checkpoint.disk import Disk, DiskWriter, replaced_file
from worldtune.checkpoint.entries import TensorEntry, contiguous_stride
from worldtune.checkpoint.pickles import STORAGE_DTYPES
from worldtune.checkpoint.shards import dtype_name, pieces_of

ROOT = "archive"
# As torch.save does, so that data can be used in place with any instruction.
ALIGNMENT = 64
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


def write_torch_file(path: Path, tree: Any, disk: Disk | None = None) -> None:
    """Write an object of containers, plain values, Tensors and Planned, whole or not at all.

    OSError where the disk refuses; the file that was there then stays.
    """
    content, tensors = pickled(tree)
    # A DiskWriter has what zipfile uses of a file.
    with (
        replaced_file(path, disk or Disk()) as writer,
        zipfile.ZipFile(cast("IO[bytes]", writer), "w", zipfile.ZIP_STORED) as archive,
    ):
        _add(archive, writer, "data.pkl", content)
        _add(archive, writer, "byteorder", b"little")
        for key, tensor in enumerate(tensors):
            _add_tensor(archive, writer, f"data/{key}", tensor)
        _add(archive, writer, "version", b"3\n")


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


def _info(name: str, nbytes: int, writer: DiskWriter) -> zipfile.ZipInfo:
    """A member whose data begins on a boundary, whatever its header takes."""
    info = zipfile.ZipInfo(f"{ROOT}/{name}")
    info.file_size = nbytes
    # zipfile adds 20 bytes to the header of a large member, by the same rule.
    large = 20 * (nbytes * 1.05 > zipfile.ZIP64_LIMIT)
    header = 30 + len(info.filename) + large
    padding = -(writer.tell() + header + 4) % ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    return info


def _add(archive: zipfile.ZipFile, writer: DiskWriter, name: str, content: bytes) -> None:
    archive.writestr(_info(name, len(content), writer), content)


def _add_tensor(archive: zipfile.ZipFile, writer: DiskWriter, name: str, tensor: Planned) -> None:
    with archive.open(_info(name, tensor.entry.nbytes, writer), "w") as member:
        made = tensor.make()
        assert (tuple(made.shape), dtype_name(made.dtype)) == (
            tensor.entry.shape,
            tensor.entry.dtype,
        )
        for piece in pieces_of(made):
            member.write(piece)


def torch_file_size(entries: list[TensorEntry]) -> int:
    """Bytes that a file of these tensors takes, a little more than less."""
    return sum(entry.nbytes for entry in entries) + 600 * (len(entries) + 4)

"""Writing tensors as safetensors, one at a time.

The library's own writer makes a second copy of all tensors in memory first; a training
state of a 2B network would need 35 GB for it. This one streams, and sums up while it does.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldtune.checkpoint.disk import PIECE_BYTES, DiskWriter
from worldtune.checkpoint.entries import ITEM_BYTES
from worldtune.checkpoint.safetensors_files import TAG_OF_DTYPE


@dataclass(frozen=True)
class Written:
    """Size of a file, and the crc32 of its header and of each tensor."""

    nbytes: int
    header_crc32: int
    crc32: Mapping[str, int]


def dtype_name(dtype: torch.dtype) -> str:
    """torch's name of a dtype, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def header_of(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> bytes:
    """The header of a file of these tensors: every tensor on a boundary of its own size."""
    rows: dict[str, object] = {"__metadata__": dict(notes)} if notes else {}
    offset = 0
    for name in in_file_order(tensors):
        tensor = tensors[name]
        end = offset + tensor.nbytes
        rows[name] = {
            "dtype": TAG_OF_DTYPE[dtype_name(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(rows, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def in_file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names, those of the largest elements first: then all lie on their natural boundary."""
    return sorted(tensors, key=lambda name: (-ITEM_BYTES[dtype_name(tensors[name].dtype)], name))


def file_size(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> int:
    """Bytes of the file that these tensors make."""
    return len(header_of(tensors, notes)) + sum(tensor.nbytes for tensor in tensors.values())


def write_tensors(
    writer: DiskWriter, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> Written:
    """Write a safetensors file; in memory is one tensor beside those given."""
    header = header_of(tensors, notes)
    writer.write(header)
    sums = {name: _write_tensor(writer, tensors[name]) for name in in_file_order(tensors)}
    return Written(writer.tell(), zlib.crc32(header), sums)


def _write_tensor(writer: DiskWriter, tensor: Tensor) -> int:
    total = 0
    for piece in pieces_of(tensor):
        total = zlib.crc32(piece, total)
        writer.write(piece)
    return total


def pieces_of(tensor: Tensor) -> Iterator[memoryview]:
    """Give the bytes of a tensor, row by row, in pieces of a size that disks like."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]

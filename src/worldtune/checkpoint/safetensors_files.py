"""Where the tensors of a safetensors file lie, whole or in numbered shards.

The header is read here rather than through the library, which imports torch: a file is
described before torch could be loaded. Source: the format's published description.
"""

import json
import struct
from pathlib import Path
from typing import Any

from worldtune.checkpoint.entries import (
    PlacedTensor,
    Record,
    TensorEntry,
    contiguous_stride,
)
from worldtune.errors import CheckpointError

# The format's own limit; a larger number is a file of another kind.
LONGEST_HEADER = 100_000_000

DTYPE_OF_TAG = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
TAG_OF_DTYPE = {dtype: tag for tag, dtype in DTYPE_OF_TAG.items()}


def read_header(path: Path) -> tuple[dict[str, PlacedTensor], dict[str, str]]:
    """Every tensor of one file by name, and the file's notes.

    CheckpointError where the file is cut short or its header contradicts itself.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))[0]
        if 8 + length > size or length > LONGEST_HEADER:
            raise CheckpointError(
                f"{path} is cut short or not safetensors: its header of {length:,} bytes does "
                f"not fit in {size:,} bytes. Fetch or copy the file again."
            )
        text = stream.read(length)
    try:
        header = json.loads(text)
        notes = header.pop("__metadata__", {})
        placed = {name: _placed(row, 8 + length) for name, row in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise CheckpointError(
            f"{path} is damaged or not safetensors: its header cannot be read "
            f"({type(fault).__name__}: {fault}). Fetch or copy the file again."
        ) from fault
    end = max((p.record.offset + p.record.nbytes for p in placed.values()), default=8 + length)
    if end > size:
        raise CheckpointError(
            f"{path} is cut short: it should hold {end:,} bytes and has {size:,}. Fetch or "
            "copy the file again."
        )
    return placed, {str(key): str(value) for key, value in notes.items()}


def _placed(row: Any, base: int) -> PlacedTensor:
    """One row of the header; ValueError where its numbers do not fit one another."""
    tag = row["dtype"]
    if tag not in DTYPE_OF_TAG:
        raise ValueError(f"dtype {tag!r}")
    shape = tuple(row["shape"])
    begin, end = row["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"shape {shape} at {begin} to {end}")
    entry = TensorEntry(shape, DTYPE_OF_TAG[tag])
    if end - begin != entry.nbytes:
        raise ValueError(f"{entry} in {end - begin} bytes")
    return PlacedTensor(entry, Record(base + begin, entry.nbytes), 0, contiguous_stride(shape))


def read_index(path: Path) -> dict[str, str]:
    """The name of the shard that holds each tensor, from a file `*.index.json`."""
    try:
        shards = json.loads(path.read_bytes())["weight_map"]
        # A name with folders in it could lead out of the model's own folder.
        if not all(Path(shard).name == shard for shard in shards.values()):
            raise ValueError("a shard lies in another folder")
        return dict(shards)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise CheckpointError(
            f"{path} is not an index of safetensors shards: 'weight_map' cannot be read "
            f"({type(fault).__name__}: {fault}). Give the index that lies beside the shards."
        ) from fault

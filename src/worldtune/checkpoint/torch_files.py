"""Where the tensors of a `.pt` or `.pth` file lie, without reading them.

Two containers are read: the zip archive that torch.save has written since 1.6, and the run
of pickles before it. In both the data lies uncompressed, so it can be used in place.
"""

import struct
import zipfile
from io import BufferedReader, BytesIO
from itertools import count
from pathlib import Path
from typing import Any

from worldtune.checkpoint.entries import (
    ITEM_BYTES,
    PlacedTensor,
    Record,
    TensorEntry,
)
from worldtune.checkpoint.pickles import Dtype, StorageNote, TensorNote, read_pickle
from worldtune.errors import CheckpointError

# The pickled number 0x1950a86a20f9469cfc6c, with which the old container begins.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# A container that holds another one twice, and so on, is small in a file and endless when
# written out. The largest published file has fewer than ten thousand values.
MOST_NODES = 100_000
LOCAL_HEADER = struct.Struct("<4s22xHH")


def read_zip(path: Path) -> Any:
    """The object in an archive of torch.save, with PlacedTensor for every tensor.

    CheckpointError where the archive is cut short, of another kind or contradicts itself.
    """
    members = _members(path)
    with path.open("rb") as stream:
        root = _root_folder(members, path)
        if root + "byteorder" in members:
            order = _bytes(stream, members[root + "byteorder"], path)
            if order != b"little":
                raise CheckpointError(
                    f"{path} was written in byte order {order[:8]!r}; only b'little' is read. "
                    "Save it again on a little-endian machine."
                )
        pickled = BytesIO(_bytes(stream, members[root + "data.pkl"], path))
        tree, storages = read_pickle(pickled, path)
        records: dict[str, Record] = {}
        for key in storages:
            info = members.get(f"{root}data/{key}")
            if info is None:
                raise CheckpointError(
                    f"{path} is damaged: its list names the data {key!r}, which is not in the "
                    "archive. Fetch or copy the file again."
                )
            records[key] = _record(stream, info, path)
    return _place(tree, records, path)


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """What the archive's list of contents names."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename: info for info in archive.infolist()}
    # A damaged list can also hold text that is none, or numbers that lead out of the file.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as fault:
        raise CheckpointError(
            f"{path} is cut short or damaged: it begins as an archive of torch.save, and the "
            f"list of contents at its end cannot be read ({path.stat().st_size:,} bytes are "
            "there). Fetch or copy the file again."
        ) from fault


def _root_folder(members: dict[str, zipfile.ZipInfo], path: Path) -> str:
    """The one folder inside the archive, which holds data.pkl."""
    roots = [name[: -len("data.pkl")] for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or roots[0].count("/") != 1:
        raise CheckpointError(
            f"{path} is a zip archive and not one of torch.save: it holds no single data.pkl. "
            "If weights are packed inside, unpack it first."
        )
    if roots[0] + "constants.pkl" in members:
        raise CheckpointError(
            f"{path} is a TorchScript program, not a file of weights. Give the file of the "
            "same model's state dict instead (.pt, .pth or .safetensors)."
        )
    return roots[0]


def _record(stream: BufferedReader, info: zipfile.ZipInfo, path: Path) -> Record:
    """Where the bytes of a member lie, past its local header."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(
            f"{path} was compressed: {info.filename} cannot be used in place. Unpack it and "
            "save the weights again with torch.save or as safetensors."
        )
    stream.seek(max(info.header_offset, 0))
    header = stream.read(LOCAL_HEADER.size)
    if info.header_offset < 0 or len(header) < LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise CheckpointError(
            f"{path} is damaged at byte {info.header_offset:,}: the data of {info.filename} "
            "does not begin there. Fetch or copy the file again."
        )
    _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    offset = info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes
    # torch writes 0 where it was told not to compute checksums.
    return Record(offset, info.file_size, info.CRC or None)


def _bytes(stream: BufferedReader, info: zipfile.ZipInfo, path: Path) -> bytes:
    record = _record(stream, info, path)
    stream.seek(record.offset)
    return stream.read(record.nbytes)


def read_legacy(path: Path) -> Any:
    """The object in a file of torch.save before 1.6, with PlacedTensor for every tensor."""
    with path.open("rb") as stream:
        read_pickle(stream, path)  # the magic number, known from the first bytes
        protocol, _ = read_pickle(stream, path)
        system, _ = read_pickle(stream, path)
        if protocol != 1001 or not isinstance(system, dict):
            raise CheckpointError(
                f"{path} is of torch's old format, version {protocol!r}; 1001 is read."
            )
        if system.get("little_endian") is False:
            raise CheckpointError(
                f"{path} was written big-endian; save it again on a little-endian machine."
            )
        tree, storages = read_pickle(stream, path)
        keys, _ = read_pickle(stream, path)
        records = _legacy_records(stream, keys, storages, path)
    return _place(tree, records, path)


def _legacy_records(
    stream: BufferedReader, keys: object, storages: dict[str, StorageNote], path: Path
) -> dict[str, Record]:
    """The blocks after the pickles: each a count of elements, then the elements."""
    if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
        raise CheckpointError(f"{path} is damaged: its list of data does not fit its tensors.")
    records: dict[str, Record] = {}
    offset = stream.tell()
    for key in map(str, keys):
        stream.seek(offset)
        told = stream.read(8)
        nbytes = storages[key].numel * ITEM_BYTES[storages[key].dtype or "uint8"]
        if len(told) == 8 and struct.unpack("<q", told)[0] != storages[key].numel:
            raise CheckpointError(
                f"{path} is damaged at byte {offset:,}: the data of {key!r} should hold "
                f"{storages[key].numel:,} elements. Fetch or copy the file again."
            )
        records[key] = Record(offset + 8, nbytes)
        offset += 8 + nbytes
    return records


def _place(tree: Any, records: dict[str, Record], path: Path) -> Any:
    """Put PlacedTensor where the tree has notes, after checking that the data is there."""
    size = path.stat().st_size
    end = max((record.offset + record.nbytes for record in records.values()), default=0)
    if end > size:
        raise CheckpointError(
            f"{path} is cut short: it should hold {end:,} bytes or more and has {size:,}. "
            "Fetch or copy the file again."
        )

    nodes = count()

    def place(node: Any) -> Any:
        if next(nodes) > MOST_NODES:
            raise CheckpointError(f"{path} is damaged: its containers repeat without end.")
        if isinstance(node, TensorNote):
            return _placed(node, records, path)
        if isinstance(node, StorageNote | Dtype):
            return node.dtype if isinstance(node, StorageNote) else node.name
        if isinstance(node, dict):
            return {key: place(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(place(value) for value in node)
        return node

    try:
        return place(tree)
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: its containers hold themselves.") from None


def _placed(note: TensorNote, records: dict[str, Record], path: Path) -> PlacedTensor:
    entry = TensorEntry(note.shape, note.dtype)
    placed = PlacedTensor(entry, records[note.storage.key], note.start, note.stride)
    if not placed.fits():
        raise CheckpointError(
            f"{path} is damaged: a tensor of {entry} reaches past its data of "
            f"{placed.record.nbytes:,} bytes. Fetch or copy the file again."
        )
    return placed

"""One reader for weights of every origin.

    with open_weights("model-720p-16fps.pt") as file:
        file.entries["net.final_layer.linear.weight"]  # shape and dtype; no data read
        file.read("net.final_layer.linear.weight")     # a tensor in the file's own pages

Nothing in a file is executed, and data is read where it lies, by memory map: a file may be
larger than the memory. Names are those in the file, in one flat form: the network's begin
with `net.`, its average's with `net_ema.`, however the file packs them.
"""

import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from worldtune.checkpoint.entries import PlacedTensor, TensorEntry
from worldtune.checkpoint.kinds import FileKind, find_kind
from worldtune.checkpoint.pages import drop_pages, map_private, view_tensor
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.safetensors_files import read_header, read_index
from worldtune.checkpoint.torch_files import read_legacy, read_zip
from worldtune.checkpoint.trees import flatten
from worldtune.errors import CheckpointError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Place:
    """A tensor's file and its place in it."""

    file: Path
    tensor: PlacedTensor


@dataclass(frozen=True)
class WeightsFile:
    """An open file of weights, or the shards of one.

    `entries` maps names to shapes and dtypes; `others` holds what is no tensor (numbers,
    text, empty extra state); `tree` is the object as the file nests it, tensors as
    PlacedTensor; `wrappers` are the keys it was packed under, such as `model` and `ema`.
    """

    path: Path
    kind: FileKind
    entries: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    others: Mapping[str, Any]
    tree: Any
    wrappers: tuple[str, ...]
    _places: Mapping[str, _Place]
    _maps: dict[Path, mmap.mmap] = field(default_factory=dict)
    _verified: set[tuple[Path, int]] = field(default_factory=set)

    def __enter__(self) -> "WeightsFile":
        """Give the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Let go of the file; tensors that were read keep their pages."""
        self._maps.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(entry.nbytes for entry in self.entries.values())

    def read(self, name: str, *, verify: bool = True) -> "torch.Tensor":
        """Give one tensor, in the file's own pages and dtype; writing to it changes no file.

        With verify the bytes are held against the checksum, where the file keeps one.
        CheckpointError where the name is not in the file or the data is damaged.
        """
        if name not in self._places:
            raise CheckpointError(f"{self.path} holds no tensor named {name!r}.")
        place = self._places[name]
        if verify:
            self._verify(name, place)
        return view_tensor(self._map(place.file), place.tensor)

    def read_placed(self, tensor: PlacedTensor) -> "torch.Tensor":
        """Give a tensor of `tree`, which may be nested in any way; files of torch only."""
        self._verify("a tensor", _Place(self.path, tensor))
        return view_tensor(self._map(self.path), tensor)

    def forget(self, name: str) -> None:
        """Give the memory of one tensor's pages back, once it has been copied elsewhere.

        What was written into the tensor since it was read is lost.
        """
        place = self._places[name]
        drop_pages(self._map(place.file), place.tensor.record)

    def verify(self) -> None:
        """Read all data and hold it against the checksums that the file keeps of it."""
        for name, place in self._places.items():
            self._verify(name, place)
            self.forget(name)

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            self._maps[path] = map_private(path)
        return self._maps[path]

    def _verify(self, name: str, place: _Place) -> None:
        record = place.tensor.record
        if record.crc32 is None or (place.file, record.offset) in self._verified:
            return
        with memoryview(self._map(place.file)) as whole:
            end = record.offset + record.nbytes
            found = zlib.crc32(whole[record.offset : end])
        if found != record.crc32:
            raise CheckpointError(
                f"{place.file} is damaged: the data of {name!r} (bytes {record.offset:,} to "
                f"{end:,}) has checksum {found:08x}, and the file says {record.crc32:08x}. "
                "Fetch or copy the file again."
            )
        self._verified.add((place.file, record.offset))


def open_weights(path: str | Path) -> WeightsFile:
    """Open a `.pt`, `.pth` or `.safetensors` file, an index of shards, or their folder.

    CheckpointError where it is not there, damaged or of another kind, with the next step.
    """
    path = _single_file(Path(path))
    kind = find_kind(path)
    if kind is FileKind.INDEX:
        return _open_shards(path)
    if kind is FileKind.SAFETENSORS:
        tree, metadata = read_header(path)
        places = {name: _Place(path, placed) for name, placed in tree.items()}
        return _weights_file(path, kind, places, metadata, {}, tree, ())
    tree = read_zip(path) if kind is FileKind.TORCH_ZIP else read_legacy(path)
    flat = flatten(tree, path)
    places = {name: _Place(path, placed) for name, placed in flat.tensors.items()}
    return _weights_file(path, kind, places, {}, flat.others, tree, flat.wrappers)


def _weights_file(
    path: Path,
    kind: FileKind,
    places: Mapping[str, _Place],
    metadata: Mapping[str, str],
    others: Mapping[str, Any],
    tree: Any,
    wrappers: tuple[str, ...],
) -> WeightsFile:
    entries = {name: place.tensor.entry for name, place in places.items()}
    return WeightsFile(path, kind, entries, metadata, others, tree, wrappers, places)


def _single_file(path: Path) -> Path:
    """The file that is meant: the path itself, or the only weights in a folder."""
    if not path.exists():
        raise weights_not_found(path)
    if not path.is_dir():
        return path
    for pattern in ("*.index.json", "*.safetensors", "*.pt", "*.pth"):
        found = sorted(path.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(entry.name for entry in found[:8])
            raise CheckpointError(
                f"{path} is a folder with {len(found)} files {pattern}: {names}"
                f"{', ...' if len(found) > 8 else ''}. Give the one that is meant."
            )
    raise CheckpointError(f"{path} is a folder without weights (.pt, .pth or .safetensors).")


def _open_shards(index: Path) -> WeightsFile:
    """The shards of an index as one file; every name must lie where the index says."""
    shard_of = read_index(index)
    files = {shard: index.parent / shard for shard in sorted(set(shard_of.values()))}
    absent = [shard for shard, file in files.items() if not file.is_file()]
    if absent:
        raise CheckpointError(
            f"{index} names {len(files)} shards, and {len(absent)} of them are not there: "
            f"{', '.join(absent[:8])}. Fetch the rest into {index.parent}."
        )
    headers = {shard: read_header(file)[0] for shard, file in files.items()}
    lost = [name for name, shard in shard_of.items() if name not in headers[shard]]
    if lost:
        raise CheckpointError(
            f"{index} and its shards disagree: {lost[0]!r} is not in {shard_of[lost[0]]} "
            f"({len(lost)} such names). Fetch index and shards from one place."
        )
    places = {name: _Place(files[shard], headers[shard][name]) for name, shard in shard_of.items()}
    tree = {name: place.tensor for name, place in places.items()}
    return _weights_file(index, FileKind.INDEX, places, {}, {}, tree, ())

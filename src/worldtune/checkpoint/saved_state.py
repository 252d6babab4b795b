"""A training state on the disk: checked against its manifest, read by memory map."""

import mmap
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from worldtune.checkpoint.disk import PIECE_BYTES
from worldtune.checkpoint.entries import PlacedTensor, Record
from worldtune.checkpoint.manifest import Manifest, ShardRow, SliceRow, TensorRow, read_manifest
from worldtune.checkpoint.pages import drop_pages, map_private, view_tensor
from worldtune.checkpoint.safetensors_files import read_header
from worldtune.errors import CheckpointError

if TYPE_CHECKING:
    import torch


class SavedState:
    """One state: `info`, and tensors by `SECTION/NAME`, whole or any part of each.

    Opening it checks manifest, sizes and headers, and reads no data. CheckpointError says
    what is damaged.
    """

    def __init__(self, path: Path) -> None:
        """Open a folder `iter_N`."""
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self._shards = [_Shard(path / row.file, row, self.manifest) for row in self.manifest.shards]

    def __enter__(self) -> "SavedState":
        """Give the state itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the files; tensors that were read keep their pages."""
        for shard in self._shards:
            shard.close()

    @property
    def iteration(self) -> int:
        """Steps done when it was saved."""
        return self.manifest.iteration

    @property
    def info(self) -> Mapping[str, Any]:
        """What is no tensor, as it was given."""
        return self.manifest.info

    @property
    def tensors(self) -> Mapping[str, TensorRow]:
        """Shape and dtype of every tensor by `SECTION/NAME`."""
        return self.manifest.tensors

    def verify(self) -> None:
        """Hold all data against its checksums; CheckpointError names the damaged tensor."""
        for shard in self._shards:
            for name in shard.row.tensors:
                shard.verify(name)

    def sections(self) -> dict[str, dict[str, "torch.Tensor"]]:
        """All tensors, by section and name; those of one shard lie in the file's pages."""
        sections: dict[str, dict[str, torch.Tensor]] = {}
        for key in self.tensors:
            section, name = key.split("/", 1)
            sections.setdefault(section, {})[name] = self.read(key)
        return sections

    def read(
        self, key: str, offsets: Sequence[int] | None = None, sizes: Sequence[int] | None = None
    ) -> "torch.Tensor":
        """Give a tensor, or the part of it that begins at offsets and is sizes large.

        A part that one shard holds whole lies in the file's pages; any other is put together.
        CheckpointError where the state has no such tensor.
        """
        import torch

        if key not in self.tensors:
            raise CheckpointError(f"{self.path} holds no tensor named {key!r}.")
        row = self.tensors[key]
        begin = list(offsets) if offsets is not None else [0] * len(row.shape)
        extent = list(sizes) if sizes is not None else list(row.shape)
        holders = [shard for shard in self._shards if key in shard.row.tensors]
        for shard in holders:
            held = shard.row.tensors[key]
            if held.offsets == begin and held.sizes == extent:
                return shard.tensor(key)
        whole = torch.empty(extent, dtype=getattr(torch, row.dtype))
        for shard in holders:
            _copy_common(whole, begin, shard.tensor(key), shard.row.tensors[key])
        return whole


class _Shard:
    """One file of a state, held to be what the manifest says of it."""

    def __init__(self, path: Path, row: ShardRow, manifest: Manifest) -> None:
        self.path, self.row = path, row
        size = path.stat().st_size if path.exists() else None
        if size != row.nbytes:
            found = "is not there" if size is None else f"has {size:,} bytes"
            raise CheckpointError(f"{path} {found}; the manifest says {row.nbytes:,} bytes.")
        with path.open("rb") as stream:
            length = stream.read(8)
            header = length + stream.read(min(int.from_bytes(length, "little"), row.nbytes))
        if f"{zlib.crc32(header):08x}" != row.header_crc32:
            raise CheckpointError(f"{path} is damaged: its header has another checksum.")
        self.placed: Mapping[str, PlacedTensor] = read_header(path)[0]
        self._check_names(manifest)
        self._pages: mmap.mmap | None = None

    def _check_names(self, manifest: Manifest) -> None:
        """A shard of another state has a right header of its own, and other tensors."""
        for name in self.placed.keys() | self.row.tensors.keys():
            if name not in self.placed or name not in self.row.tensors:
                raise CheckpointError(f"{self.path} and the manifest differ in {name!r}.")
            entry = self.placed[name].entry
            told = (tuple(self.row.tensors[name].sizes), manifest.tensors[name].dtype)
            if (entry.shape, entry.dtype) != told:
                raise CheckpointError(
                    f"{self.path} holds {name!r} as {entry}; the manifest says {told}."
                )

    def tensor(self, name: str) -> "torch.Tensor":
        """View what this shard holds of a tensor."""
        return view_tensor(self._mapped(), self.placed[name])

    def verify(self, name: str) -> None:
        """Hold one tensor's data against its checksum, and let its pages go again."""
        record = self.placed[name].record
        told = self.row.tensors[name].crc32
        with memoryview(self._mapped()) as whole:
            found = f"{_crc32(whole, record):08x}"
        drop_pages(self._mapped(), record)
        if found != told:
            raise CheckpointError(
                f"{self.path} is damaged: the data of {name!r} has checksum {found}, the "
                f"manifest says {told}."
            )

    def close(self) -> None:
        """Let go of the file."""
        self._pages = None

    def _mapped(self) -> mmap.mmap:
        if self._pages is None:
            self._pages = map_private(self.path)
        return self._pages


def _crc32(whole: memoryview, record: Record) -> int:
    total, end = 0, record.offset + record.nbytes
    for start in range(record.offset, end, PIECE_BYTES):
        total = zlib.crc32(whole[start : min(start + PIECE_BYTES, end)], total)
    return total


def _copy_common(
    target: "torch.Tensor", begin: Sequence[int], part: "torch.Tensor", held: SliceRow
) -> None:
    """Copy into the target, which begins at `begin` of the whole, what a shard has of it."""
    first = [max(a, b) for a, b in zip(begin, held.offsets, strict=True)]
    last = [
        min(a + n, b + m)
        for a, n, b, m in zip(begin, target.shape, held.offsets, held.sizes, strict=True)
    ]
    if any(lo >= hi for lo, hi in zip(first, last, strict=True)):
        return
    to = tuple(slice(lo - a, hi - a) for lo, hi, a in zip(first, last, begin, strict=True))
    out_of = tuple(
        slice(lo - b, hi - b) for lo, hi, b in zip(first, last, held.offsets, strict=True)
    )
    target[to].copy_(part[out_of])

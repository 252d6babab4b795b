"""The project's own training state: safetensors shards and a manifest, no pickle.

    with lock_run(folder) as lock:
        write_state(folder, 500, {"weights": {...}, "masters": {...}}, info, lock=lock)
    ...
    latest = find_latest(folder)
    sections, info = read_state(latest.state)

Everything is keyed by names. One process writes one shard; the manifest says of every
tensor its whole shape, and of every shard which part it holds, so that any layout reads
what any other wrote. The folder's layout is in `state_folder.py`; the formats are described
in docs/files.md.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from worldtune.checkpoint.disk import TEMPORARY, Disk, new_file, save_failed, sync_folder
from worldtune.checkpoint.manifest import FILE_NAME, Manifest, ShardRow, SliceRow, TensorRow
from worldtune.checkpoint.run_lock import RunLock, lock_run
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.shards import dtype_name, file_size, write_tensors
from worldtune.checkpoint.state_folder import (
    StateRef,
    clean_leftovers,
    point_to,
    put_in_place,
    remove_old,
    state_name,
)
from worldtune.errors import RunError

Sections = Mapping[str, Mapping[str, Tensor]]
Info = Mapping[str, Any]  # JSON's types: a pickle could hold more, and run it

# A manifest takes about this much for each tensor.
MANIFEST_BYTES = 600


@dataclass(frozen=True)
class Slice:
    """The part of a tensor that a process holds: where it begins, and the whole's shape."""

    offsets: tuple[int, ...]
    global_shape: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """Which process of how many this is, and how it waits for the others."""

    rank: int = 0
    world: int = 1
    barrier: Callable[[], None] = lambda: None


def write_state(
    folder: Path,
    iteration: int,
    sections: Sections,
    info: Info,
    *,
    rank: int = 0,
    world: int = 1,
    barrier: Callable[[], None] | None = None,
    slices: Mapping[str, Slice] | None = None,
    keep_last: int | None = None,
    lock: RunLock | None = None,
    disk: Disk | None = None,
) -> StateRef:
    """Save a state whole or not at all, point to it, then remove old ones.

    `sections` maps section to name to tensor: this process's part of the state. `slices`,
    by `SECTION/NAME`, says which part a tensor is; without an entry it is the whole, which
    one process alone may give. `info` is what is no tensor, in JSON's types; that of rank 0
    counts. With several processes all call this, with a `barrier` that waits for all.
    `keep_last` counts states that stay, this one included; None keeps all. Without `lock`
    the folder is locked for the time of the save.

    RunError where the disk is full or fails, CheckpointError where the folder cannot be
    written or another process writes it: then what was saved before is whole, and is what
    the pointer names.
    """
    if world > 1 and barrier is None:
        raise ValueError("several processes need a barrier to save one state")
    ranks = Ranks(rank, world, barrier or (lambda: None))
    part = _Part(folder, iteration, flat_sections(sections), slices or {}, ranks, disk or Disk())
    # A mistake in it is told before the disk is touched; tuples become lists here and now.
    plain_info = json.loads(json.dumps(dict(info), allow_nan=False))
    with contextlib.ExitStack() as held:
        steps = [
            _Step(rank == 0, lambda: _prepare(part, lock or held.enter_context(_lock(part)))),
            _Step(True, lambda: _write_shard(part)),
            _Step(rank == 0, lambda: _publish(part, plain_info, keep_last)),
        ]
        _run_together(part, steps)
    return StateRef(part.final, iteration, verified=True)


def read_state(ref: StateRef | Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Give (sections, info) of a state, tensors by memory map.

    A state that `find_latest` has not verified is verified first. Writing into the tensors
    changes no file. CheckpointError where the state is damaged.
    """
    path = ref if isinstance(ref, Path) else ref.path
    with SavedState(path) as state:
        if isinstance(ref, Path) or not ref.verified:
            state.verify()
        return state.sections(), dict(state.info)


def save_size(sections: Sections) -> int:
    """Bytes that a save of these tensors takes, manifest and header included."""
    return _needed(flat_sections(sections))


def flat_sections(sections: Sections) -> dict[str, Tensor]:
    """Give every tensor the one name `SECTION/NAME`."""
    for section in sections:
        if not section or "/" in section:
            raise ValueError(f"{section!r} is no name for a section")
    return {
        f"{section}/{name}": tensor
        for section, tensors in sections.items()
        for name, tensor in tensors.items()
    }


def _needed(tensors: Mapping[str, Tensor]) -> int:
    return file_size(tensors) + MANIFEST_BYTES * (len(tensors) + 10)


@dataclass(frozen=True)
class _Part:
    """What this process saves, and where."""

    folder: Path
    iteration: int
    tensors: Mapping[str, Tensor]
    slices: Mapping[str, Slice]
    ranks: Ranks
    disk: Disk

    @property
    def final(self) -> Path:
        return self.folder / state_name(self.iteration)

    @property
    def temporary(self) -> Path:
        return self.folder / (state_name(self.iteration) + TEMPORARY)

    @property
    def shard(self) -> str:
        return f"shard_{self.ranks.rank:05d}_of_{self.ranks.world:05d}.safetensors"

    def note(self, rank: int) -> Path:
        """Where a process leaves its row of the manifest for rank 0."""
        return self.temporary / f"shard_{rank:05d}.json"


@dataclass(frozen=True)
class _Step:
    """A step of a save, and whether this process takes it."""

    mine: bool
    run: Callable[[], None]


def _run_together(part: _Part, steps: Sequence[_Step]) -> None:
    """Take the steps, all processes waiting for one another after each.

    One that fails still waits, whatever went wrong, or the others would wait for ever.
    """
    fault: Exception | None = None
    for step in steps:
        if step.mine and fault is None:
            try:
                step.run()
            except Exception as error:
                fault = error
        part.ranks.barrier()
    if fault is not None:
        if part.ranks.rank == 0:
            with contextlib.suppress(OSError):
                part.disk.remove(part.temporary)
        if isinstance(fault, OSError):
            what = f"The training state of iteration {part.iteration}"
            raise save_failed(what, part.folder, _needed(part.tensors), fault) from fault
        raise fault
    if not (part.final / part.shard).exists():
        raise RunError(f"iteration {part.iteration} was not saved: another process failed.")


def _lock(part: _Part) -> AbstractContextManager[RunLock]:
    return lock_run(part.folder, part.disk)


def _prepare(part: _Part, lock: RunLock) -> None:
    if lock.folder != part.folder:
        raise ValueError(f"the lock is on {lock.folder}, not on {part.folder}")
    # What a save of this run that failed could not remove; on start the lock has cleaned up.
    clean_leftovers(part.folder, part.disk)
    part.disk.make_folder(part.temporary)


def _write_shard(part: _Part) -> None:
    with new_file(part.temporary / part.shard, part.disk) as writer:
        written = write_tensors(writer, part.tensors, {"format": "pt"})
    row = ShardRow(
        file=part.shard,
        nbytes=written.nbytes,
        header_crc32=f"{written.header_crc32:08x}",
        tensors={
            key: SliceRow(
                offsets=list(_slice_of(part, key).offsets),
                sizes=list(tensor.shape),
                crc32=f"{written.crc32[key]:08x}",
            )
            for key, tensor in part.tensors.items()
        },
    )
    rows = {
        key: TensorRow(
            shape=list(_slice_of(part, key).global_shape), dtype=dtype_name(tensor.dtype)
        ).model_dump()
        for key, tensor in part.tensors.items()
    }
    note = {"shard": row.model_dump(), "tensors": rows}
    with new_file(part.note(part.ranks.rank), part.disk) as writer:
        writer.write(json.dumps(note).encode())


def _slice_of(part: _Part, key: str) -> Slice:
    shape = tuple(part.tensors[key].shape)
    return part.slices.get(key, Slice((0,) * len(shape), shape))


def _publish(part: _Part, info: Info, keep_last: int | None) -> None:
    """Write the manifest over all parts, give the state its name, point to it, tidy up."""
    manifest = _gather(part, info)
    with new_file(part.temporary / FILE_NAME, part.disk) as writer:
        writer.write(manifest.to_bytes())
    for rank in range(part.ranks.world):
        part.disk.remove(part.note(rank))
    sync_folder(part.temporary, part.disk)
    put_in_place(part.temporary, part.final, part.disk)
    point_to(part.folder, part.final, part.disk)
    if keep_last is not None:
        remove_old(part.folder, keep_last, part.disk)


def _gather(part: _Part, info: Info) -> Manifest:
    """Join the notes of all processes; a process without a note has failed."""
    shards: list[ShardRow] = []
    tensors: dict[str, TensorRow] = {}
    for rank in range(part.ranks.world):
        if not part.note(rank).exists():
            raise RunError(
                f"iteration {part.iteration} was not saved: process {rank} of "
                f"{part.ranks.world} wrote no part. See its message."
            )
        note = json.loads(part.note(rank).read_bytes())
        shards.append(ShardRow.model_validate(note["shard"]))
        for key, row in note["tensors"].items():
            told = TensorRow.model_validate(row)
            if tensors.setdefault(key, told) != told:
                raise RunError(f"processes differ about {key!r}: {tensors[key]} and {told}.")
    return Manifest(
        iteration=part.iteration,
        written_by=f"worldtune {_version()}",
        info=dict(info),
        tensors=tensors,
        shards=shards,
    )


def _version() -> str:
    try:
        return version("worldtune")
    except PackageNotFoundError:
        return "from a source folder"

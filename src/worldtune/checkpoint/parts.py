"""The tensor-parallel parts of a checkpoint: found, opened and held against each other."""

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.bits import same_bits
from worldtune.checkpoint.cuts import Named, Names, parts_in_all, read_names, some
from worldtune.checkpoint.entries import PlacedTensor
from worldtune.checkpoint.layout import PART_FILE
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.split import ITERATION, RECORD, part_name, read_iteration
from worldtune.checkpoint.trees import flatten
from worldtune.errors import CheckpointError

OTHER_PART = re.compile(r"(?P<stem>.+)_(?P<what>optim|scheduler)_mp_\d+\.pt")


@dataclass(frozen=True)
class Parts:
    """All parts of one checkpoint, open, in the order of ranks; `names` are those of each."""

    folder: Path
    stem: str
    files: tuple[WeightsFile, ...]
    names: Names

    @property
    def size(self) -> int:
        """How many parts there are."""
        return len(self.files)


def find_parts(path: Path) -> tuple[str, list[Path]]:
    """The stem and the parts that a part, a master or `STEM_model_mp_*.pt` stands for.

    The parts are in the order of their numbers. CheckpointError where there is none.
    """
    other = OTHER_PART.fullmatch(path.name)
    if other:
        raise CheckpointError(
            f"{path} holds a part of the {other['what']}'s state, no weights. Give "
            f"{part_name(other['stem'], 0)} or {other['stem']}.pt beside it."
        )
    if path.is_dir():
        masters = sorted({stem for stem, _ in map(_split_name, path.glob("*_model_mp_*.pt"))})
        listed = some(f"{stem}.pt" for stem in masters)
        raise CheckpointError(
            f"{path} is a folder. Give the checkpoint that is meant"
            f"{f': {listed}' if masters else '; there are no parts in this folder'}."
        )
    part = PART_FILE.fullmatch(path.name)
    stem = part["stem"] if part else path.stem
    found = dict[int, Path]()
    for candidate in path.parent.glob(f"{glob.escape(stem)}_model_mp_*.pt"):
        of_stem, rank = _split_name(candidate)
        if of_stem == stem and rank is not None:
            found[rank] = candidate
    if found:
        return stem, [found[rank] for rank in sorted(found)]
    if path.exists():
        raise CheckpointError(
            f"{path} is no master of parts: there is no {part_name(stem, 0)} beside it. If it "
            "holds whole weights, there is nothing to join."
        )
    raise weights_not_found(path)


def _split_name(path: Path) -> tuple[str, int | None]:
    match = PART_FILE.fullmatch(path.name)
    if not match or match["part"] == "*":
        return path.stem, None
    return match["stem"], int(match["part"])


def check_parts(stem: str, files: tuple[WeightsFile, ...]) -> Parts:
    """Hold open parts against each other, names and shapes only.

    CheckpointError where one is missing or no part, or where they are not of one split.
    """
    first = files[0]
    names = read_names(first)
    size = parts_in_all(first, names)
    ranks = [_split_name(file.path)[1] or 0 for file in files]
    _check_ranks(first, stem, size, ranks)
    faults = []
    for file in files[1:]:
        fault = _difference(first, names, file)
        if fault:
            faults.append(f"{file.path.name}: {fault}")
    if faults:
        listed = "\n  ".join(faults)
        raise CheckpointError(
            f"The parts {stem}_model_mp_*.pt in {first.path.parent} are not of one split or "
            f"one save, by comparison with {first.path.name}:\n  {listed}\nFetch or copy all "
            "parts from one place."
        )
    _check_iteration(first.path.parent / f"{stem}.pt")
    return Parts(first.path.parent, stem, files, names)


def _check_ranks(first: WeightsFile, stem: str, size: int, ranks: list[int]) -> None:
    """Every number from 0 must be there once, as many as the shapes tell."""
    missing = [part_name(stem, rank) for rank in range(size) if rank not in ranks]
    extra = [part_name(stem, rank) for rank in ranks if rank >= size]
    if not missing and not extra:
        return
    if size == 1:
        told = f"{first.path} holds whole weights"
    else:
        told = f"{first.path} is one of {size} parts by its shapes"
    if missing:
        raise CheckpointError(
            f"{told}, and of these are missing beside it ({len(missing)}): {some(missing)}. Copy "
            "the rest of the parts there."
        )
    raise CheckpointError(
        f"{told}, and beside it are too many ({len(extra)}): {some(extra)}. They are not of one "
        "split; remove those that do not belong to it."
    )


def _difference(first: WeightsFile, names: Names, file: WeightsFile) -> str | None:
    """In what a part is unlike the first; None where it is like it."""
    missing = [named.flat for named in names.kept if named.flat not in file.entries]
    if missing:
        return f"lacks {len(missing)} tensors: {some(missing)}"
    known = {*names.dropped, *(named.flat for named in names.kept)}
    extra = [name for name in file.entries if name not in known and "_extra_state" not in name]
    if extra:
        return f"has {len(extra)} more tensors: {some(extra)}"
    for named in names.kept:
        one, other = first.entries[named.flat], file.entries[named.flat]
        if one != other:
            return f"{named.name} is {other}, and {one} there"
    one, other = (each.others.get(f"{RECORD}/iteration") for each in (first, file))
    return None if one == other else f"is of iteration {other}, and {one} there"


def _check_iteration(master: Path) -> None:
    """A master that tells another iteration than its name was renamed; a marker tells 0."""
    told, named = read_iteration(master), ITERATION.fullmatch(master.stem)
    if told and named and int(named[1]) != told:
        raise CheckpointError(
            f"{master} tells iteration {told}: it is not the master of these parts. Put the "
            "right one back, or remove it."
        )


@dataclass(frozen=True)
class Unlike:
    """A weight that every part holds whole, and that is not the same in all of them."""

    name: str
    distance: float  # largest difference from the first part, as a share of its largest value

    def __str__(self) -> str:
        """As messages say it."""
        return f"{self.name} (by up to {self.distance:.2g} of its largest value)"


def unlike_replicas(parts: Parts, wanted: Iterable[Named]) -> list[Unlike]:
    """Of the wanted weights, those that every part holds whole and whose copies differ.

    Where the files keep one and the same checksum of a weight (of two that differ, one pair
    in four thousand million does), its data is not read.
    """
    sums = [_checksums(file) for file in parts.files]
    found = []
    for named in wanted:
        told = {each.get(named.flat) for each in sums}
        if named.cut is None and (len(told) > 1 or None in told):
            unlike = _compare_replicas(parts, named)
            if unlike:
                found.append(unlike)
    return found


def _checksums(file: WeightsFile) -> dict[str, int | None]:
    """The checksum of every tensor that fills its record; None where the file keeps none."""
    return {
        name: placed.record.crc32 if placed.record.nbytes == placed.entry.nbytes else None
        for name, placed in flatten(file.tree, file.path).tensors.items()
        if isinstance(placed, PlacedTensor)
    }


def _compare_replicas(parts: Parts, named: Named) -> Unlike | None:
    """Compare a whole tensor of all parts with that of the first; None where all agree."""
    first = parts.files[0].read(named.flat, verify=False)
    distance: float | None = None
    for file in parts.files[1:]:
        copy = file.read(named.flat, verify=False)
        if not same_bits(first, copy):
            scale = first.float().abs().max().clamp_min(1e-38)
            far = ((first.float() - copy.float()).abs().max() / scale).item()
            distance = max(distance or 0.0, far)
        file.forget(named.flat)
    parts.files[0].forget(named.flat)
    return None if distance is None else Unlike(named.name, distance)

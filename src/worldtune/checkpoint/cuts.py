"""Which entries of a file are cut into tensor-parallel parts, and how.

The cuts are those of the network's plan, reached through the table of names; there is no
second list. A name that no family knows is an error: what is not understood is not cut.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from worldtune.checkpoint.bits import SideBySide
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.names import TABLES, Kind, NameTable
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.trees import AVERAGE, AVERAGE_WRAPPER, NETWORK
from worldtune.errors import CheckpointError
from worldtune.models.plan import PLAN, Cut

BASE = "base_model."  # before the names of the frozen base beside a control branch
TOLD = 6  # names in a message before the rest is counted


@dataclass(frozen=True)
class Named:
    """An entry of a file, understood.

    `flat` is its name for the reader, `name` the published one, with dots; `average` says
    that it lies among the averages; `module` is the network's name of a weight; `cut` is the
    dim that is divided among the parts, None where every part has it whole.
    """

    flat: str
    name: str
    average: bool
    kind: Kind
    module: str | None
    cut: Cut | None

    @property
    def in_part(self) -> str:
        """Its key in a part: a trainer keeps its averages with `-` for every dot."""
        return self.name.replace(".", "-") if self.average else self.name


@dataclass(frozen=True)
class Names:
    """All entries of a file, and those that hold nothing and are dropped."""

    table: NameTable
    kept: tuple[Named, ...]
    dropped: tuple[str, ...]


def read_names(file: WeightsFile) -> Names:
    """Understand every entry of a file.

    CheckpointError where a name is of no family that is known, or no weight is there.
    """
    has_average = AVERAGE_WRAPPER in file.wrappers
    read = [
        (table, [_named(flat, table, has_average) for flat in file.entries])
        for table in TABLES.values()
    ]
    best, every = max(read, key=lambda one: sum(n.kind is not Kind.UNKNOWN for n in one[1]))
    unknown = [named.flat for named in every if named.kind is Kind.UNKNOWN]
    if not any(named.kind is Kind.WEIGHT for named in every):
        raise CheckpointError(
            f"{file.path} holds no weights of a network that is known here "
            f"({some(file.entries) or 'it is empty'}). Give a file whose names begin with "
            f"{NETWORK!r}, such as base_model.pt, or a part of one."
        )
    if unknown:
        raise CheckpointError(
            f"{file.path} holds {len(unknown)} entries that are no part of a {best.family} "
            f"network: {some(unknown)}. What is not known cannot be cut or joined rightly; "
            "save the file without them."
        )
    kept = tuple(named for named in every if named.kind is not Kind.SKIPPED)
    left_over = [*(named.flat for named in every if named.kind is Kind.SKIPPED)]
    left_over += [name for name in file.others if best.kind(_bare(name)) is Kind.SKIPPED]
    return Names(best, kept, tuple(left_over))


def _named(flat: str, table: NameTable, has_average: bool) -> Named:
    name, average = flat, False
    if has_average and flat.startswith(AVERAGE):
        name, average = NETWORK + flat.removeprefix(AVERAGE), True
    elif has_average and flat.startswith(f"{AVERAGE_WRAPPER}/"):
        name, average = flat.removeprefix(f"{AVERAGE_WRAPPER}/"), True
    bare = _bare(name)
    module = table.to_module(bare)
    cut = PLAN.cut_of(module) if module else None
    return Named(flat, name, average, table.kind(bare), module, cut)


def _bare(name: str) -> str:
    """The name within its network."""
    name = name.removeprefix(BASE)
    return name.removeprefix(AVERAGE if name.startswith(AVERAGE) else NETWORK)


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    names = list(names)
    rest = f", and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + rest


def cut_entry(entry: TensorEntry, cut: Cut | None, size: int) -> TensorEntry:
    """The entry of one part of a tensor; it must divide."""
    return _scaled(entry, cut, lambda whole: whole // size)


def joined_entry(entry: TensorEntry, cut: Cut | None, size: int) -> TensorEntry:
    """The entry of a tensor, from that of one part."""
    return _scaled(entry, cut, lambda part: part * size)


def _scaled(entry: TensorEntry, cut: Cut | None, change: Callable[[int], int]) -> TensorEntry:
    if cut is None:
        return entry
    shape = list(entry.shape)
    shape[cut.value] = change(shape[cut.value])
    return TensorEntry(tuple(shape), entry.dtype)


def cut_tensor(whole: Tensor, cut: Cut | None, size: int) -> list[SideBySide]:
    """Views of a tensor, one for each part; where it is not cut, itself for all of them."""
    if cut is None:
        return [SideBySide((whole,))] * size
    return [SideBySide((piece,)) for piece in whole.chunk(size, dim=cut.value)]


def check_size(file: WeightsFile, names: Names, size: int) -> None:
    """Raise CheckpointError where a file cannot be cut into so many parts."""
    if size < 1:
        raise CheckpointError(f"A file cannot be split into {size} parts; give 1 or more.")
    heads = _head_dims(file.entries, names.kept)
    common = 0
    for named in _cut(names.kept):
        entry, cut = file.entries[named.flat], named.cut
        assert cut is not None
        unit = heads.get(_layer(named)[0], 1)
        rows = entry.shape[cut.value] if len(entry.shape) == 2 else 0
        if rows % unit or rows == 0:
            raise CheckpointError(
                f"{file.path} cannot be split: {named.name} is {entry}, and its dim "
                f"{cut.value} should be a whole number of heads of {unit}."
            )
        common = math.gcd(common, rows // unit)
    if common % size:
        sizes = [str(size) for size in range(1, common + 1) if common % size == 0]
        raise CheckpointError(
            f"{file.path} cannot be split into {size} parts: its attention heads and MLP "
            f"divide by {common} and its divisors. Sizes that go: {', '.join(sizes)}."
        )


def _cut(kept: Iterable[Named]) -> Iterator[Named]:
    return (named for named in kept if named.cut is not None)


def _layer(named: Named) -> tuple[str, str]:
    """Within its block, the part of the network and the layer that a weight belongs to."""
    assert named.module is not None
    _, _, part, layer, *_ = named.module.split(".")
    return part, layer


def _head_dims(entries: Mapping[str, TensorEntry], kept: Iterable[Named]) -> dict[str, int]:
    """Channels of a head in each part of a block that has heads, from its norms."""
    dims: dict[str, int] = {}
    for named in kept:
        words = (named.module or "").split(".")
        if words[0] == PLAN.block_list and ".".join(words[2:-1]) in PLAN.norms_of_heads:
            dims[words[2]] = entries[named.flat].shape[0]
    return dims


def parts_in_all(file: WeightsFile, names: Names) -> int:
    """Of how many parts a file is one; 1 where it is whole.

    Told by self attention, whose matrices are square when whole. CheckpointError where they
    contradict one another.
    """
    found: dict[int, str] = {}
    for named in _cut(names.kept):
        assert named.cut is not None
        part, layer = _layer(named)
        assert named.module is not None
        matrix = named.module.endswith((f"{layer}.weight", f"{layer}.base_layer.weight"))
        if part not in PLAN.token_mixers or not matrix:
            continue
        entry = file.entries[named.flat]
        rows, whole = entry.shape[named.cut.value], entry.shape[1 - named.cut.value]
        if rows == 0 or whole % rows:
            raise CheckpointError(f"{file.path} is no part of a network: {named.name} is {entry}.")
        found[whole // rows] = named.name
    if len(found) != 1:
        told = ", ".join(f"{name} of {size}" for size, name in sorted(found.items()))
        raise CheckpointError(
            f"{file.path} does not tell of how many parts it is one: "
            f"{told or 'it has no self attention'}. Give a file of one network, or a part."
        )
    return next(iter(found))

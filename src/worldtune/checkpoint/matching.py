"""Holding the names of a file against those of a network, before any data is read.

The answer is a report of what is read from where, or an error that tells, by name, what is
missing, extra or of another shape. What a format allows to be ignored is listed with its
reason; nothing else is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.mismatch import Mismatch, explain
from worldtune.checkpoint.names import Kind, NameTable
from worldtune.checkpoint.peft_names import from_peft
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.trees import AVERAGE, NETWORK
from worldtune.errors import CheckpointError
from worldtune.models.lora_config import is_adapter

Which = Literal["network", "average"]
Shape = tuple[int, ...]

PREFIX_OF: dict[Which, str] = {"network": NETWORK, "average": AVERAGE}

# What may lie beside the weights that are asked for.
NEIGHBOURS = {
    NETWORK: "the network, of which the average was asked for",
    AVERAGE: "the average, of which the network was asked for",
    "base_model.": "the frozen base beside a control branch",
}
REASONS = {
    Kind.REBUILT: "made anew from the sizes",
    Kind.BESIDE: "the objective's, not the network's",
    Kind.SKIPPED: "left by a kernel library, no weights",
}
NO_TENSOR = "no tensor"
LEFT_ADAPTERS = "adapters, which are read apart from their base"


@dataclass(frozen=True)
class LoadReport:
    """What a load reads and leaves: n of n tensors, never fewer.

    `expected` counts the network's tensors; `sources` maps each name in the network to its
    name in the file; `ignored` maps a reason to the file's names that it holds for.
    """

    path: Path
    which: Which
    prefix: str
    expected: int
    sources: Mapping[str, str]
    dtypes: Mapping[str, int]
    ignored: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """One line for the log."""
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in self.dtypes.items())
        line = (
            f"{len(self.sources)} of {self.expected} tensors from {self.path} "
            f"({self.which}, names {self.prefix or 'without prefix'}{'*' * bool(self.prefix)}; "
            f"{dtypes})"
        )
        for reason, names in self.ignored.items():
            line += f"; {len(names)} ignored: {reason}"
        return line


def match_names(
    wanted: Mapping[str, Shape],
    file: WeightsFile,
    table: NameTable,
    *,
    which: Which = "network",
    prefix: str | None = None,
    leave_adapters: bool = False,
) -> LoadReport:
    """Find every wanted tensor of a network in a file; `wanted` is name to shape.

    `which` chooses the network or its average; `prefix` overrides the one that goes with
    it. With leave_adapters, adapters in the file are no part of the network.

    CheckpointError where any tensor is missing, extra or of another shape.
    """
    if prefix is None:
        prefix = find_prefix(file, which)
    offered, extra, ignored = _sort_names(file, table, prefix)
    if leave_adapters:
        left = [offered.pop(module) for module in list(offered) if is_adapter(module)]
        ignored |= {LEFT_ADAPTERS: tuple(left)} if left else {}
    sources = {module: offered.pop(module) for module in wanted if module in offered}
    mismatch = Mismatch(
        file=file,
        table=table,
        prefix=prefix,
        wanted=wanted,
        missing=tuple(module for module in wanted if module not in sources),
        extra=(*extra, *offered.values()),
        reshaped={
            module: name
            for module, name in sources.items()
            if file.entries[name].shape != wanted[module]
        },
        fitting=len(sources),
    )
    if mismatch:
        raise CheckpointError(explain(mismatch))
    dtypes = _count(file.entries[name] for name in sources.values())
    return LoadReport(file.path, which, prefix, len(wanted), sources, dtypes, ignored)


def find_prefix(file: WeightsFile, which: Which) -> str:
    """What stands before the asked-for names in this file: `net.`, `net_ema.` or nothing.

    CheckpointError where the file holds the other of network and average only.
    """
    there: set[Which] = {role for role, prefix in PREFIX_OF.items() if _has(file, prefix)}
    if which in there:
        return PREFIX_OF[which]
    if not there and which == "network":
        return ""
    if not there:
        raise CheckpointError(
            f"{file.path} keeps no average apart (no name begins with {AVERAGE!r}). Ask for the "
            "network: a file made from an average holds it under the network's names."
        )
    other = there.pop()
    raise CheckpointError(
        f"{file.path} holds the {other} only (names {PREFIX_OF[other]}*), and the {which} was "
        f"asked for. Ask for the {other}, or give another file."
    )


def _has(file: WeightsFile, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in file.entries)


def _sort_names(
    file: WeightsFile, table: NameTable, prefix: str
) -> tuple[dict[str, str], list[str], dict[str, tuple[str, ...]]]:
    """Weights by the network's names, names nobody knows, and what is ignored and why."""
    offered: dict[str, str] = {}
    extra: list[str] = []
    ignored: dict[str, list[str]] = {}
    for name in file.entries:
        reason = _reason_to_ignore(name, table, prefix)
        module = table.to_module(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if reason:
            ignored.setdefault(reason, []).append(name)
        elif module is None or from_peft(module) in offered:
            extra.append(name)
        else:
            offered[from_peft(module)] = name
    for name in file.others:
        kind = table.kind(name.removeprefix(prefix))
        reason = REASONS[Kind.SKIPPED] if kind is Kind.SKIPPED else NO_TENSOR
        ignored.setdefault(reason, []).append(name)
    return offered, extra, {reason: tuple(names) for reason, names in ignored.items()}


def _reason_to_ignore(name: str, table: NameTable, prefix: str) -> str | None:
    if prefix and not name.startswith(prefix):
        for neighbour, reason in NEIGHBOURS.items():
            if name.startswith(neighbour):
                return reason
        # Without the prefix only what lies beside the network is known.
        kind = table.kind(name)
        return REASONS[kind] if kind in (Kind.BESIDE, Kind.SKIPPED) else None
    return REASONS.get(table.kind(name.removeprefix(prefix)))


def _count(entries: Iterable[TensorEntry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.dtype] = counts.get(entry.dtype, 0) + 1
    return counts

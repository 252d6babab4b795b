"""Saying why a file does not fit a network, and what was probably meant."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worldtune.checkpoint.names import TABLES, Kind, NameTable
from worldtune.checkpoint.reader import WeightsFile

TOLD = 6  # names of a kind before the rest is counted
BLOCK = re.compile(r"(?:^|\.)(?:transformer_)?blocks\.(?:block)?(\d+)\.")


@dataclass(frozen=True)
class Mismatch:
    """Everything in which a file and a network differ; false where nothing does.

    `missing` and the keys of `reshaped` are names in the network, all others in the file.
    """

    file: WeightsFile
    table: NameTable
    prefix: str
    wanted: Mapping[str, tuple[int, ...]]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    reshaped: Mapping[str, str]
    fitting: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.extra or self.reshaped)

    def in_file(self, module: str) -> str:
        """The name that a tensor of the network should have in the file."""
        return self.prefix + (self.table.to_file(module) or module)


def explain(found: Mismatch) -> str:
    """The message: how many fit, what differs by name, and the likely cause."""
    lines = [
        f"{found.file.path} does not fit the network: "
        f"{found.fitting - len(found.reshaped)} of {len(found.wanted)} tensors fit."
    ]
    if found.missing:
        names = [found.in_file(module) for module in found.missing]
        lines.append(f"missing in the file ({len(names)}): {_some(names)}")
    if found.extra:
        lines.append(f"extra in the file ({len(found.extra)}): {_some(found.extra)}")
    if found.reshaped:
        shapes = [_shapes(found, module) for module in found.reshaped]
        lines.append(f"of another shape ({len(shapes)}): {_some(shapes)}")
    return "\n  ".join([*lines, *_causes(found)])


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = f", and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + rest


def _shapes(found: Mismatch, module: str) -> str:
    name = found.reshaped[module]
    shape = list(found.file.entries[name].shape)
    return f"{name} is {shape} in the file and {list(found.wanted[module])} in the network"


def _causes(found: Mismatch) -> list[str]:
    """Likely causes, most certain first; at most one about the names as a whole."""
    about_names = (
        _other_prefix(found) or _diffusers(found) or _other_family(found) or _near_names(found)
    )
    return [cause for cause in (about_names, _adapters(found), _blocks(found)) if cause]


def _other_prefix(found: Mismatch) -> str | None:
    """All names stand behind one more prefix, such as `module.`."""
    names = [name for name in found.extra if "." in name]
    first = names[0] if names else ""
    for cut in (match.end() for match in re.finditer(r"\.", first)):
        lead = first[:cut]
        behind = [name.removeprefix(lead) for name in names if name.startswith(lead)]
        known = sum(_known(found.table, name) for name in behind)
        if len(behind) == len(found.extra) and known > len(behind) // 2:
            return (
                f"All {len(names)} names start with {lead!r}, and the network's follow it. Save "
                f"the file again without {lead!r}."
            )
    return None


def _known(table: NameTable, name: str) -> bool:
    for prefix in ("net.", "net_ema."):
        name = name.removeprefix(prefix)
    return table.kind(name) is not Kind.UNKNOWN


def _diffusers(found: Mismatch) -> str | None:
    if any(name.startswith("transformer_blocks.") for name in found.extra):
        return (
            "Its names are those of the diffusers library. Give the native file of the same "
            "model, whose names begin with 'net.'."
        )
    return None


def _other_family(found: Mismatch) -> str | None:
    bare = [name.removeprefix(found.prefix) for name in found.extra]
    for family, table in TABLES.items():
        known = sum(table.kind(name) is Kind.WEIGHT for name in bare)
        if table is not found.table and bare and known > len(bare) // 2:
            return (
                f"Its names are those of {family}, and the network is of "
                f"{found.table.family}. Give a file of {found.table.family}."
            )
    return None


def _near_names(found: Mismatch) -> str | None:
    near = []
    for module in found.missing[:TOLD]:
        name = found.in_file(module)
        like = difflib.get_close_matches(name, found.extra, n=1, cutoff=0.8)
        if like:
            near.append(f"{like[0]} (for {name})")
    return f"Near in the file: {', '.join(near)}." if near else None


def _adapters(found: Mismatch) -> str | None:
    if any(".lora_A." in name for name in found.extra):
        ranks = {found.file.entries[name].shape[0] for name in found.extra if ".lora_A." in name}
        return (
            f"The file holds adapters (rank {', '.join(map(str, sorted(ranks)))}) beside their "
            "base. To use them, take them out with `worldtune lora export FILE --to worldtune` "
            "and give them with --lora; to have whole weights, merge them with `worldtune lora "
            "merge`."
        )
    if any(".lora_A." in name for name in found.missing):
        return "The network has adapters that the file has not: it is not a file of this LoRA run."
    return None


def _blocks(found: Mismatch) -> str | None:
    """A network of another size, told by its count of blocks."""
    theirs = _count_blocks(name for name in found.file.entries if name.startswith(found.prefix))
    ours = _count_blocks(found.wanted)
    if theirs and theirs != ours:
        return f"The file's network has {theirs} blocks, this one {ours}: another size."
    return None


def _count_blocks(names: Iterable[str]) -> int:
    numbers = {int(match[1]) for match in map(BLOCK.search, names) if match}
    return len(numbers)

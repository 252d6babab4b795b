"""What a file or folder is, in words and as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldtune.checkpoint.disk import gib

TOLD = 5  # names before the rest is counted


@dataclass(frozen=True)
class NetworkDescription:
    """One network in a file: what it is, and whether all of it is there."""

    role: str  # network, average, frozen base
    family: str  # predict2, transfer1
    title: str
    parameters: int  # of the whole network
    tensors: int
    expected: int
    dtypes: Mapping[str, int]
    sizes: Mapping[str, int]
    parts: int = 1
    adapter_rank: tuple[int, ...] = ()
    adapter_targets: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of such a network is there, and no other."""
        return not (self.missing or self.extra or self.reshaped)

    def lines(self) -> list[str]:
        """A few lines for people."""
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in self.dtypes.items())
        sizes = ", ".join(f"{name} {value}" for name, value in self.sizes.items())
        whole = "complete" if self.complete else "not complete"
        lines = [
            f"{self.role}: {self.title}, {self.parameters:,} parameters",
            f"  {sizes}",
            f"  {self.tensors} of {self.expected} tensors, {whole}; {dtypes}",
        ]
        if self.parts > 1:
            lines.append(f"  one of {self.parts} tensor-parallel parts")
        if self.adapter_rank:
            rank = " and ".join(map(str, self.adapter_rank))
            targets = ",".join(self.adapter_targets)
            lines.append(f"  adapter: rank {rank} on {targets}; its alpha is not in the file")
        for what, names in (
            ("missing", self.missing),
            ("extra", self.extra),
            ("of another shape", self.reshaped),
        ):
            if names:
                more = f", and {len(names) - TOLD} more" if len(names) > TOLD else ""
                lines.append(f"  {what} ({len(names)}): {', '.join(names[:TOLD])}{more}")
        return lines


@dataclass(frozen=True)
class Description:
    """What lies at a path; `kind` is one of the words that docs/files.md explains."""

    path: Path
    kind: str
    nbytes: int
    container: str | None = None
    iteration: int | None = None
    part: tuple[int, int] | None = None  # number and count of tensor-parallel parts
    networks: tuple[NetworkDescription, ...] = ()
    adapter: Mapping[str, Any] | None = None  # what a file of adapters alone says of itself
    beside: Mapping[str, int] = field(default_factory=dict)  # entries that are no network's
    notes: tuple[str, ...] = ()
    inside: tuple["Description", ...] = ()

    def lines(self) -> list[str]:
        """What `worldtune inspect` prints."""
        lines = [f"{self.path}: {self.kind}"]
        told = [self.container, gib(self.nbytes)]
        if self.iteration is not None:
            told.append(f"iteration {self.iteration}")
        if self.part is not None:
            told.append(f"part {self.part[0]} of {self.part[1]}")
        lines.append("  " + ", ".join(word for word in told if word))
        for network in self.networks:
            lines += [f"  {line}" for line in network.lines()]
        lines += [f"  beside: {count} {what}" for what, count in self.beside.items()]
        lines += [f"  {note}" for note in self.notes]
        for part in self.inside:
            lines += [f"  {line}" for line in part.lines()]
        return lines

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        data = asdict(self)
        data["path"] = str(self.path)
        data["inside"] = [part.to_json() for part in self.inside]
        for row, network in zip(data["networks"], self.networks, strict=True):
            row["complete"] = network.complete
        return data

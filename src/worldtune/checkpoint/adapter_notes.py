"""What an adapter's file says beside its weights: enough to use it with nothing typed again.

The notes stand in the safetensors header, so they are read without the data and without
torch. docs/lora.md describes them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldtune.checkpoint.base import Base
from worldtune.checkpoint.matching import Which
from worldtune.errors import CheckpointError
from worldtune.models.lora_config import LoraConfig

MARK = "worldtune_adapter"
VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class AdapterNotes:
    """Rank, alpha and targets, what it was made from, and the recipe of the run that made it."""

    config: LoraConfig
    family: str
    which: Which = "network"  # the adapters themselves, or their average
    iteration: int | None = None
    base: Base | None = None
    recipe: Mapping[str, Any] | None = None
    # Tokenizer and text encoder of the run, each {name, fingerprint}, as a state records them.
    pieces: Mapping[str, Any] | None = None

    def to_header(self) -> dict[str, str]:
        """As the file's header keeps it: text by text."""
        header = {
            "format": "pt",
            MARK: VERSION,
            "lora": json.dumps(self.config.to_json()),
            "family": self.family,
            "which": self.which,
        }
        if self.iteration is not None:
            header["iteration"] = str(self.iteration)
        if self.base is not None:
            header["base"] = json.dumps(self.base.to_json())
        for name, tree in (("recipe", self.recipe), ("pieces", self.pieces)):
            if tree is not None:
                header[name] = json.dumps(tree)
        return header

    def lines(self) -> list[str]:
        """For people."""
        config, base = self.config, self.base
        lines = [
            f"{config.kind}, rank {config.rank}, alpha {config.alpha:g}, on "
            f"{','.join(config.targets)}",
            f"for {self.family}; "
            + ("the average" if self.which == "average" else "the adapters themselves")
            + (f", iteration {self.iteration}" if self.iteration is not None else ""),
        ]
        lines.append(
            f"base: {base} (fingerprint {base.fingerprint})"
            if base is not None
            else "base: not told"
        )
        if self.recipe is not None:
            lines.append(f"recipe: {_job(self.recipe)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **self.config.to_json(),
            "kind": self.config.kind,
            "family": self.family,
            "which": self.which,
            "iteration": self.iteration,
            "base": self.base.to_json() if self.base is not None else None,
        }


def _job(recipe: Mapping[str, Any]) -> str:
    job = recipe.get("job", {})
    return "/".join(str(job.get(part, "?")) for part in ("project", "group", "name"))


def is_own(header: Mapping[str, str]) -> bool:
    """Whether a safetensors header is that of an adapter's file written here."""
    return MARK in header


def read_notes(header: Mapping[str, str], path: Path) -> AdapterNotes:
    """Read a header. Raises CheckpointError where it is of a later version or damaged."""
    if header.get(MARK) != VERSION:
        raise CheckpointError(
            f"{path} is an adapter's file of version {header.get(MARK)!r}; this program reads "
            f"{VERSION}. Read it with the program that wrote it or a later one."
        )
    try:
        base, recipe, pieces = (header.get(name) for name in ("base", "recipe", "pieces"))
        return AdapterNotes(
            config=LoraConfig.from_json(json.loads(header["lora"])),
            family=header["family"],
            which="average" if header["which"] == "average" else "network",
            iteration=int(header["iteration"]) if "iteration" in header else None,
            base=Base.from_json(json.loads(base)) if base is not None else None,
            recipe=json.loads(recipe) if recipe is not None else None,
            pieces=json.loads(pieces) if pieces is not None else None,
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise CheckpointError(
            f"{path} is damaged: its notes cannot be read ({type(fault).__name__}: {fault}). "
            "Fetch or copy the file again."
        ) from fault

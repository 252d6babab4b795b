"""What low-rank adapters are, and which layers get one: names and numbers, without torch.

An adapter knows the names of layers and nothing of networks, so a base, a control branch
or a part of either is adapted by the same code.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import sqrt
from typing import Any

from worldtune.config.mistakes import listed_words
from worldtune.errors import RecipeError

# Modules inside an adapted layer; what follows the layer's name in the name of a weight.
DOWN, UP, MAGNITUDE = "lora_A", "lora_B", "lora_magnitude_vector"
_ADAPTER = re.compile(rf"(?P<layer>.+)\.(?P<part>{DOWN}|{UP}|{MAGNITUDE})\.weight")
TARGETS_KEY = "model.config.lora_target_modules"


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Adapters of one rank: y = W x + scale B A x, with A [rank, inputs], B [outputs, rank].

    `targets` are ends of layers' names. With `rslora` the scale is alpha / sqrt(rank), else
    alpha / rank. With `dora` the rows of W + scale B A are given lengths that are trained.

    Sources: Hu et al. 2021 (LoRA), Kalajdzievski 2023 (rsLoRA), Liu et al. 2024 (DoRA).
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    rslora: bool = False
    dora: bool = False

    @property
    def scale(self) -> float:
        """The factor on B A."""
        return self.alpha / (sqrt(self.rank) if self.rslora else self.rank)

    @property
    def kind(self) -> str:
        """The method's name."""
        return ("rs" if self.rslora else "") + ("DoRA" if self.dora else "LoRA")

    def to_json(self) -> dict[str, Any]:
        """As a file keeps it."""
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "targets": list(self.targets),
            "rslora": self.rslora,
            "dora": self.dora,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "LoraConfig":
        """From what `to_json` gives; KeyError, TypeError or ValueError where it is not that."""
        return cls(
            rank=int(told["rank"]),
            alpha=float(told["alpha"]),
            targets=tuple(map(str, told["targets"])),
            rslora=bool(told["rslora"]),
            dora=bool(told["dora"]),
        )


def read_targets(written: str) -> tuple[str, ...]:
    """Targets as a recipe writes them: joined by commas."""
    return tuple(target.strip() for target in written.split(",") if target.strip())


def split_name(name: str) -> tuple[str, str] | None:
    """Layer and part (`lora_A`, ...) of an adapter's weight; None for any other weight."""
    match = _ADAPTER.fullmatch(name)
    return (match["layer"], match["part"]) if match else None


def part_of(name: str) -> str | None:
    """Which matrix of an adapter a weight is; None for any other weight."""
    found = split_name(name)
    return found[1] if found else None


def is_adapter(name: str) -> bool:
    """Whether a weight of this name belongs to an adapter."""
    return split_name(name) is not None


def match_targets(layers: Iterable[str], targets: Iterable[str]) -> tuple[str, ...]:
    """The linear layers, of those named, whose names end in a target, in their own order.

    An end begins at a dot: `proj` is no end of `q_proj`. Raises RecipeError where a target is
    the end of none, with the nearest ends that there are; all are told at once.
    """
    layers, targets = list(layers), list(targets)
    chosen = [name for name in layers if any(_ends(name, target) for target in targets)]
    unknown = [t for t in targets if not any(_ends(name, t) for name in layers)]
    if unknown:
        raise RecipeError("\n".join(_unknown(target, layers) for target in unknown))
    return tuple(chosen)


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _unknown(target: str, layers: list[str]) -> str:
    """What is wrong with a target, and what was probably meant."""
    ends = list(dict.fromkeys(end for name in layers for end in _ends_of(name)))
    text = f"{TARGETS_KEY} names {target!r}, and no linear layer's name ends in it"
    inside = [end for end in ends if f".{target}." in f".{end}"]
    if inside:
        return f"{text}; below it are {', '.join(inside[:6])}"
    alike = [end for end in ends if end.count(".") == target.count(".")] or ends
    near = get_close_matches(target, alike, n=4, cutoff=0.6)
    if near:
        return f"{text}; did you mean {listed_words(near)}?"
    short = [end for end in ends if "." not in end]
    return f"{text}; expected ends such as {', '.join(short[:10])}"


def _ends_of(name: str) -> list[str]:
    """The ends of a layer's name that hold no number of a block."""
    words = name.split(".")
    ends = [".".join(words[at:]) for at in range(len(words))]
    return [end for end in ends if not re.search(r"(^|\.)\d+\.", end) and not end.isdigit()]

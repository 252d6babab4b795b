"""Names that peft gives the weights of an adapted network, against the network's own.

peft puts a layer X inside another one. So `X.weight` is `X.base_layer.weight` in its files,
and the adapter's matrices carry the adapter's name, `default`. Here X keeps its name. The
publishers' LoRA files have peft's names; this is the one place that knows them.
"""

from collections.abc import Collection, Mapping
from typing import TypeVar

from worldtune.models.lora_config import DOWN, MAGNITUDE, UP

NAME = "default"
BASE_LAYER = "base_layer"
Value = TypeVar("Value")


def from_peft(name: str) -> str:
    """A weight's name in the network, from any that peft gives it; others stay as they are."""
    words = name.split(".")
    if len(words) >= 3 and words[-2] == BASE_LAYER:
        return ".".join([*words[:-2], words[-1]])
    if len(words) >= 3 and words[-2:] == [NAME, "weight"] and words[-3] in (DOWN, UP, MAGNITUDE):
        return ".".join([*words[:-2], words[-1]])
    return name


def to_peft(name: str, layers: Collection[str]) -> str:
    """peft's name for a weight of a network with adapters on the given layers."""
    *above, leaf = name.split(".")
    if ".".join(above) in layers:
        return ".".join([*above, BASE_LAYER, leaf])
    if above and above[-1] in (DOWN, UP, MAGNITUDE) and ".".join(above[:-1]) in layers:
        return ".".join([*above, NAME, leaf])
    return name


def named_for_peft(weights: Mapping[str, Value], layers: Collection[str]) -> dict[str, Value]:
    """The same weights under peft's names."""
    return {to_peft(name, layers): weight for name, weight in weights.items()}

"""Checks of a transformer's sizes that all families share."""

from collections.abc import Iterator

from worldtune.config.mistakes import Mistake
from worldtune.config.network import TransformerSettings

# Rotary positions need an even head, with some of it for each of the three axes.
SMALLEST_HEAD = 12


def check_heads(net: TransformerSettings, key: str) -> Iterator[Mistake]:
    """The width divides into heads that rotary positions fit."""
    keys = (f"{key}.model_channels", f"{key}.num_heads")
    if net.model_channels % net.num_heads:
        text = (
            f"{keys[0]} is {net.model_channels}; expected a multiple of {keys[1]}={net.num_heads}"
        )
        yield Mistake(text, keys)
        return
    width = net.model_channels // net.num_heads
    if width % 2 or width < SMALLEST_HEAD:
        text = (
            f"{keys[0]} / num_heads is {width}; expected an even number of {SMALLEST_HEAD} or more"
        )
        yield Mistake(text, keys)


def check_modulation(net: TransformerSettings, key: str) -> Iterator[Mistake]:
    """The modulation is the one that published weights have."""
    if not net.use_adaln_lora:
        name = f"{key}.use_adaln_lora"
        text = f"{name} is false; expected true: the network has no other modulation"
        yield Mistake(text, (name,))


def check_side(
    side: int, limit: int, step: int, key: str, place: int | None = None
) -> Iterator[Mistake]:
    """One side of a clip in pixels is whole tokens, and no more than there are positions for."""
    name = key if place is None else f"{key}[{place}]"
    if side < step or side % step:
        near = max(step, round(side / step) * step)
        yield Mistake(f"{name} is {side}; expected a multiple of {step}, like {near}", (key,))
    elif side > limit:
        yield Mistake(f"{name} is {side}; expected {limit} or less", (key,))

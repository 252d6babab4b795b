"""Fresh weights, drawn as each family's authors drew them.

Every tensor is drawn whole, from a generator of its own that is seeded by the run's seed
and the tensor's name. So the numbers depend neither on the order of the modules, nor on
how the network is cut over processes.
"""

import hashlib
import re
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from worldtune.models.config import Family

Draw = Callable[[tuple[int, ...], Generator], Tensor]


def truncated_normal(deviation: float | None = None) -> Draw:
    """Normal, cut off at three deviations; None takes 1 / sqrt(width of the input)."""

    def draw(shape: tuple[int, ...], generator: Generator) -> Tensor:
        s = shape[-1] ** -0.5 if deviation is None else deviation
        return nn.init.trunc_normal_(torch.empty(shape), 0.0, s, -3 * s, 3 * s, generator)

    return draw


def normal(deviation: float) -> Draw:
    """Normal of mean 0."""
    return lambda shape, generator: torch.randn(shape, generator=generator) * deviation


def xavier(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform within sqrt(6 / (inputs + outputs))."""
    return nn.init.xavier_uniform_(torch.empty(shape), generator=generator)


def zeros(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """All 0."""
    return torch.zeros(shape)


def ones(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """All 1."""
    return torch.ones(shape)


# The first pattern found in a name decides. A fresh control branch adds nothing, because
# its last layers are 0.
_ALWAYS: tuple[tuple[str, Draw], ...] = (
    (r"^zero_blocks\.", zeros),
    (r"^input_hint_block\.14\.", zeros),
    (r"norm\.weight$", ones),
    (r"\.bias$", zeros),
    (r"^blocks\.\d+\.adaln_modulation_\w+\.2\.weight$", zeros),
    (r"^extra_pos_embedder\.", truncated_normal(0.02)),
    (r"^view_embeddings\.", normal(1.0)),
)
RULES: dict[Family, tuple[tuple[str, Draw], ...]] = {
    "predict2": (
        *_ALWAYS,
        (r"^final_layer\.adaln_modulation\.2\.weight$", zeros),
        (r"\.weight$", truncated_normal()),
    ),
    "transfer1": (
        *_ALWAYS,
        (r"^t_embedder\.", normal(0.02)),
        (r"\.weight$", xavier),
    ),
}


def fresh_weight(name: str, shape: tuple[int, ...], family: Family, seed: int) -> Tensor:
    """The float32 values, on the CPU, that the weight of this name starts with."""
    draw = next(draw for pattern, draw in RULES[family] if re.search(pattern, name))
    return draw(shape, named_generator(seed, name))


def named_generator(seed: int, name: str) -> Generator:
    """The generator, on the CPU, that one weight is drawn from."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return Generator().manual_seed(int.from_bytes(digest, "big"))


@torch.no_grad()
def initialise(model: nn.Module, family: Family, seed: int) -> None:
    """Draw all weights of a network anew, in place."""
    for name, weight in model.named_parameters():
        weight.copy_(fresh_weight(name, tuple(weight.shape), family, seed))

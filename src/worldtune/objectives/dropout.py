"""Conditions that are taken away from some samples while training."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from worldtune.errors import RecipeError
from worldtune.objectives import randomness


def draw_dropped(
    seed: int, purpose: randomness.Purpose, indices: Tensor | Sequence[int], rate: float
) -> Bool[Tensor, "b"]:
    """Say for each clip whether it loses the condition; rate is the probability, 0 to 1."""
    if not 0 <= rate <= 1:
        raise RecipeError(f"a dropout rate of {rate} is not a probability; expected 0 to 1")
    return randomness.uniform(seed, purpose, indices) < rate


def drop_text(text: Float[Tensor, "b n d"], dropped: Bool[Tensor, "b"]) -> Float[Tensor, "b n d"]:
    """Put zeros in the place of the whole text of dropped samples, all captions together.

    Text that is kept is not scaled up. The network learns what it does without a caption.

    Source: Ho and Salimans 2022 (arXiv 2207.12598), with zeros as the empty condition.
    """
    return torch.where(dropped[:, None, None], 0.0, text)

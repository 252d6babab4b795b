"""Sampling: from noise to clean latents along falling noise levels.

A solver asks a function for the clean latents x0 behind a noisy state, and moves the state to
the next level. All work in the logarithm of the noise level and treat x0 as constant (first
order) or as linear (second order) between two levels, in float64.

Source: Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095), data prediction; levels of Karras et
al. 2022 (arXiv 2206.00364), equation 5.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.errors import RecipeError

Solver = Literal["2ab", "1euler", "2mid"]

# Predicts clean latents from a state and its noise level.
Predict = Callable[[Tensor, float], Tensor]

_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class SolverStep:
    """What a solver tells of one of its steps, for progress and for tests."""

    number: int  # from 0
    total: int
    sigma: float  # of the state that x0 was predicted from
    x0: Tensor
    state: Tensor  # after the step


def noise_levels(
    steps: int,
    *,
    sigma_max: float = 80.0,
    sigma_min: float = 0.002,
    order: float = 7.0,
    solver: Solver = "2ab",
) -> tuple[float, ...]:
    """Return the falling noise levels of a run of that many network steps.

    From sigma_max to sigma_min, both included, evenly spaced in the root of the given order:
    steps + 1 levels, or steps / 2 + 1 for "2mid", whose steps are two each.
    """
    if steps < 1:
        raise RecipeError(f"{steps} sampling steps are too few; expected 1 or more")
    if not 0 < sigma_min < sigma_max:
        raise RecipeError(
            f"noise levels cannot fall from {sigma_max} to {sigma_min}; expected the largest "
            "above the smallest, and both above 0"
        )
    if solver == "2mid":
        if steps % 2:
            near = f"{steps + 1}" if steps == 1 else f"{steps - 1} or {steps + 1}"
            raise RecipeError(
                f"solver '2mid' takes its steps in pairs; use {near} instead of {steps}"
            )
        steps //= 2
    high, low = sigma_max ** (1 / order), sigma_min ** (1 / order)
    return tuple((high + i / steps * (low - high)) ** order for i in range(steps + 1))


def start_noise(seed: int, shape: Sequence[int], sigma_max: float) -> Float[Tensor, "b c t h w"]:
    """Return the state that sampling starts from: noise of deviation sigma_max, float32.

    It comes from NumPy's RandomState(seed), so a published seed gives the published video.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise RecipeError(f"seed {seed} is out of range; expected 0 to {_LARGEST_SEED}")
    noise = np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
    return torch.from_numpy(noise) * sigma_max


def guided(conditional: Predict, unconditional: Predict, guidance: float) -> Predict:
    """Return x0 = conditional + guidance * (conditional - unconditional).

    0 asks the network once and does not guide; the more common scale is guidance + 1.

    Source: Ho and Salimans 2022 (arXiv 2207.12598).
    """
    if guidance == 0:
        return conditional

    def predict(state: Tensor, sigma: float) -> Tensor:
        x0 = conditional(state, sigma)
        return x0 + guidance * (x0 - unconditional(state, sigma))

    return predict


def unconditional_text(
    text: Float[Tensor, "b n d"], negative: Float[Tensor, "b n d"] | None
) -> Float[Tensor, "b n d"]:
    """Return what the text is guided away from: the negative prompt's embedding, or none at all.

    Without a negative prompt it is zeros, the empty text that training shows when it drops a
    caption. It is never the text itself, which would turn guidance off without a word.
    """
    return torch.zeros_like(text) if negative is None else negative


@torch.no_grad()
def sample(
    predict: Predict,
    start: Float[Tensor, "b c t h w"],
    levels: Sequence[float],
    *,
    solver: Solver = "2ab",
    state_dtype: torch.dtype = torch.float32,
    on_step: Callable[[SolverStep], None] | None = None,
) -> Float[Tensor, "b c t h w"]:
    """Follow the levels from `start` and return the clean latents, float32.

    start has deviation levels[0]. predict gets the state, of state_dtype, and the level. After
    the last step the clean latents are predicted once more, at the last level, and are the
    result: N steps ask N + 1 times. on_step is called after every step.

    "2ab" is of second order and uses the prediction before (its first step is "1euler");
    "1euler" is of first order; "2mid" is of second order with two predictions a step.
    """
    state = start.to(state_dtype)
    previous: tuple[float, Tensor] | None = None
    for number, (sigma, following) in enumerate(pairwise(levels)):
        x0 = predict(state, sigma).double()
        if solver == "2mid":
            middle = math.sqrt(sigma * following)
            halfway = _first_order(state, x0, sigma, middle).to(state_dtype)
            second = (middle, predict(halfway, middle).double())
        else:
            second = previous if solver == "2ab" else None
        moved = _move(state, x0, sigma, following, second)
        previous = (sigma, x0)
        state = moved.to(state_dtype)
        if on_step is not None:
            on_step(SolverStep(number, len(levels) - 1, sigma, x0, state))
    return predict(state, levels[-1]).float()


def _move(
    state: Tensor,
    x0: Tensor,
    sigma: float,
    following: float,
    second: tuple[float, Tensor] | None,
) -> Tensor:
    """Take a step from sigma to `following`, with x0 linear through a second prediction.

    second holds another level and the prediction there; without it x0 is constant.
    """
    if second is None:
        return _first_order(state, x0, sigma, following)
    other_sigma, other_x0 = second
    h = math.log(sigma) - math.log(following)
    # The other level's place on the step, as a share: below 0 before it, 1/2 at its middle.
    c = (math.log(sigma) - math.log(other_sigma)) / h
    phi_1 = -math.expm1(-h) / h
    phi_2 = (1 - phi_1) / h
    b_2 = phi_2 / c
    b_1 = phi_1 - b_2
    return math.exp(-h) * state.double() + h * (b_1 * x0 + b_2 * other_x0)


def _first_order(state: Tensor, x0: Tensor, sigma: float, following: float) -> Tensor:
    ratio = following / sigma
    return (1 - ratio) * x0 + ratio * state.double()

"""The power-function average of the weights over training.

Source: Karras et al. 2024 (arXiv 2312.02696), section 3.1 and appendix C.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from worldtune.errors import RecipeError

# Weights that are not float32 are converted this many numbers at a time: 64 MiB of copies.
_CHUNK = 1 << 24


def power_exponent(rate: float) -> float:
    """Return the exponent of an average whose profile has the relative deviation `rate`.

    rate is the width of the window as a share of the run so far, above 0 and below 0.28: 0.1
    gives 6.937. The exponent is the largest real root of
    z**3 + 7 z**2 + (16 - rate**-2) z + (12 - rate**-2).
    """
    if not 0 < rate < 0.28:
        raise RecipeError(
            f"model.config.ema.rate is {rate}; expected a share of the run between 0 and 0.28"
        )
    roots = np.roots([1.0, 7.0, 16.0 - rate**-2, 12.0 - rate**-2])
    return float(roots.real.max())


def beta(iteration: int, exponent: float, shift: int = 0) -> float:
    """Return the share of the old average at an iteration counted from 0.

    It is 0 at the first, so that the average starts as a copy of the weights, and grows towards
    1. shift makes a run count as if it had begun that many iterations earlier.
    """
    shifted = iteration + shift
    if shifted < 1:
        return 0.0
    return (1 - 1 / (shifted + 1)) ** (exponent + 1)


@torch.no_grad()
def update_average(averages: Sequence[Tensor], weights: Sequence[Tensor], beta: float) -> None:
    """Move float32 averages towards the weights in place: beta * average + (1 - beta) * weight.

    weights may be of a lower precision; the arithmetic is float32. beta 0 copies.
    """
    assert len(averages) == len(weights)
    if beta == 0:
        for average, weight in zip(averages, weights, strict=True):
            average.copy_(weight)
        return
    for some_averages, some_weights in _chunks(averages, weights):
        as_float = [weight.to(torch.float32) for weight in some_weights]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            some_averages, as_float, 1 - beta
        )


def _chunks(
    averages: Sequence[Tensor], weights: Sequence[Tensor]
) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Cut two lists into parts of at most _CHUNK numbers, or one tensor."""
    part: tuple[list[Tensor], list[Tensor]] = ([], [])
    size = 0
    for average, weight in zip(averages, weights, strict=True):
        if part[0] and size + weight.numel() > _CHUNK:
            yield part
            part, size = ([], []), 0
        part[0].append(average)
        part[1].append(weight)
        size += weight.numel()
    if part[0]:
        yield part

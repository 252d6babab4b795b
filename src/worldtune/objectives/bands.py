"""Fixed noise for validation: the same levels and the same noise every time.

A validation loss at random levels jumps more from draw to draw than training moves it. Here
each clip is seen at one level in each of four bands, which hold a quarter of the training
distribution each, so that the mean over bands estimates the training loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.objectives import randomness
from worldtune.objectives.noise_levels import NoiseLevels

Band = Literal["lowest", "low", "high", "highest"]
BANDS: tuple[Band, ...] = get_args(Band)


@dataclass(frozen=True)
class FixedNoise:
    """The noise level and the noise of each clip in one band; float32, CPU."""

    sigma: Float[Tensor, "b"]
    noise: Float[Tensor, "b ..."]


def band_sigma(band: Band, levels: NoiseLevels) -> float:
    """Return the level that stands for a band: the middle of its quarter of the distribution.

    The rare high levels of training are left out.
    """
    quantile = (BANDS.index(band) + 0.5) / len(BANDS)
    u = torch.tensor(quantile, dtype=torch.float64)
    return levels.at(u, torch.ones(()), torch.zeros(())).item()


def fixed_noise(
    band: Band,
    levels: NoiseLevels,
    seed: int,
    indices: Tensor | Sequence[int],
    shape: Sequence[int],
) -> FixedNoise:
    """Return level and noise of validation clips, a function of seed, band and clip.

    indices are the clips' places in the validation set; shape is one clip's latents.
    """
    places = [int(index) * len(BANDS) + BANDS.index(band) for index in indices]
    noise = randomness.normal(seed, "validation_noise", places, shape)
    return FixedNoise(torch.full((len(places),), band_sigma(band, levels)), noise)

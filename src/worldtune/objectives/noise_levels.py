"""Which noise levels a run trains on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.objectives import randomness

# The range of the replacement for high noise levels, uniform in the logarithm.
HIGH_LOWEST = 200.0
HIGH_HIGHEST = 100_000.0

# Below every number that a float64 uniform can take, but for 0 itself.
_SMALLEST_UNIFORM = 2.0**-54


def video_factor(num_latents: int) -> float:
    """Return sqrt(num_latents): how much more noise a clip of that many latent frames takes.

    Neighbouring frames repeat each other, so the same noise hides less of a longer clip. With
    several cameras num_latents is that of one view.
    """
    return math.sqrt(num_latents)


@dataclass(frozen=True)
class NoiseLevels:
    """The distribution of sigma: log-normal, scaled, and now and then very high.

    ln(sigma / factor) is normal with mean p_mean and deviation p_std. With probability
    high_ratio a sample's sigma is replaced by one between 200 and 100 000, uniform in the
    logarithm, which the factor does not touch.

    Source: Karras et al. 2022, table 1, for the log-normal; factor and replacement as in
    Cosmos-Predict2.
    """

    p_mean: float = 0.0
    p_std: float = 1.0
    factor: float = 1.0
    high_ratio: float = 0.0

    def for_images(self) -> "NoiseLevels":
        """Return the levels of single images: no factor and no replacement."""
        return replace(self, factor=1.0, high_ratio=0.0)

    def at(
        self,
        u: Float[Tensor, "*s"],
        u_chance: Float[Tensor, "*s"] | None = None,
        u_high: Float[Tensor, "*s"] | None = None,
    ) -> Float[Tensor, "*s"]:
        """Return sigma, float32, for uniform numbers from [0, 1).

        u picks the log-normal level by its quantile; where u_chance is below high_ratio, u_high
        picks the high level instead. Both are needed when high_ratio is above 0.
        """
        quantile = torch.special.ndtri(u.double().clamp_min(_SMALLEST_UNIFORM))
        sigma = (self.p_mean + self.p_std * quantile).exp() * self.factor
        if self.high_ratio > 0:
            assert u_chance is not None
            assert u_high is not None
            low, high = math.log(HIGH_LOWEST), math.log(HIGH_HIGHEST)
            raised = (low + u_high.double() * (high - low)).exp()
            sigma = torch.where(u_chance < self.high_ratio, raised, sigma)
        return sigma.float()

    def draw(self, seed: int, indices: Tensor | Sequence[int]) -> Float[Tensor, "b"]:
        """Draw one sigma for each clip of the run's global order; float32, CPU."""
        return self.at(
            randomness.uniform(seed, "noise_level", indices),
            randomness.uniform(seed, "high_noise_chance", indices),
            randomness.uniform(seed, "high_noise_level", indices),
        )


# The extra noise on given frames while an EDM model trains, so that it does not lean on them
# pixel for pixel.
AUGMENT_LEVELS = NoiseLevels(p_mean=-3.0, p_std=2.0)


def draw_augment(seed: int, indices: Tensor | Sequence[int]) -> Float[Tensor, "b"]:
    """Draw the extra noise level of each clip's given frames; float32, CPU."""
    return AUGMENT_LEVELS.at(randomness.uniform(seed, "augment_level", indices))

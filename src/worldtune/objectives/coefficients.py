"""What sets the two objectives apart: five coefficients of the noise level.

With x_sigma = x0 + sigma * eps, both predict

    x0 = c_skip * x_sigma + c_out * network(c_in * x_sigma, c_noise)

and weigh its squared error by `weight`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Coefficients:
    """The five coefficients, each of the shape of the noise level they belong to."""

    c_skip: Float[Tensor, "*s"]
    c_out: Float[Tensor, "*s"]
    c_in: Float[Tensor, "*s"]
    c_noise: Float[Tensor, "*s"]
    weight: Float[Tensor, "*s"]


@dataclass(frozen=True)
class RectifiedFlow:
    """Velocity on the straight line from data to noise, with time t = sigma / (1 + sigma).

    The data's deviation is 1. The weight 1 / t**2 makes the weighted error of x0 equal to the
    plain error of the velocity eps - x0. The network is told t * time_factor; given frames are
    told the time of given_sigma instead of their sample's, or the sample's if that is None.

    Source: Liu et al. 2022 (arXiv 2209.03003); coefficients and the time of given frames as
    in Cosmos-Predict2.
    """

    time_factor: float = 1.0
    given_sigma: float | None = 1e-4

    def coefficients(self, sigma: Float[Tensor, "*s"]) -> Coefficients:
        """Return the coefficients at sigma, which is above 0."""
        time = sigma / (1 + sigma)
        scale = self.c_in(sigma)
        return Coefficients(
            c_skip=scale,
            c_out=-time,
            c_in=scale,
            c_noise=time * self.time_factor,
            weight=((1 + sigma) / sigma) ** 2,
        )

    def c_in(self, sigma: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Return the scale of the network's input at sigma, which is 0 or more."""
        # Not 1 / (1 + sigma): in float32 the published weights met inputs scaled by this
        # difference, which at sigma 5000 is off by a part in 6000.
        return 1 - sigma / (1 + sigma)


@dataclass(frozen=True)
class Edm:
    """Denoising with unit variance in and out of the network, for data of deviation sigma_data.

    Given frames carry their sample's time unless given_sigma says otherwise.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1.
    """

    sigma_data: float = 0.5
    given_sigma: float | None = None

    def coefficients(self, sigma: Float[Tensor, "*s"]) -> Coefficients:
        """Return the coefficients at sigma, which is above 0."""
        variance = sigma**2 + self.sigma_data**2
        return Coefficients(
            c_skip=self.sigma_data**2 / variance,
            c_out=sigma * self.sigma_data / variance.sqrt(),
            c_in=self.c_in(sigma),
            c_noise=sigma.log() / 4,
            weight=variance / (sigma * self.sigma_data) ** 2,
        )

    def c_in(self, sigma: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Return the scale of the network's input at sigma, which is 0 or more."""
        return (sigma**2 + self.sigma_data**2).rsqrt()


Objective = RectifiedFlow | Edm

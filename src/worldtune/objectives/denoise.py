"""One denoiser for both objectives: the network's output turned into a prediction of x0.

Dims: B batch, C channels, T latent frames, H and W latent rows and columns.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.objectives.coefficients import Objective
from worldtune.objectives.conditioning import GivenFrames


@runtime_checkable
class Network(Protocol):
    """The network with everything bound but what the denoiser decides.

    Text, padding mask, frame rate and the like are bound beforehand, by functools.partial or a
    closure. condition_mask is None where no frames can be given.
    """

    def __call__(
        self,
        latents_BCTHW: Float[Tensor, "b c t h w"],
        time_BT: Float[Tensor, "b t"],
        /,
        *,
        condition_mask: Float[Tensor, "b 1 t h w"] | None,
    ) -> Float[Tensor, "b c t h w"]:
        """Return the network's output, of the latents' shape."""
        ...


@dataclass(frozen=True)
class Denoised:
    """A prediction, and what the network was asked. All float32 but network_input."""

    x0: Float[Tensor, "b c t h w"]
    """The predicted clean latents, given frames replaced by the clean ones."""
    x0_everywhere: Float[Tensor, "b c t h w"]
    """The prediction before given frames were replaced."""
    x_sigma: Float[Tensor, "b c t h w"]
    sigma: Float[Tensor, "b"]
    network_input: Float[Tensor, "b c t h w"]
    network_time: Float[Tensor, "b t"]

    @property
    def eps(self) -> Float[Tensor, "b c t h w"]:
        """The predicted noise, (x_sigma - x0) / sigma."""
        return (self.x_sigma - self.x0) / _wide(self.sigma)


def add_noise(
    clean: Float[Tensor, "b c t h w"],
    noise: Float[Tensor, "b c t h w"],
    sigma: Float[Tensor, "b"],
) -> Float[Tensor, "b c t h w"]:
    """Lay noise of deviation sigma over clean latents: x_sigma = x0 + sigma * eps."""
    return clean + _wide(sigma) * noise


def denoise(
    network: Network,
    objective: Objective,
    x_sigma: Float[Tensor, "b c t h w"],
    sigma: Float[Tensor, "b"],
    given: GivenFrames | None = None,
    *,
    network_dtype: torch.dtype = torch.float32,
) -> Denoised:
    """Predict the clean latents behind x_sigma.

    x_sigma and sigma are float32, sigma above 0 and in units of the latents. The network's
    input is cast to network_dtype and its output back to float32; its time, one per latent
    frame, stays float32, since bfloat16 would round it to 256 steps near 1.
    """
    coefficients = objective.coefficients(sigma)
    network_input = _wide(coefficients.c_in) * x_sigma
    # Where frames are given, the skip term sees what the network sees.
    skip = x_sigma
    if given is not None:
        entering = given.entering(objective)
        network_input = torch.where(given.is_given, entering, network_input)
        skip = torch.where(given.is_given, entering / _wide(coefficients.c_in), skip)
    network_input = network_input.to(network_dtype)
    time = network_time(objective, coefficients.c_noise, x_sigma.shape[2], given)
    mask = None if given is None else given.mask_channel().to(network_dtype)
    output = network(network_input, time, condition_mask=mask).float()
    everywhere = _wide(coefficients.c_skip) * skip + _wide(coefficients.c_out) * output
    x0 = everywhere
    if given is not None:
        x0 = torch.where(given.is_given, given.clean, everywhere)
    return Denoised(x0, everywhere, x_sigma, sigma, network_input, time)


def network_time(
    objective: Objective,
    c_noise: Float[Tensor, "b"],
    num_latents: int,
    given: GivenFrames | None,
) -> Float[Tensor, "b t"]:
    """Return the time that each latent frame is told.

    It is the sample's c_noise, but on given frames that of the objective's given_sigma, if it
    has one: a given frame is all but clean.
    """
    time = c_noise[:, None].expand(-1, num_latents)
    if given is None or objective.given_sigma is None:
        return time
    given_sigma = torch.full_like(c_noise, objective.given_sigma)
    given_time = objective.coefficients(given_sigma).c_noise[:, None]
    return torch.where(given.is_given[:, 0, :, 0, 0], given_time, time)


def _wide(per_sample: Float[Tensor, "b"]) -> Float[Tensor, "b 1 1 1 1"]:
    return per_sample[:, None, None, None, None]

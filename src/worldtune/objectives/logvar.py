"""The logarithm of the error's variance as a function of the noise level."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldtune.objectives import randomness


class FourierFeatures(nn.Module):
    """sqrt(2) * cos(x * freqs + phases): random waves of a number, each of variance 1.

    freqs are 2 pi times normal, phases 2 pi times uniform numbers, drawn once and stored.

    Source: Tancik et al. 2020 (arXiv 2006.10739).
    """

    freqs: Tensor
    phases: Tensor

    def __init__(self, num_waves: int, seed: int) -> None:
        """Draw the waves from the seed, on the CPU."""
        super().__init__()
        draw = randomness.generator(seed, "initial_weights", 0)
        freqs = torch.randn(num_waves, generator=draw, device="cpu")
        phases = torch.rand(num_waves, generator=draw, device="cpu")
        self.register_buffer("freqs", 2 * math.pi * freqs)
        self.register_buffer("phases", 2 * math.pi * phases)

    def forward(self, x: Float[Tensor, "b"]) -> Float[Tensor, "b n"]:
        """Return the waves at x, float32."""
        return math.sqrt(2) * (x.float()[:, None] * self.freqs + self.phases).cos()


class LogVariance(nn.Sequential):
    """One number per sample from its c_noise; part of the loss, not of the network.

    Its entries are named as in the published files, below `logvar.`: "0.freqs", "0.phases" and
    "1.weight". It is always computed in float32: keep it out of any cast of the network. It
    trains only where the base network does.

    Source: Karras et al. 2024 (arXiv 2312.02696), appendix B.
    """

    def __init__(self, num_waves: int = 128, *, seed: int = 0) -> None:
        """Draw waves and weights from the seed, on the CPU."""
        linear = nn.Linear(num_waves, 1, bias=False, device="cpu")
        draw = randomness.generator(seed, "initial_weights", 1)
        with torch.no_grad():
            bound = 1 / math.sqrt(num_waves)
            linear.weight.uniform_(-bound, bound, generator=draw)
        super().__init__(FourierFeatures(num_waves, seed), linear)

    def forward(self, input: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """Return the log-variance at the objective's c_noise, float32."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)[:, 0]

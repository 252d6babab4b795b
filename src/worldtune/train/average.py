"""The running average of the weights that train."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from worldtune.objectives.average import beta, power_exponent


class WeightAverage:
    """Power average, in float32, of every weight that trains.

    Frozen weights equal their own average and are not held twice.

    Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion
    Models", section 3 (power function profile).
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], *, rate: float, iteration_shift: int
    ) -> None:
        self.parameters = dict(parameters)
        self.values = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self._exponent = power_exponent(rate)
        self._iteration_shift = iteration_shift

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take in the weights as they are after 0-based step `iteration`."""
        share = 1 - beta(iteration + self._iteration_shift, self._exponent)
        weights = [p.detach().float() for p in self.parameters.values()]
        torch._foreach_lerp_(list(self.values.values()), weights, share)

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take up saved averages, by name."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def in_place_of_the_weights(self) -> Iterator[None]:
        """Let the network run on its average; the weights come back bit for bit."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        try:
            self._put(self.values)
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

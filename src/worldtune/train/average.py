"""The running average of the weights that train."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from worldtune.objectives.average import beta, power_exponent, update_average


class WeightAverage:
    """Power average, in float32, of every weight that trains.

    Frozen weights equal their own average and are not held twice. `dtype` is that of the
    computation where the parameters are kept in another: the average is of rounded weights.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        rate: float,
        iteration_shift: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self._dtype = dtype
        self.values = {
            name: weight.float().clone()
            for name, weight in zip(self.parameters, self._weights(), strict=True)
        }
        self._exponent = power_exponent(rate)
        self._iteration_shift = iteration_shift

    def update(self, iteration: int) -> None:
        """Take in the weights as they are after 0-based step `iteration`."""
        share = beta(iteration, self._exponent, self._iteration_shift)
        update_average(list(self.values.values()), self._weights(), share)

    def _weights(self) -> list[Tensor]:
        """The weights as the network computes with them."""
        return [p.detach().to(self._dtype or p.dtype) for p in self.parameters.values()]

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

"""Norms without mean: x / sqrt(mean(x^2) + 1e-6) * weight, computed in float32.

torch has one kernel for this on GPUs. On a CPU it is put together from a dozen passes over
the tensor, most of them in the backward pass; written out by hand they are seven.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function

EPSILON = 1e-6


def at_least_float32(x: Tensor) -> torch.dtype:
    """The dtype to compute in: float32 for anything shorter."""
    return torch.promote_types(x.dtype, torch.float32)


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm over the last dim."""

    def __init__(self, channels: int) -> None:
        """One weight per channel."""
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Float[Tensor, "*any d"]) -> Float[Tensor, "*any d"]:
        """Normalise, scale, and round once to the input's dtype."""
        if x.device.type == "cpu":
            return _Norm.apply(x, self.weight)
        return super().forward(x)


class _Norm(Function):
    """Keeps the input, and one number for each vector."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=at_least_float32(x))
        inverse = size.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x.to(inverse.dtype) * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, inverse = ctx.saved_tensors
        unit = x.to(inverse.dtype) * inverse
        gradient = gradients[0].to(inverse.dtype)
        of_weight = (gradient * unit).sum(dim=tuple(range(x.ndim - 1)))
        scaled = gradient * weight
        along = (scaled * unit).mean(dim=-1, keepdim=True)
        of_x = scaled.addcmul_(unit, along, value=-1).mul_(inverse)
        return of_x.to(x.dtype), of_weight.to(weight.dtype)

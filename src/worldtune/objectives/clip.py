"""Clipping gradients by their global norm, and telling a step that must not be taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.errors import RecipeError

# Keeps the factor finite where all gradients are 0.
_TINY = 1e-6


@dataclass(frozen=True)
class Clipped:
    """What was found before clipping, and what the gradients were multiplied by.

    finite is False if any gradient holds a number that is not finite, or if the norm overflows;
    the gradients are then left as they are and the step must be skipped.
    """

    norm: float
    factor: float
    finite: bool


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients of the parameters that have one."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@torch.no_grad()
def total_norm(gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return the L2 norm of all gradients as one vector, summed in float32.

    For sharded gradients it is the norm of the whole, still to be gathered by the caller.
    """
    if not gradients:
        return torch.zeros(())
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def scale_to_norm(gradients: Sequence[Tensor], norm: float, max_norm: float) -> Clipped:
    """Multiply all gradients by one factor, min(1, max_norm / (norm + 1e-6)).

    norm is that of all gradients, over every rank. Source: Pascanu et al. 2013.
    """
    if not max_norm > 0:
        raise RecipeError(f"gradients cannot be clipped to a norm of {max_norm}; expected above 0")
    finite = torch.isfinite(torch.tensor(norm)).item()
    factor = min(1.0, max_norm / (norm + _TINY)) if finite else 1.0
    if factor < 1.0:
        torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
            list(gradients), factor
        )
    return Clipped(norm=norm, factor=factor, finite=bool(finite))


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Clipped:
    """Clip the gradients of parameters that are whole on this process; an iterator will do."""
    gradients = gradients_of(parameters)
    return scale_to_norm(gradients, total_norm(gradients).item(), max_norm)

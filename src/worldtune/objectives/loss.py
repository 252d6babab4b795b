"""The loss, as sums over what is at hand, so that every layout of a step has the same one.

A rank, or one of several accumulated parts of a step, sums over its own elements; the sum is
divided by the count of all elements of the step. So the gradients of ranks and parts are simply
added, and N ranks, a batch of N and N accumulated parts agree. Context-parallel ranks sum over
the frames they hold.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Reduce = Literal["mean", "sum"]


@dataclass(frozen=True)
class LossSums:
    """Sums over the elements at hand; add those of all ranks and parts of a step."""

    total: Float[Tensor, ""]
    """What is differentiated, before scale and division; carries the graph."""
    weighted: Float[Tensor, "b t"]
    """The weighted squared error of each latent frame, without the log-variance; detached."""
    squared: Float[Tensor, "b t"]
    """The plain squared error of each latent frame; detached."""
    elements: int
    """How many elements were summed over: B * C * T * H * W of the part at hand."""
    channels: int


@dataclass(frozen=True)
class LossRule:
    """How sums become the loss: reduce and loss_scale of the recipe.

    "mean" divides by all elements. "sum" adds up the channels and divides by the rest, so it is
    "mean" times the number of channels.
    """

    reduce: Reduce = "mean"
    scale: float = 1.0

    def divisor(self, step_elements: int, channels: int) -> float:
        """Return what the sum over a whole step is divided by.

        step_elements counts all elements of the step: over ranks, accumulated parts and, with
        given frames, those too.
        """
        return step_elements / channels if self.reduce == "sum" else float(step_elements)

    def backward(self, sums: LossSums, step_elements: int) -> Float[Tensor, ""]:
        """Return this part's share of the loss to differentiate, loss_scale included."""
        return sums.total * (self.scale / self.divisor(step_elements, sums.channels))

    def plain(self, sums: LossSums, step_elements: int) -> Float[Tensor, ""]:
        """Return this part's share of the weighted error, without loss_scale; detached."""
        return sums.weighted.sum() / self.divisor(step_elements, sums.channels)

    def printed(self, sums: LossSums, step_elements: int) -> Float[Tensor, ""]:
        """Return this part's share of the printed loss, the one that is differentiated."""
        return self.backward(sums, step_elements).detach()


def loss_sums(
    clean: Float[Tensor, "b c t h w"],
    predicted: Float[Tensor, "b c t h w"],
    weight: Float[Tensor, "b"],
    log_variance: Float[Tensor, "b"] | None = None,
) -> LossSums:
    """Sum the weighted squared error of the predicted clean latents.

    weight is the objective's, per sample. With a log-variance u, also per sample, each element
    adds weight * error**2 * exp(-u) + u, so that levels of noise that are hard to denoise weigh
    less and u settles at the logarithm of their error.

    Source: Karras et al. 2022, section 5 (the weighting); Kendall et al. 2018
    (arXiv 1705.07115) and Karras et al. 2024 (arXiv 2312.02696), appendix B (the log-variance).
    """
    squared_BT = (clean - predicted).square().sum(dim=(1, 3, 4))
    weighted_BT = weight[:, None] * squared_BT
    if log_variance is None:
        total = weighted_BT.sum()
    else:
        u = log_variance
        elements_per_sample = clean[0].numel()
        total = (weighted_BT.sum(dim=1) * (-u).exp() + u * elements_per_sample).sum()
    return LossSums(
        total=total,
        weighted=weighted_BT.detach(),
        squared=squared_BT.detach(),
        elements=clean.numel(),
        channels=clean.shape[1],
    )

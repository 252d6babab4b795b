"""The loss, and that it does not depend on how a step is laid out."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.objectives.loss import LossRule, loss_sums

CLEAN, PREDICTED = torch.randn(2, 6, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.tensor([1.0, 3.0, 0.5, 7.0, 100.0, 1.5])
LOG_VARIANCE = torch.tensor([0.3, -0.4, 1.0, 0.0, -2.0, 0.1])


def _error() -> torch.Tensor:
    return WEIGHT[:, None, None, None, None] * (CLEAN - PREDICTED) ** 2


def test_mean_is_the_mean_of_the_weighted_error():
    sums = loss_sums(CLEAN, PREDICTED, WEIGHT)
    rule = LossRule("mean", scale=10.0)

    torch.testing.assert_close(rule.plain(sums, sums.elements), _error().mean())
    torch.testing.assert_close(rule.printed(sums, sums.elements), 10 * _error().mean())
    torch.testing.assert_close(sums.squared.sum(), (CLEAN - PREDICTED).square().sum())


def test_sum_adds_up_the_channels_and_averages_the_rest():
    sums = loss_sums(CLEAN, PREDICTED, WEIGHT)

    torch.testing.assert_close(
        LossRule("sum", scale=10.0).backward(sums, sums.elements),
        10 * _error().sum(dim=1).mean(),
    )


def test_log_variance_divides_the_error_and_adds_itself():
    sums = loss_sums(CLEAN, PREDICTED, WEIGHT, LOG_VARIANCE)
    u = LOG_VARIANCE[:, None, None, None, None]

    torch.testing.assert_close(
        LossRule().backward(sums, sums.elements), (_error() * (-u).exp() + u).mean()
    )
    torch.testing.assert_close(LossRule().plain(sums, sums.elements), _error().mean())


def test_log_variance_rests_at_the_logarithm_of_the_error():
    error = (CLEAN.double() - PREDICTED.double()).square().mean(dim=(1, 2, 3, 4))
    u = (error.log() + torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, -0.5])).requires_grad_()

    sums = loss_sums(CLEAN.double(), PREDICTED.double(), torch.ones(6).double(), u)
    LossRule().backward(sums, sums.elements).backward()

    assert u.grad is not None
    assert u.grad[:4].abs().max() < 1e-8
    assert u.grad[4] > 0.01
    assert u.grad[5] < -0.01


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 5), max_size=3, unique=True).map(sorted),
    frames=st.integers(0, 3),
    reduce=st.sampled_from(["mean", "sum"]),
    kendall=st.booleans(),
)
def test_ranks_parts_and_slices_of_time_add_up_to_one_batch(cuts, frames, reduce, kendall):
    """Cut over samples as ranks and accumulation do, and over time as context ranks do."""
    rule = LossRule(reduce, scale=10.0)
    whole_input = PREDICTED.clone().requires_grad_()
    u = LOG_VARIANCE if kendall else None
    whole = loss_sums(CLEAN, whole_input, WEIGHT, u)
    loss = rule.backward(whole, CLEAN.numel())
    loss.backward()

    parts_input = PREDICTED.clone().requires_grad_()
    added = torch.zeros(())
    bounds = [0, *cuts, 6]
    for start, stop in pairwise(bounds):
        for at in (slice(0, frames), slice(frames, None)):
            sums = loss_sums(
                CLEAN[start:stop, :, at],
                parts_input[start:stop, :, at],
                WEIGHT[start:stop],
                None if u is None else u[start:stop],
            )
            share = rule.backward(sums, CLEAN.numel())
            share.backward()
            added = added + share.detach()

    torch.testing.assert_close(added, loss.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts_input.grad, whole_input.grad, rtol=1e-6, atol=1e-8)


def test_frames_without_error_stay_in_the_count():
    predicted = PREDICTED.clone()
    predicted[:, :, :2] = CLEAN[:, :, :2]
    sums = loss_sums(CLEAN, predicted, WEIGHT)

    assert LossRule().plain(sums, sums.elements).item() == pytest.approx(
        _error()[:, :, 2:].mean().item() / 2, rel=1e-5
    )
    assert sums.weighted[:, :2].abs().max() == 0

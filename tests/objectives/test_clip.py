"""Clipping that clips."""

import math

import pytest
import torch

from worldtune.errors import RecipeError
from worldtune.objectives.clip import clip_gradients, total_norm


def _parameters(scale: float) -> list[torch.Tensor]:
    parameters = [torch.zeros(3, 4), torch.zeros(5), torch.zeros(2)]
    for number, parameter in enumerate(parameters[:2]):
        g = torch.Generator().manual_seed(number)
        parameter.grad = scale * torch.randn(parameter.shape, generator=g)
    return parameters


def _flat(parameters: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def test_clipping_takes_an_iterator_of_parameters_and_really_clips():
    """An iterator used up by the norm leaves nothing to scale: the gradients must change."""
    parameters = _parameters(3e4)
    before = _flat(parameters)

    clipped = clip_gradients(iter(parameters), 1.0)

    assert clipped.norm == pytest.approx(before.norm().item(), rel=1e-6)
    assert clipped.norm > 1e4
    assert _flat(parameters).norm().item() == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(_flat(parameters), before * clipped.factor)


def test_the_factor_is_the_published_one():
    parameter = torch.zeros(2)
    parameter.grad = torch.tensor([3.0, 4.0])

    clipped = clip_gradients([parameter], 2.5)

    assert clipped.norm == 5.0
    assert clipped.factor == pytest.approx(2.5 / (5 + 1e-6), rel=1e-12)


def test_small_gradients_are_left_as_they_are():
    parameters = _parameters(0.01)
    before = _flat(parameters)

    clipped = clip_gradients(parameters, 1.0)

    assert clipped.factor == 1.0
    assert torch.equal(_flat(parameters), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_is_told_and_left_to_be_skipped(bad):
    parameters = _parameters(1.0)
    assert parameters[1].grad is not None
    parameters[1].grad[2] = bad
    before = parameters[0].grad

    clipped = clip_gradients(parameters, 0.1)

    assert not clipped.finite
    assert parameters[0].grad is not None
    assert torch.equal(parameters[0].grad, before)


def test_no_gradients_have_norm_0_and_are_finite():
    clipped = clip_gradients([torch.zeros(2)], 1.0)

    assert (clipped.norm, clipped.factor, clipped.finite) == (0.0, 1.0, True)


def test_the_norm_of_bfloat16_gradients_is_summed_in_float32():
    gradients = [torch.full((40_000,), 0.01, dtype=torch.bfloat16)]

    exact = gradients[0].double().norm().item()
    assert total_norm(gradients).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_norm_that_nothing_can_be_clipped_to_is_refused(max_norm):
    with pytest.raises(RecipeError, match="expected above 0"):
        clip_gradients(_parameters(1.0), max_norm)

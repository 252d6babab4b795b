"""The power average."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.errors import RecipeError
from worldtune.objectives import average
from worldtune.objectives.average import beta, power_exponent, update_average


@settings(max_examples=50, deadline=None)
@given(rate=st.floats(0.01, 0.27))
def test_the_exponent_gives_a_profile_of_the_relative_deviation_asked_for(rate):
    """The profile is t**e on [0, 1], whose deviation Karras et al. give in closed form."""
    e = power_exponent(rate)

    deviation = (e + 1) ** 0.5 / ((e + 2) * (e + 3) ** 0.5)
    assert deviation == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.3, float("nan")])
def test_a_rate_no_average_can_have_is_refused(rate):
    with pytest.raises(RecipeError, match=r"ema\.rate"):
        power_exponent(rate)


def test_the_average_weighs_each_step_by_the_power_of_its_time():
    """The betas, followed over a run, put weight near t**e on step t."""
    e, steps = power_exponent(0.1), 2000
    weights = np.zeros(steps)
    for k in range(steps):
        weights *= beta(k, e)
        weights[k] += 1 - beta(k, e)

    expected = (np.arange(1, steps + 1) / steps) ** e * (e + 1) / steps
    assert weights.sum() == pytest.approx(1)
    assert np.abs(weights - expected).max() < 0.01 * expected.max()


def test_the_first_update_is_an_exact_copy_even_over_rubbish():
    averages = [torch.full((3,), float("nan"))]
    update_average(averages, [torch.tensor([1.0, 2.0, 3.0])], beta(0, 6.94))

    assert averages[0].tolist() == [1, 2, 3]


def test_a_shift_counts_as_that_many_iterations_done():
    assert beta(3, 6.94, shift=500) == beta(503, 6.94)
    assert beta(0, 6.94, shift=1) > 0


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_averages_move_in_float32_whatever_the_weights_are(chunk, monkeypatch):
    monkeypatch.setattr(average, "_CHUNK", chunk)
    weights = [torch.randn(3, 2).bfloat16(), torch.randn(4), torch.randn(1, 1).bfloat16()]
    averages = [torch.randn(weight.shape) for weight in weights]
    expected = [
        (0.9 * a.double() + 0.1 * w.double()).float()
        for a, w in zip(averages, weights, strict=True)
    ]

    update_average(averages, weights, 0.9)

    for ours, theirs in zip(averages, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs)

"""Solvers on problems whose answer is known."""

import math

import pytest
import torch

from worldtune.errors import RecipeError
from worldtune.objectives.sampler import (
    guided,
    noise_levels,
    sample,
    start_noise,
    unconditional_text,
)

SOLVERS = ("2ab", "1euler", "2mid")
DEVIATION = 0.5


def _predict_gaussian(state: torch.Tensor, sigma: float) -> torch.Tensor:
    """The best prediction for data of mean 2 and deviation DEVIATION."""
    return 2 + (state - 2) * DEVIATION**2 / (DEVIATION**2 + sigma**2)


def _exact_gaussian(start: torch.Tensor, high: float, low: float) -> torch.Tensor:
    return 2 + (start - 2) * math.sqrt((DEVIATION**2 + low**2) / (DEVIATION**2 + high**2))


def _error(solver, steps: int) -> float:
    start = start_noise(0, (1, 2, 1, 2, 2), 80.0)
    levels = noise_levels(steps, solver=solver)
    states: list[torch.Tensor] = []
    sample(
        _predict_gaussian,
        start,
        levels,
        solver=solver,
        state_dtype=torch.float64,
        on_step=lambda step: states.append(step.state),
    )
    return (states[-1] - _exact_gaussian(start.double(), 80.0, levels[-1])).abs().max().item()


@pytest.mark.parametrize(("solver", "order"), [("2ab", 2), ("1euler", 1), ("2mid", 2)])
def test_a_solver_comes_closer_at_the_rate_of_its_order(solver, order):
    ratio = _error(solver, 80) / _error(solver, 160)

    assert ratio == pytest.approx(2**order, rel=0.25)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_prediction_is_reached_and_n_steps_ask_n_plus_1_times(solver):
    target, asked = torch.full((1, 2, 1, 2, 2), 3.0), []

    def predict(state, sigma):
        asked.append(sigma)
        return target

    result = sample(
        predict,
        start_noise(0, target.shape, 80.0),
        noise_levels(10, solver=solver),
        solver=solver,
    )

    assert torch.equal(result, target)
    assert len(asked) == 11
    assert asked[0] == pytest.approx(80.0)
    assert asked[-1] == pytest.approx(0.002)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_step_is_told(solver):
    seen = []
    levels = noise_levels(6, solver=solver)

    sample(
        _predict_gaussian,
        torch.zeros(1, 1, 1, 1, 1),
        levels,
        solver=solver,
        on_step=lambda step: seen.append((step.number, step.total, step.sigma)),
    )

    total = len(levels) - 1
    assert seen == [(number, total, levels[number]) for number in range(total)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_prediction_gets_the_state_in_the_dtype_asked_for(dtype):
    dtypes = set()

    def predict(state, sigma):
        dtypes.add(state.dtype)
        return state

    result = sample(
        predict, torch.ones(1, 1, 1, 1, 1), noise_levels(4), solver="2ab", state_dtype=dtype
    )

    assert dtypes == {dtype}
    assert result.dtype == torch.float32


def test_levels_fall_from_the_largest_to_the_smallest():
    levels = noise_levels(35)

    assert len(levels) == 36
    assert list(levels) == sorted(levels, reverse=True)
    assert levels[0] == pytest.approx(80.0)
    assert levels[-1] == pytest.approx(0.002)
    assert len(noise_levels(10, solver="2mid")) == 6


@pytest.mark.parametrize(
    ("steps", "changes", "message"),
    [
        (0, {}, "0 sampling steps are too few"),
        (7, {"solver": "2mid"}, "use 6 or 8 instead of 7"),
        (1, {"solver": "2mid"}, "use 2 instead of 1"),
        (5, {"sigma_max": 0.001}, r"cannot fall from 0\.001 to 0\.002"),
        (5, {"sigma_min": 0.0}, r"cannot fall from 80\.0 to 0\.0"),
    ],
)
def test_a_number_of_steps_or_levels_that_cannot_be_is_refused(steps, changes, message):
    with pytest.raises(RecipeError, match=message):
        noise_levels(steps, **changes)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_numpys_range_is_refused(seed):
    with pytest.raises(RecipeError, match=f"seed {seed} is out of range"):
        start_noise(seed, (1, 1, 1, 1, 1), 80.0)


def test_start_noise_is_the_published_one_for_a_seed():
    """The first number of RandomState(0) is known to every NumPy user: 1.764052."""
    noise = start_noise(0, (1, 16, 2, 4, 4), 80.0)

    assert noise.dtype == torch.float32
    assert noise.flatten()[0].item() == pytest.approx(80 * 1.764052, rel=1e-6)
    assert noise.std().item() == pytest.approx(80, rel=0.1)


def test_guidance_moves_away_from_the_unconditional_prediction():
    x0 = guided(lambda x, s: x + 1, lambda x, s: x, 7.0)(torch.zeros(1), 1.0)

    assert x0.item() == 1 + 7


def test_without_guidance_the_network_is_asked_once():
    def never(state, sigma):
        raise AssertionError("asked for a prediction that nobody needs")

    assert guided(lambda x, s: x + 1, never, 0.0)(torch.zeros(1), 1.0).item() == 1


def test_without_a_negative_prompt_guidance_leads_away_from_no_text_at_all():
    """Taking the text itself would make both predictions equal and guide nowhere."""
    text, negative = torch.randn(1, 3, 2), torch.randn(1, 3, 2)

    assert unconditional_text(text, None).abs().max() == 0
    assert unconditional_text(text, negative) is negative

"""Noise levels, coefficients, averages and schedules against the reference's numbers."""

import numpy as np
import pytest
import torch

from worldtune.objectives.average import beta, power_exponent
from worldtune.objectives.coefficients import RectifiedFlow
from worldtune.objectives.noise_levels import NoiseLevels, video_factor
from worldtune.objectives.schedule import LambdaLinear

TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def schedules(predict2):
    return predict2.json("schedules")


def test_the_flows_coefficients_are_the_references(schedules, close):
    rows = schedules["denoiser_scaling"]
    sigma = torch.tensor([row["sigma"] for row in rows], dtype=torch.float64)

    exact = RectifiedFlow().coefficients(sigma)
    rounded = RectifiedFlow().coefficients(sigma.float())

    for name in ("c_skip", "c_out", "c_in", "c_noise"):
        theirs = torch.tensor([row[name] for row in rows], dtype=torch.float64)
        torch.testing.assert_close(getattr(exact, name), theirs, rtol=1e-12, atol=0)
        close(getattr(rounded, name), theirs, TOLERANCE)
    theirs = torch.tensor([row["loss_weight"] for row in rows], dtype=torch.float64)
    torch.testing.assert_close(exact.weight, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(rounded.weight.double(), theirs, rtol=TOLERANCE, atol=0)


def test_noise_levels_are_the_references(schedules):
    for case in schedules["sigma_sampling"]:
        levels = NoiseLevels(
            factor=video_factor(case["state_t"]), high_ratio=case["high_sigma_ratio"]
        )
        u, u_chance, u_high = (
            None if case[name] is None else torch.tensor(case[name], dtype=torch.float64)
            for name in ("u_for_inverse_normal_cdf", "u_for_high_sigma_mask", "u_for_log_uniform")
        )
        assert u is not None

        sigma = levels.at(u, u_chance, u_high)

        theirs = torch.tensor(case["sigma"], dtype=torch.float64)
        torch.testing.assert_close(sigma.double(), theirs, rtol=TOLERANCE, atol=0)


def test_the_uniform_numbers_are_those_of_the_stated_seeds(schedules):
    """Holds the reading of the file: the first draws are NumPy's for the seed."""
    for case in schedules["sigma_sampling"]:
        theirs = np.array(case["u_for_inverse_normal_cdf"])
        ours = np.random.RandomState(case["numpy_seed"]).uniform(size=theirs.shape)

        assert np.array_equal(ours, theirs)


def test_the_averages_exponents_and_shares_are_the_references(schedules):
    for case in schedules["ema"]:
        exponent = power_exponent(case["rate"])
        assert exponent == pytest.approx(case["exponent"], rel=1e-12)
        for iteration, theirs in case["beta"].items():
            ours = beta(int(iteration), exponent, case["iteration_shift"])
            assert ours == pytest.approx(theirs, rel=1e-10)


def test_learning_rate_multipliers_are_the_references(schedules):
    for case in schedules["lr"]:
        schedule = LambdaLinear(
            case["warm_up_steps"],
            case["cycle_lengths"],
            case["f_start"],
            case["f_max"],
            case["f_min"],
        )
        for step, theirs in case["multiplier"].items():
            assert schedule(int(step)) == pytest.approx(theirs, rel=1e-12, abs=1e-15)

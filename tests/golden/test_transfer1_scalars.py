"""Noise levels, coefficients, averages, schedule and solvers against the reference's numbers."""

import re

import pytest
import torch

from worldtune.objectives.average import beta, power_exponent
from worldtune.objectives.coefficients import Edm
from worldtune.objectives.noise_levels import AUGMENT_LEVELS, NoiseLevels, video_factor
from worldtune.objectives.sampler import Solver, noise_levels, sample
from worldtune.objectives.schedule import LambdaLinear

TOLERANCE = 3e-6


@pytest.fixture(scope="module")
def scalars(transfer1):
    return transfer1.tensors("scalars")


@pytest.fixture(scope="module")
def sigma_data(transfer1):
    return transfer1.json("manifest")["config"]["sigma_data"]


def _same(ours, theirs, tolerance=TOLERANCE) -> None:
    ours = torch.as_tensor(ours, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs.double(), rtol=tolerance, atol=1e-12)


def _named(scalars, pattern: str) -> list[re.Match[str]]:
    """Every name of the pattern, of which there must be one."""
    found = [match for name in scalars if (match := re.fullmatch(pattern, name))]
    assert found
    return found


def test_noise_levels_follow_the_quantiles(scalars):
    u = scalars["edm.uniform_u"]

    for match in _named(scalars, r"edm\.sigma_from_u_p_mean(-?\d+)_std(\d+)"):
        _same(NoiseLevels(float(match[1]), float(match[2])).at(u), scalars[match[0]])
    for match in _named(scalars, r"edm\.sigma_video_\d+frames_T(\d+)"):
        _same(NoiseLevels(factor=video_factor(int(match[1]))).at(u), scalars[match[0]])


def test_the_level_of_given_frames_follows_the_quantiles_without_a_factor(scalars):
    (match,) = _named(scalars, r"edm\.augment_sigma_from_u_p_mean(-?\d+)_std(\d+)")

    assert (float(match[1]), float(match[2])) == (AUGMENT_LEVELS.p_mean, AUGMENT_LEVELS.p_std)
    _same(AUGMENT_LEVELS.at(scalars["edm.uniform_u"]), scalars[match[0]])


def test_the_edm_coefficients_are_the_references(scalars, sigma_data):
    for match in _named(scalars, r"edm\.sigma_video_(\w+)"):
        ours = Edm(sigma_data).coefficients(scalars[match[0]])
        for name in ("c_skip", "c_out", "c_in", "c_noise"):
            theirs = scalars[f"edm.{name}_{match[1]}"].double()
            # c_noise passes through 0, so its error is measured against its largest value.
            atol = TOLERANCE * theirs.abs().max().item() if name == "c_noise" else 1e-12
            torch.testing.assert_close(
                getattr(ours, name).double(), theirs, rtol=TOLERANCE, atol=atol
            )
        _same(ours.weight, scalars[f"edm.loss_weight_{match[1]}"])


def test_the_averages_exponents_and_shares_are_the_references(scalars):
    for match in _named(scalars, r"ema\.exponent_rate([\d.]+)"):
        exponent = power_exponent(float(match[1]))
        _same([exponent], scalars[match[0]], 1e-12)
        betas = [beta(int(iteration), exponent) for iteration in scalars["ema.iterations"]]
        _same(betas, scalars[f"ema.beta_rate{match[1]}"], 1e-10)


def test_the_warm_up_is_the_references(scalars):
    for match in _named(scalars, r"lr\.factor_warmup(\d+)"):
        schedule = LambdaLinear([int(match[1])], [10**13], [1e-6], [1.0], [1.0])
        _same([schedule(int(step)) for step in scalars["lr.steps"]], scalars[match[0]], 1e-12)


def test_the_levels_of_sampling_are_the_references(scalars):
    for match in _named(scalars, r"sampler\.sigmas_(\d+)_max(\d+)"):
        ours = noise_levels(int(match[1]), sigma_max=float(match[2]))
        _same(ours, scalars[match[0]], 1e-12)


@pytest.mark.parametrize("solver", ["2ab", "1euler", "2mid"])
def test_each_solver_arrives_where_the_references_does(scalars, close, solver: Solver):
    (match,) = _named(scalars, rf"sampler\.out_{solver}_(\d+)steps_max(\d+)")
    levels = noise_levels(int(match[1]), sigma_max=float(match[2]), solver=solver)
    target = scalars["sampler.toy_target"]

    ours = sample(
        lambda x, sigma: target + 0.3 * torch.tanh(x / (1 + sigma)),
        scalars["sampler.in_x"],
        levels,
        solver=solver,
        state_dtype=torch.float64,
    )

    close(ours, scalars[match[0]], TOLERANCE)

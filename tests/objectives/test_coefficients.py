"""The coefficients do what their papers derive them for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.objectives.coefficients import Edm, RectifiedFlow

levels = st.floats(1e-4, 1e5).map(lambda x: torch.tensor([x], dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(sigma=levels)
def test_flow_weighs_the_error_of_x0_as_the_plain_error_of_the_velocity(sigma):
    c = RectifiedFlow().coefficients(sigma)
    x0, eps, error = 0.3, -1.2, 0.7
    velocity = eps - x0 + error

    predicted = c.c_skip * (x0 + sigma * eps) + c.c_out * velocity

    torch.testing.assert_close(
        c.weight * (predicted - x0) ** 2, torch.full_like(sigma, error**2), rtol=1e-6, atol=0
    )


@settings(max_examples=60, deadline=None)
@given(sigma=levels, sigma_data=st.sampled_from([0.5, 1.0]))
def test_edm_gives_the_network_inputs_and_targets_of_variance_1(sigma, sigma_data):
    c = Edm(sigma_data).coefficients(sigma)

    input_variance = c.c_in**2 * (sigma_data**2 + sigma**2)
    # Target (x0 - c_skip * x_sigma) / c_out, for x0 and eps independent.
    target_variance = ((1 - c.c_skip) ** 2 * sigma_data**2 + (c.c_skip * sigma) ** 2) / c.c_out**2

    torch.testing.assert_close(input_variance, torch.ones_like(sigma))
    torch.testing.assert_close(target_variance, torch.ones_like(sigma))
    torch.testing.assert_close(c.weight, c.c_out**-2.0)


def test_the_flows_weight_keeps_its_digits_at_every_noise_level():
    sigma = torch.tensor([1e-4, 0.02, 1.0, 80.0, 99_000.0])
    exact = RectifiedFlow().coefficients(sigma.double())

    c = RectifiedFlow().coefficients(sigma)

    torch.testing.assert_close(c.weight.double(), exact.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("objective", "scale"), [(RectifiedFlow(), 1.0), (Edm(0.5), 2.0)])
def test_clean_frames_have_a_finite_scale(objective, scale):
    assert objective.c_in(torch.zeros(1)).item() == pytest.approx(scale)


def test_the_time_factor_scales_what_the_network_is_told_and_nothing_else():
    sigma = torch.tensor([0.5, 3.0])
    plain, scaled = (RectifiedFlow(factor).coefficients(sigma) for factor in (1.0, 1000.0))

    torch.testing.assert_close(scaled.c_noise, 1000 * plain.c_noise)
    assert torch.equal(scaled.c_skip, plain.c_skip)
    assert torch.equal(scaled.c_out, plain.c_out)

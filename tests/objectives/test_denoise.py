"""One denoiser for both objectives."""

import torch

from worldtune.objectives.coefficients import Edm, RectifiedFlow
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.denoise import add_noise, denoise

SHAPE = (2, 3, 4, 2, 2)
SIGMA = torch.tensor([0.7, 30.0])


def _normal(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _given(**changes) -> GivenFrames:
    return GivenFrames(first_frames_mask(torch.tensor([1, 2]), 4), _normal(0), **changes)


class Recorder:
    """A network that keeps what it was given and returns a fixed answer."""

    def __init__(self, answer: torch.Tensor) -> None:
        self.answer = answer

    def __call__(self, latents_BCTHW, time_BT, /, *, condition_mask):
        self.latents, self.time, self.mask = latents_BCTHW, time_BT, condition_mask
        return self.answer.to(latents_BCTHW.dtype)


def test_a_network_that_knows_the_velocity_restores_the_clean_latents():
    clean, eps = _normal(0), _normal(1)

    found = denoise(Recorder(eps - clean), RectifiedFlow(), add_noise(clean, eps, SIGMA), SIGMA)

    torch.testing.assert_close(found.x0, clean, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.eps, eps, rtol=0, atol=1e-5)


def test_a_network_that_knows_the_edm_target_restores_the_clean_latents():
    clean, eps, edm = _normal(0), _normal(1), Edm(0.5)
    x_sigma = add_noise(clean, eps, SIGMA)
    c = edm.coefficients(SIGMA[:, None, None, None, None])

    found = denoise(Recorder((clean - c.c_skip * x_sigma) / c.c_out), edm, x_sigma, SIGMA)

    torch.testing.assert_close(found.x0, clean, rtol=0, atol=1e-5)


def test_given_frames_are_shown_replaced_and_told_a_time_of_their_own():
    network = Recorder(_normal(2))
    found = denoise(network, RectifiedFlow(), _normal(1), SIGMA, _given())

    for row, count in enumerate((1, 2)):
        assert torch.equal(network.latents[row, :, :count], _given().clean[row, :, :count])
        assert torch.equal(found.x0[row, :, :count], _given().clean[row, :, :count])
        assert (network.time[row, :count] == torch.tensor(1e-4) / (1 + 1e-4)).all()
        assert (network.time[row, count:] == SIGMA[row] / (1 + SIGMA[row])).all()
        assert network.mask[row, 0, :count].min() == 1
        assert network.mask[row, 0, count:].max() == 0


def test_edm_tells_all_frames_the_same_time():
    network = Recorder(_normal(2))
    denoise(network, Edm(0.5), _normal(1), SIGMA, _given())

    assert torch.equal(network.time, (SIGMA.log() / 4)[:, None].expand(2, 4))


def test_no_gradient_comes_through_given_frames():
    answer = _normal(2).requires_grad_()
    found = denoise(Recorder(answer), Edm(0.5), _normal(1), SIGMA, _given())

    found.x0.square().sum().backward()

    assert answer.grad is not None
    assert answer.grad[1, :, :2].abs().max() == 0
    assert answer.grad[1, :, 2:].abs().min() > 0


def test_a_prediction_that_is_not_finite_cannot_spoil_given_frames():
    answer = _normal(2)
    answer[1, :, 0] = float("nan")

    found = denoise(Recorder(answer), RectifiedFlow(), _normal(1), SIGMA, _given())

    assert found.x0.isfinite().all()


def test_only_the_networks_input_takes_its_dtype():
    network = Recorder(_normal(2))
    found = denoise(
        network, RectifiedFlow(), _normal(1), SIGMA, _given(), network_dtype=torch.bfloat16
    )

    assert network.latents.dtype == network.mask.dtype == torch.bfloat16
    assert network.time.dtype == torch.float32
    assert found.x0.dtype == found.x0_everywhere.dtype == torch.float32


def test_a_network_without_given_frames_gets_no_mask():
    network = Recorder(_normal(2))
    denoise(network, Edm(0.5), _normal(1), SIGMA)

    assert network.mask is None

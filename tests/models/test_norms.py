"""The norm of heads and of time, against a plain version in float64."""

import pytest
import torch
from torch import Tensor

from worldtune.models.norms import RMSNorm


def plain(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def a_norm(channels: int = 16) -> RMSNorm:
    norm = RMSNorm(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, channels))
    return norm


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_output_and_gradients_agree_with_the_plain_version(scale: float):
    """At a scale of 1e-3 the epsilon counts as much as the mean square."""
    norm, x = a_norm(), (scale * numbers(2, 5, 3, 16)).requires_grad_()
    probe = numbers(2, 5, 3, 16).flip(0)
    slow_x = x.detach().double().requires_grad_()
    slow_weight = norm.weight.detach().double().requires_grad_()
    (norm(x) * probe).sum().backward()
    (plain(slow_x, slow_weight) * probe).sum().backward()

    torch.testing.assert_close(norm(x).double(), plain(slow_x, slow_weight), rtol=0, atol=2e-6)
    for ours, theirs in ((x.grad, slow_x.grad), (norm.weight.grad, slow_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert (ours - theirs).abs().max() < 2e-6 * theirs.abs().max()


def test_the_cpu_and_the_gpu_way_are_the_same_function():
    """torch's own, which GPUs use, agrees; only its speed on a CPU differs."""
    norm, x = a_norm(), numbers(4, 16)
    theirs = torch.nn.functional.rms_norm(x, (16,), norm.weight, 1e-6)

    torch.testing.assert_close(norm(x), theirs, rtol=1e-6, atol=1e-6)


def test_bf16_is_rounded_once_at_the_end():
    norm, x = a_norm().to(torch.bfloat16), numbers(7, 16).to(torch.bfloat16)
    exact = plain(x.double(), norm.weight.detach().double())

    assert norm(x).dtype == torch.bfloat16
    # Half a unit in the last of 8 bits, and the float32 work before it.
    assert ((norm(x) - exact).abs() <= exact.abs() * (2**-8 + 1e-5)).all()


def test_the_gradient_is_that_of_small_differences():
    norm = a_norm(6).double()
    x = numbers(2, 3, 6).double().requires_grad_()

    assert torch.autograd.gradcheck(norm, (x,))

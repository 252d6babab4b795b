"""Turning heads by their tokens' angles, against a slow version in float64."""

import torch
from torch import Tensor

from tests.models.sizes import TINY
from tests.reference.rope import angles as slow_angles
from tests.reference.rope import rotate as slow_rotate
from worldtune.models.positions import KEPT_ROTATIONS, FrameShare, Rotations
from worldtune.models.rope import Rotation, rotate

CPU = torch.device("cpu")


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_every_head_of_every_sample_turns_by_its_token_s_angle():
    angle = slow_angles(16, (2, 2, 3), ratios=(1.0, 2.0, 3.0))
    rotation = Rotation(angle.cos().float(), angle.sin().float())
    x = numbers(2, 12, 3, 16)
    turned = rotate(x, rotation)

    for sample in range(2):
        for head in range(3):
            expected = slow_rotate(x[sample, :, head], angle)
            torch.testing.assert_close(
                turned[sample, :, head].double(), expected, rtol=0, atol=1e-6
            )


def test_each_sample_may_have_angles_of_its_own():
    angles = torch.stack([slow_angles(16, (2, 1, 3), (1.0, 1.0, 1.0), fps) for fps in (10, 30)])
    x = numbers(2, 6, 1, 16)
    turned = rotate(x, Rotation(angles.cos().float(), angles.sin().float()))

    for sample in range(2):
        expected = slow_rotate(x[sample, :, 0], angles[sample])
        torch.testing.assert_close(turned[sample, :, 0].double(), expected, rtol=0, atol=1e-6)


def test_the_gradient_turns_back():
    angle = numbers(5, 8)
    x = numbers(1, 5, 2, 16).requires_grad_()
    turned = rotate(x, Rotation(angle.cos(), angle.sin()))
    (gradient,) = torch.autograd.grad(turned, x, turned.detach())

    torch.testing.assert_close(gradient, x.detach(), rtol=0, atol=1e-6)


def test_bf16_heads_turn_in_float32_and_are_rounded_once():
    angle = 3 * numbers(5, 8)
    x = numbers(1, 5, 2, 16).to(torch.bfloat16)
    turned = rotate(x, Rotation(angle.cos(), angle.sin()))
    exact = rotate(x.float(), Rotation(angle.cos(), angle.sin()))

    assert turned.dtype == torch.bfloat16
    assert torch.equal(turned, exact.to(torch.bfloat16))


def test_a_grid_s_rotation_is_made_once_and_few_are_kept():
    rotations = Rotations(TINY)
    first = rotations((2, 3, 4), None, FrameShare(), CPU)

    assert rotations((2, 3, 4), None, FrameShare(), CPU) is first
    for columns in range(1, KEPT_ROTATIONS + 1):
        rotations((2, 3, columns), None, FrameShare(), CPU)
    assert rotations((2, 3, 4), None, FrameShare(), CPU) is not first


def test_a_network_without_modulation_does_not_look_at_the_frame_rate():
    rotations = Rotations(TINY)
    slow = rotations((2, 3, 4), torch.tensor([10.0]), FrameShare(), CPU)

    assert rotations((2, 3, 4), torch.tensor([30.0]), FrameShare(), CPU) is slow

"""Frames between two pictures."""

import pytest
import torch
from torch.nn import functional

from worldtune.models.motion import find_motion, frames_between


def texture(seed=0, height=64, width=96):
    """Smooth and everywhere different."""
    noise = torch.randn(
        1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed)
    )
    smooth = functional.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
    return (0.4 * smooth).clamp(-1, 1)


@pytest.mark.parametrize(("across", "down"), [(0, 0), (3, 0), (-5, 4), (9, -6)])
def test_a_picture_that_moves_is_followed_to_the_pixel(across, down):
    picture = texture(height=96, width=128)
    first = picture[..., 16:80, 16:112]
    last = picture[..., 16 - down : 80 - down, 16 - across : 112 - across]
    motion = find_motion(first.mean(1, keepdim=True), last.mean(1, keepdim=True))

    inner = motion[0, :, 12:-12, 12:-12]
    assert (inner[0] - across).abs().mean() < 1.1
    assert (inner[1] - down).abs().mean() < 1.1


def test_frames_between_show_the_picture_on_its_way_and_not_twice():
    picture = texture(height=96, width=128)
    first, last = picture[..., 16:80, 16:112], picture[..., 16:80, 8:104]
    frames = frames_between(first, last, 3)
    inner = (..., slice(12, -12), slice(12, -12))
    for index, moved in enumerate((2, 4, 6)):
        truth = picture[..., 16:80, 16 - moved : 112 - moved]
        blend = torch.lerp(first, last, moved / 8)
        ours = (frames[:, :, index] - truth)[inner].square().mean()
        assert ours < 0.05 * (blend - truth)[inner].square().mean()


def test_a_picture_that_stays_stays_in_every_bit_but_the_last():
    picture = texture()
    for frame in frames_between(picture, picture, 3).unbind(2):
        torch.testing.assert_close(frame, picture, rtol=0, atol=1e-5)


def test_a_light_that_goes_on_is_blended():
    dark, bright = torch.full((1, 3, 16, 24), -0.5), torch.full((1, 3, 16, 24), 0.5)
    frames = frames_between(dark, bright, 3)

    levels = torch.tensor([-0.25, 0.0, 0.25])[:, None, None].expand(1, 3, 3, 16, 24)
    torch.testing.assert_close(frames, levels, rtol=0, atol=1e-6)


def test_nothing_leaves_the_range_of_the_two_pictures():
    frames = frames_between(texture(), texture(seed=1), 3)
    assert frames.abs().max() <= 1

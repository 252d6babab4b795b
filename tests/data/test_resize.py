"""Frames to size. Equality with the original's pixels is in tests/golden."""

import pytest
import torch

from worldtune.data.resize import resize_clip, resize_frame


def ramp(height: int, width: int) -> torch.Tensor:
    """A frame that brightens to the right, and in its second channel downwards."""
    across = torch.linspace(0, 255, width).expand(height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(height, width)
    return torch.stack([across, down, across], dim=-1).to(torch.uint8)


@pytest.mark.parametrize("how", ["stretch", "crop"])
@pytest.mark.parametrize("size", [(24, 40), (40, 24), (1, 1), (37, 53), (100, 200)])
def test_any_size_is_met(how, size):
    assert resize_frame(ramp(37, 53), size, how).shape == (3, *size)


def test_a_frame_of_the_right_size_is_left_alone():
    frame = torch.randint(0, 256, (6, 8, 3), dtype=torch.uint8)

    for how in ("stretch", "crop"):
        assert resize_frame(frame, (6, 8), how).equal(frame.permute(2, 0, 1))


@pytest.mark.parametrize(
    ("margin", "left"), [(2, 1), (3, 2), (4, 2), (5, 2), (7, 4)], ids=lambda value: str(value)
)
def test_odd_margins_are_halved_to_the_even_side(margin, left):
    """Python's round: 1.5 becomes 2 and 2.5 becomes 2, as in the original's centre crop."""
    frame = torch.arange(12 + margin).to(torch.uint8).expand(3, 12, -1).permute(1, 2, 0)

    assert resize_frame(frame, (12, 12), "crop")[0, 0].tolist() == list(range(left, left + 12))


def test_a_crop_cuts_both_sides_alike_and_keeps_the_middle():
    """16:9 into a square: 16 * 16 / 9 = 28.4 columns, rounded up, then 16 of them."""
    cropped = resize_frame(ramp(90, 160), (16, 16), "crop")
    across, down = cropped[0, 8].float(), cropped[1, :, 8].float()

    assert across[0] > 40
    assert across[-1] < 215
    # Half a column of 29 off the middle, as the margin is odd.
    assert abs(across.mean() - 127.5) < 6
    assert down[0] < 10
    assert down[-1] > 240


def test_shrinking_averages_what_it_covers():
    """Without antialiasing, fine stripes would come out black or white."""
    stripes = torch.zeros(32, 32, 3, dtype=torch.uint8)
    stripes[:, ::2] = 255

    inner = resize_frame(stripes, (8, 8))[:, :, 1:-1].float()

    assert ((inner > 115) & (inner < 140)).all()


def test_a_clip_is_its_frames_one_by_one():
    frames = [torch.randint(0, 256, (9, 11, 3), dtype=torch.uint8) for _ in range(3)]

    clip = resize_clip(iter(frames), 3, (4, 6), "crop")

    for place, frame in enumerate(frames):
        assert clip[:, place].equal(resize_frame(frame, (4, 6), "crop"))

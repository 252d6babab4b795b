"""Colour drawn as sharp as brightness."""

import torch
from torch.nn import functional

from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.colour import follow_brightness


def sharp_and_coarse(slope, level, seed=0):
    """Pictures in which colour is slope * brightness + level, sharp, by cells and smooth."""
    brightness = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    brightness = functional.interpolate(functional.avg_pool2d(brightness, 4) * 4, (64, 64))
    axes = torch.cat([brightness, slope * brightness + level, -slope * brightness], 1)
    cells = functional.avg_pool2d(axes, 8)
    smooth = functional.interpolate(cells, (64, 64), mode="bilinear", align_corners=False)
    return axes, cells, smooth


def test_colour_that_is_a_line_in_brightness_becomes_sharp():
    """Not wholly: slopes are held back a little, for the sake of noise."""
    axes, cells, smooth = sharp_and_coarse(slope=0.5, level=0.2)
    picture = torch.cat([axes[:, :1], smooth[:, 1:]], dim=1)
    ours = follow_brightness(picture, smooth[:, :1], cells)

    assert torch.equal(ours[:, :1], axes[:, :1])
    assert (ours - axes).square().mean() < 0.03 * (picture - axes).square().mean()


def test_grey_stays_grey():
    axes, cells, smooth = sharp_and_coarse(slope=0.0, level=0.0)
    ours = follow_brightness(axes, smooth[:, :1], cells)

    torch.testing.assert_close(ours, axes, rtol=0, atol=1e-6)


def test_brightness_that_hardly_changes_adds_no_colour():
    """The slope of noise is no slope."""
    axes, cells, smooth = sharp_and_coarse(slope=0.0, level=0.0)
    noise = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    cells = 0.001 * torch.cat([cells[:, :1], noise], dim=1)
    picture = torch.cat([0.001 * axes[:, :1], axes[:, 1:]], dim=1)
    ours = follow_brightness(picture, 0.001 * smooth[:, :1], cells)

    torch.testing.assert_close(ours, picture, rtol=0, atol=1e-5)


def test_a_small_red_disc_on_grey_comes_back_without_a_halo():
    row, column = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    distance = torch.sqrt((row - 30) ** 2 + (column - 33) ** 2)
    inside = ((9 - distance) / 2 + 0.5).clamp(0, 1)
    red, grey = torch.tensor([0.7, -0.6, -0.6]), torch.tensor([0.1, 0.1, 0.1])
    picture = torch.lerp(grey[:, None, None], red[:, None, None], inside)[None, :, None]
    tokenizer = BuiltinTokenizer()
    again = tokenizer.decode(tokenizer.encode(picture))[0, :, 0]

    around = (distance > 12) & (distance < 20)
    redness = (again[0] - again[1])[around].abs()
    assert redness.mean() < 0.05
    assert (again[0] - again[1])[distance < 6].mean() > 1.1

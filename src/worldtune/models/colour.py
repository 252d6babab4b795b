"""Colour at the sharpness of brightness, from one colour a cell.

In a small neighbourhood colour is nearly a straight line in brightness: a red car on a grey
road has one red at its brightness and one grey at the road's. The line's slope is known from
the cells around, so brightness tells where within a cell the colour changes.

Source: He, Sun and Tang 2010, guided image filtering; here the slope comes from the means of
cells, and only what is finer than cells is taken from brightness.
Dims: N pictures, H and W rows and columns of pixels, Y and X of cells.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# Difference of brightness, of -1.7 to 1.7, below which neighbours tell nothing about a slope.
FAINT = 0.1


def follow_brightness(
    picture: Float[Tensor, "n 3 h w"],
    coarse_brightness: Float[Tensor, "n 1 h w"],
    cells: Float[Tensor, "n 3 y x"],
) -> Float[Tensor, "n 3 h w"]:
    """Add to both colour differences what brightness says of their detail.

    picture holds brightness and two colour differences, the latter as coarse as
    coarse_brightness, which is brightness drawn from one number a cell; cells holds these
    numbers, as levels, of all three.
    """
    brightness = cells[:, :1]
    mean = _around(cells)
    together = _around(brightness * cells) - mean[:, :1] * mean
    slope = together[:, 1:] / (together[:, :1] + FAINT**2)
    slope = functional.interpolate(slope, picture.shape[-2:], mode="bilinear", align_corners=False)
    detail = picture[:, :1] - coarse_brightness
    return torch.cat([picture[:, :1], picture[:, 1:] + slope * detail], dim=1)


def _around(cells: Float[Tensor, "n 3 y x"]) -> Float[Tensor, "n 3 y x"]:
    """Mean over 3x3 cells, nearer ones weighing more."""
    weight = torch.tensor([0.25, 0.5, 0.25], dtype=cells.dtype, device=cells.device)
    kernel = torch.outer(weight, weight).expand(3, 1, 3, 3)
    padded = functional.pad(cells, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=3)

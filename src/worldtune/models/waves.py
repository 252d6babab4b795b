"""A picture as a few cosine waves per 8x8 cell, and the likeliest picture of given waves.

Reading a cell is a product with cosine waves under a window 16 pixels wide, so neighbouring
cells overlap by half. Going back is linear too: the best linear estimate of a cell from the
waves of the 3x3 cells around it, for a picture of which one thing is known, that two of its
points are alike by exp(-distance / 32 pixels). The estimate knows no borders of cells, so it
shows none. Nothing here is fitted to pictures, and the length may be wrong: with 10 or 64
pixels clips come back 0.3 dB closer or 0.2 dB further.

At the frame's edge the picture goes on as its mirror image.

Source: windowed cosines as in Malvar's lapped transforms (1992); the estimate is Wiener's.
Dims: N pictures, K waves, H and W rows and columns of pixels, Y and X of cells.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CELL = 8
WINDOW = 16
OVERLAP = (WINDOW - CELL) // 2
REACH = 1  # cells on each side that the estimate looks at
CORRELATION_LENGTH = 32.0
# Share of a wave's variance that the estimate takes to be noise, a deviation of 3 %. Sampled
# waves are never exact. With 1e-4 clips come back 0.4 dB closer, but noise of 0.1 deviations
# in the waves costs 5 dB instead of 2 and shows as a grid.
NOISE = 1e-3
# Variance of the picture's level, in units of the variance about it: as good as unknown, so
# that an even picture comes back even.
LEVEL_VARIANCE = 100.0

Wave = tuple[int, int]  # half turns per cell, down and across


@dataclass(frozen=True)
class Kernels:
    """Windows that read waves from a picture, and pictures that waves add up to."""

    analysis: Float[Tensor, "k 16 16"]
    synthesis: Float[Tensor, "k 24 24"]
    deviation: Float[Tensor, " k"]  # of each wave, for a picture whose points deviate by 1


@cache
def make_kernels(waves: tuple[Wave, ...]) -> Kernels:
    """Work out the kernels of these waves, in float64, from the constants above."""
    analysis = _windowed(waves)
    cells = 2 * REACH + 1
    side = CELL * (cells - 1) + WINDOW
    # Every wave of every cell in reach, as a functional of the pixels they cover.
    placed = torch.zeros(len(waves), cells, cells, side, side, dtype=torch.float64)
    for row in range(cells):
        for column in range(cells):
            top, left = CELL * row, CELL * column
            placed[:, row, column, top : top + WINDOW, left : left + WINDOW] = analysis
    functionals = placed.reshape(len(waves) * cells * cells, side * side)

    from_pixels = functionals @ _likeness(side)
    covariance = from_pixels @ functionals.T
    variance = covariance.diagonal()
    level = functionals.sum(1)
    covariance = (
        covariance + torch.diag(NOISE * variance) + LEVEL_VARIANCE * torch.outer(level, level)
    )
    centre = slice(OVERLAP + CELL * REACH, OVERLAP + CELL * (REACH + 1))
    with_cell = from_pixels.reshape(-1, side, side)[:, centre, centre].reshape(-1, CELL * CELL)
    with_cell = with_cell + LEVEL_VARIANCE * level[:, None]
    share = torch.linalg.solve(covariance, with_cell)

    # share[k, row, column] is what the wave of the cell at (row, column) adds to the middle
    # cell; seen from the wave's own cell, the middle lies on the opposite side.
    share = share.reshape(len(waves), cells, cells, CELL, CELL).flip(1, 2)
    synthesis = share.transpose(2, 3).reshape(len(waves), cells * CELL, cells * CELL)
    middle = variance.reshape(len(waves), cells, cells)[:, REACH, REACH]
    return Kernels(analysis, synthesis, middle.sqrt())


def mirror_pixels(picture: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hh ww"]:
    """Add the mirror image of the outermost rows and columns, as wide as cells overlap."""
    rows = _mirror_places(picture.shape[2], OVERLAP)
    columns = _mirror_places(picture.shape[3], OVERLAP)
    return picture[:, :, rows][..., columns]


def mirror_cells(
    values: Float[Tensor, "n k y x"], waves: tuple[Wave, ...]
) -> Float[Tensor, "n k yy xx"]:
    """Add the cells of the mirror image, as many as the estimate reaches, on every side.

    A wave of an odd number of half turns changes its sign in the mirror.
    """
    odd = torch.tensor(waves, device=values.device) % 2 == 1
    for dim, odd_waves in ((2, odd[:, 0]), (3, odd[:, 1])):
        size = values.shape[dim]
        places = torch.arange(-2 * REACH, size + 2 * REACH, device=values.device)
        in_mirror = (places.div(size, rounding_mode="floor") % 2) == 1
        sign = 1 - 2 * (odd_waves[:, None] & in_mirror).to(values)
        values = values.index_select(dim, _mirror_places(size, 2 * REACH).to(values.device))
        values = values * (sign[:, :, None] if dim == 2 else sign[:, None, :])
    return values


def read_waves(
    picture: Float[Tensor, "n c h w"], kernels: Float[Tensor, "k c 16 16"]
) -> Float[Tensor, "n k y x"]:
    """Waves of every cell of the picture; h and w are multiples of 8."""
    return functional.conv2d(mirror_pixels(picture), kernels, stride=CELL)


def draw_picture(
    values: Float[Tensor, "n k y x"],
    kernels: Float[Tensor, "k c 24 24"],
    waves: tuple[Wave, ...],
) -> Float[Tensor, "n c h w"]:
    """Give the likeliest picture of which these are the waves."""
    picture = functional.conv_transpose2d(mirror_cells(values, waves), kernels, stride=CELL)
    # The cells of the mirror, and as much again that their kernels reach beyond them.
    around = CELL * 3 * REACH
    return picture[:, :, around:-around, around:-around]


def _windowed(waves: tuple[Wave, ...]) -> Float[Tensor, "k 16 16"]:
    place = torch.arange(WINDOW, dtype=torch.float64) - OVERLAP + 0.5
    window = torch.cos(math.pi * (place - CELL / 2) / WINDOW) ** 2
    turns = torch.arange(1 + max(max(wave) for wave in waves), dtype=torch.float64)[:, None]
    rows = torch.cos(math.pi * turns * place / CELL) * window
    rows = rows / rows.norm(dim=1, keepdim=True)
    return torch.stack([torch.outer(rows[down], rows[across]) for down, across in waves])


def _likeness(side: int) -> Float[Tensor, "p p"]:
    """Correlation of every two pixels of a square."""
    places = torch.arange(side, dtype=torch.float64)
    points = torch.cartesian_prod(places, places)
    return torch.exp(-torch.cdist(points, points) / CORRELATION_LENGTH)


def _mirror_places(size: int, more: int) -> Tensor:
    """Indices -more ... size + more - 1 of a line that goes on as its mirror image."""
    places = torch.arange(-more, size + more) % (2 * size)
    return torch.minimum(places, 2 * size - 1 - places)

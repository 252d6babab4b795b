"""Frames between two pictures, made by following what moves from one to the other.

For every point of the middle frame the motion is the shift by which the two pictures agree
best around it: half of it back leads into the first, half of it on into the last. It is
searched wide on small pictures, then refined by one pixel each time they double. Where
nothing agrees the result is a blend, as it is where nothing moves.

Dims: N pairs, H and W rows and columns; a motion's two channels are pixels across and down.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# The first search is on pictures of at most this many rows or columns, by up to SEARCH
# pixels each way: 16 pixels of a picture of 128 rows.
SMALLEST = 32
SEARCH = 4
# Points that are compared lie in a square of this side.
PATCH = 7
# Cost of a motion that differs from its neighbours' by one pixel of the full picture, in
# brightness of -1 to 1: less than texture, more than noise.
UNEVENNESS = 0.0025


def frames_between(
    first: Float[Tensor, "n 3 h w"], last: Float[Tensor, "n 3 h w"], count: int
) -> Float[Tensor, "n 3 count h w"]:
    """Give the `count` evenly spaced frames between first and last, RGB in -1 to 1."""
    motion = find_motion(first.mean(1, keepdim=True), last.mean(1, keepdim=True))
    frames = []
    for index in range(count):
        share = (index + 1) / (count + 1)
        from_first = _shift(first, -share * motion)
        from_last = _shift(last, (1 - share) * motion)
        frames.append(torch.lerp(from_first, from_last, share))
    return torch.stack(frames, dim=2)


def find_motion(
    first: Float[Tensor, "n 1 h w"], last: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, "n 2 h w"]:
    """Motion from first to last, in pixels, at every point of the frame halfway.

    It is found on pictures of half the size, or on these where they are small.
    """
    sizes = [(first, last)]
    while min(sizes[-1][0].shape[-2:]) > SMALLEST:
        sizes.append((_halve(sizes[-1][0]), _halve(sizes[-1][1])))
    smallest = len(sizes) - 1
    motion = first.new_zeros(len(first), 2, *sizes[smallest][0].shape[-2:])
    for level in range(smallest, min(1, smallest) - 1, -1):
        small_first, small_last = sizes[level]
        if level < smallest:
            motion = 2 * functional.interpolate(motion, small_first.shape[-2:], mode="nearest")
        reach = SEARCH if level == smallest else 1
        motion = _best_motion(small_first, small_last, motion, reach, UNEVENNESS * 2**level)
    scale = first.shape[-1] / motion.shape[-1]
    return scale * functional.interpolate(
        motion, first.shape[-2:], mode="bilinear", align_corners=False
    )


def _best_motion(
    first: Float[Tensor, "n 1 h w"],
    last: Float[Tensor, "n 1 h w"],
    motion: Float[Tensor, "n 2 h w"],
    reach: int,
    unevenness: float,
) -> Float[Tensor, "n 2 h w"]:
    """Of the motions within reach pixels of this one, the best at every point."""
    steps = torch.arange(-reach, reach + 1, device=motion.device, dtype=motion.dtype)
    offsets = torch.cartesian_prod(steps, steps)[:, None, :, None, None]
    candidates = motion + offsets
    choices, pairs = candidates.shape[:2]
    shifts = candidates.flatten(0, 1) / 2
    difference = _shift(first.repeat(choices, 1, 1, 1), -shifts) - _shift(
        last.repeat(choices, 1, 1, 1), shifts
    )
    cost = _around(difference.abs(), PATCH).unflatten(0, (choices, pairs))
    uneven = (candidates - _around(motion, 3)).abs().sum(2, keepdim=True)
    best = (cost + unevenness * uneven).argmin(0, keepdim=True)
    return candidates.gather(0, best.expand(-1, -1, 2, -1, -1))[0]


def _shift(
    picture: Float[Tensor, "n c h w"], motion: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, "n c h w"]:
    """Read the picture, at every point, where its motion leads; edges go on beyond the frame."""
    height, width = picture.shape[-2:]
    column = torch.arange(width, device=picture.device, dtype=picture.dtype) + 0.5
    row = torch.arange(height, device=picture.device, dtype=picture.dtype)[:, None] + 0.5
    across = (column + motion[:, 0]) * (2 / width) - 1
    down = (row + motion[:, 1]) * (2 / height) - 1
    places = torch.stack([across, down], dim=-1)
    return functional.grid_sample(
        picture, places, mode="bilinear", padding_mode="border", align_corners=False
    )


def _halve(picture: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hh ww"]:
    height, width = picture.shape[-2:]
    return functional.interpolate(picture, ((height + 1) // 2, (width + 1) // 2), mode="area")


def _around(values: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c h w"]:
    """Mean over the square around every point."""
    padded = functional.pad(values, (side // 2,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, side, stride=1)

"""Frames to the size the recipe asks for.

"stretch" is what Cosmos-Predict2 trains with: straight to the size, whatever becomes of the
aspect ratio. "crop" is what it does to a conditioning image: scale until the size is covered,
then cut the middle out.
"""

from collections.abc import Iterable
from math import ceil
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate

Resize = Literal["stretch", "crop"]


def resize_frame(
    frame_HWC: UInt8[Tensor, "_ _ 3"], size: tuple[int, int], how: Resize = "stretch"
) -> UInt8[Tensor, "3 h w"]:
    """Bring one frame to (height, width): bilinear with antialiasing, in float32.

    The result is truncated, not rounded, as in the original: uint8 kernels and rounding both
    change most pixels by 1. A frame that has the size already is given back, not copied.

    Source: the resize and the centre crop of Cosmos-Predict2's dataset and image conditioning.
    """
    height, width = size
    frame = frame_HWC.permute(2, 0, 1)
    if frame.shape[1:] == size:
        return frame
    scaled = _covering(frame.shape[1], frame.shape[2], size) if how == "crop" else size
    unit = frame[None].to(torch.float32).div_(255)
    if unit.shape[2:] != scaled:
        unit = interpolate(unit, size=scaled, mode="bilinear", antialias=True)
    top, left = (round((have - want) / 2) for have, want in zip(scaled, size, strict=True))
    cut = unit[0, :, top : top + height, left : left + width]
    return cut.mul(255).clamp_(0, 255).to(torch.uint8)


def _covering(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size after scaling until both sides cover the wanted ones, rounded up."""
    scale = max(size[1] / width, size[0] / height)
    return ceil(scale * height), ceil(scale * width)


def resize_clip(
    frames: Iterable[UInt8[Tensor, "_ _ 3"]], count: int, size: tuple[int, int], how: Resize
) -> UInt8[Tensor, "3 t h w"]:
    """Bring count frames, uint8 [h, w, 3], to one size, one at a time.

    Frame by frame: a 720p clip of 93 frames would be 1 GB in float32.
    """
    clip = torch.empty(3, count, *size, dtype=torch.uint8)
    for place, frame in zip(range(count), frames, strict=True):
        clip[:, place] = resize_frame(frame, size, how)
    return clip

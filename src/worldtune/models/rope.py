"""Rotary positions of a token grid: angles in float32, and turning heads by them.

Tokens are ordered frame, row, column (column fastest). The pairs of a head are split
among the three axes; each axis has its own stretch of the wave lengths. Element j of a
head is paired with element j + head_dim / 2.

Legend: B batch, L tokens, S heads, D channels of a head, P pairs of a head (D / 2).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

from worldtune.models.config import TransformerConfig
from worldtune.models.norms import at_least_float32

WAVE_BASE = 10_000.0
# Frame rate at which a network with frame-rate modulation counts frames one by one.
BASE_FPS = 24.0


class Rotation(NamedTuple):
    """Cosine and sine of each token's angles, float32; one set for all samples or one each."""

    cos: Float[Tensor, "*b l p"]
    sin: Float[Tensor, "*b l p"]


def split_head_dim(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that follow (time, rows, columns); 128 gives 44, 42, 42."""
    spatial = head_dim // 6 * 2
    return head_dim - 2 * spatial, spatial, spatial


def frequencies(channels: int, ratio: float, device: torch.device) -> Float[Tensor, "p"]:
    """Radians per step along one axis; a ratio above 1 stretches the waves.

    Source: the "NTK-aware" scaling of RoPE, base * ratio^(d / (d - 2)).
    """
    base = WAVE_BASE if ratio == 1.0 else WAVE_BASE * ratio ** (channels / (channels - 2))
    exponent = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
    return 1.0 / base**exponent


def angles(
    config: TransformerConfig,
    frames: Float[Tensor, "*b t"],
    num_rows: int,
    num_columns: int,
) -> Float[Tensor, "*b l p"]:
    """Angle of every token and pair, in radians: time, then rows, then columns.

    `frames` numbers the frames in float32; with frame-rate modulation these are fractions
    and may differ between samples.
    """
    device = frames.device
    dims = split_head_dim(config.head_dim)
    ratios = (config.rope_ratio_t, config.rope_ratio_h, config.rope_ratio_w)
    wave_t, wave_h, wave_w = (
        frequencies(dim, ratio, device) for dim, ratio in zip(dims, ratios, strict=True)
    )
    rows = torch.arange(num_rows, dtype=torch.float32, device=device)
    columns = torch.arange(num_columns, dtype=torch.float32, device=device)

    grid = (*frames.shape, num_rows, num_columns, -1)
    parts = (
        (frames[..., None] * wave_t)[..., :, None, None, :].expand(grid),
        (rows[:, None] * wave_h)[:, None, :].expand(grid),
        (columns[:, None] * wave_w).expand(grid),
    )
    return torch.cat(parts, dim=-1).flatten(-4, -2)


def frame_numbers(
    start: int, stop: int, fps: Float[Tensor, "b"] | None, device: torch.device
) -> Float[Tensor, "*b t"]:
    """Positions in time of frames start to stop; at 24 / fps a step if fps is given."""
    frames = torch.arange(start, stop, dtype=torch.float32, device=device)
    if fps is None:
        return frames
    return frames / fps[:, None].to(device, torch.float32) * BASE_FPS


def rotate(x_BLSD: Float[Tensor, "b l s d"], rotation: Rotation) -> Float[Tensor, "b l s d"]:
    """Turn every pair of every head by its token's angle; the dtype stays.

    The arithmetic is float32 whatever the dtype, and the result is rounded once.
    """
    return _Rotate.apply(x_BLSD, rotation.cos[..., None, :], rotation.sin[..., None, :])


class _Rotate(Function):
    """A rotation's transpose is the rotation back, so nothing of the input is kept."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(gradients[0], cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Both halves of the heads times cos, then crosswise times sin, in three passes."""
    wide = x.to(at_least_float32(x))
    first, second = wide.chunk(2, dim=-1)
    turned = wide.unflatten(-1, (2, -1)) * cos.unsqueeze(-2)
    turned[..., 0, :].addcmul_(second, sin, value=-1)
    turned[..., 1, :].addcmul_(first, sin)
    return turned.flatten(-2).to(x.dtype)

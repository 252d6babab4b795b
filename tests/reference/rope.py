"""Rotary positions, one number at a time, in float64."""

import math

import torch
from torch import Tensor


def angles(
    head_dim: int,
    grid: tuple[int, int, int],
    ratios: tuple[float, float, float],
    fps: float | None = None,
) -> Tensor:
    """[frames * rows * columns, head_dim / 2]; ratios are those of time, rows, columns."""
    spatial = 2 * math.floor(head_dim / 6)
    dims = (head_dim - 2 * spatial, spatial, spatial)
    rows: list[list[float]] = []
    for frame in range(grid[0]):
        for row in range(grid[1]):
            for column in range(grid[2]):
                time = frame if fps is None else frame * 24.0 / fps
                token: list[float] = []
                for place, dim, ratio in zip((time, row, column), dims, ratios, strict=True):
                    base = 10000.0 * ratio ** (dim / (dim - 2))
                    token += [place * base ** (-2 * k / dim) for k in range(dim // 2)]
                rows.append(token)
    return torch.tensor(rows, dtype=torch.float64)


def rotate(heads: Tensor, angle: Tensor) -> Tensor:
    """Turn [tokens, head_dim] by [tokens, head_dim / 2]: element j with j + head_dim / 2."""
    out = heads.double().clone()
    half = heads.shape[-1] // 2
    for token in range(heads.shape[0]):
        for j in range(half):
            a, b = heads[token, j].item(), heads[token, j + half].item()
            c, s = math.cos(angle[token, j].item()), math.sin(angle[token, j].item())
            out[token, j], out[token, j + half] = a * c - b * s, a * s + b * c
    return out

"""Where the tokens of a grid are: one object per network, read by every block.

Positions depend on the grid, not on the weights' dtype: angles are float32. Cameras share
them: those of one camera repeat for each. When the frames are cut over several processes,
each process has the same piece of every camera, so a piece's positions are a slice.

Legend: V cameras, T frames of one camera, H rows, W columns of tokens, D width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.rope import Rotation, angles, frame_numbers, split_head_dim

# Grids whose rotation is kept: those of training and of sampling. At 84 thousand tokens
# one takes 43 MB.
KEPT_ROTATIONS = 2


@dataclass(frozen=True)
class FrameShare:
    """The piece of every camera's frames that this process holds, in frames of tokens.

    It begins at frame `first`; the whole is `total` frames long, None where all are held.
    """

    first: int = 0
    total: int | None = None

    def span(self, held: int) -> tuple[int, int]:
        """First and last (exclusive) frame of a piece that is `held` long."""
        return self.first, self.first + held


def check_grid(config: TransformerConfig, frames: int, rows: int, columns: int) -> None:
    """Refuse a token grid that has no positions; RecipeError tells every axis at once."""
    sizes = zip(("frames", "rows", "columns"), (frames, rows, columns), strict=True)
    limits = zip(sizes, config.max_grid, strict=True)
    beyond = [
        f"{size} {axis} of tokens are more than the {most} that have positions"
        for (axis, size), most in limits
        if size > most
    ]
    if beyond:
        raise RecipeError(
            "; ".join(beyond) + ". Use fewer frames or a smaller video, or a network with "
            "larger max_frames, max_img_h, max_img_w."
        )


class Rotations:
    """Cosines and sines for a grid, made once and kept."""

    def __init__(self, config: TransformerConfig) -> None:
        """The network's sizes and switches."""
        self.config = config
        self._kept: dict[tuple, Rotation] = {}

    def __call__(
        self,
        grid: tuple[int, int, int],
        fps: Float[Tensor, "b"] | None,
        share: FrameShare,
        device: torch.device,
    ) -> Rotation:
        """Rotation of all tokens: `grid` is one camera's (frames, rows, columns) held here.

        Frame rates count only for a network with frame-rate modulation; where the samples'
        rates differ, each sample has its own angles.
        """
        rates = self._rates(fps)
        key = (grid, rates, share, device)
        if key not in self._kept:
            while len(self._kept) >= KEPT_ROTATIONS:
                self._kept.pop(next(iter(self._kept)))
            # What is made while sampling must serve training too.
            with torch.inference_mode(False), torch.no_grad():
                self._kept[key] = self._make(grid, rates, share, device)
        return self._kept[key]

    def _rates(self, fps: Tensor | None) -> tuple[float, ...] | None:
        if not self.config.rope_fps_modulation:
            return None
        if fps is None:
            raise RecipeError(
                "this network counts time at the clip's frame rate, but no fps was given; "
                "pass the frames per second of every sample."
            )
        rates = tuple(fps.tolist())
        if not all(rate > 0 for rate in rates):
            raise RecipeError(f"fps is {list(rates)}; every frame rate must be more than 0.")
        return rates[:1] if len(set(rates)) == 1 else rates

    def _make(
        self,
        grid: tuple[int, int, int],
        rates: tuple[float, ...] | None,
        share: FrameShare,
        device: torch.device,
    ) -> Rotation:
        held, rows, columns = grid
        fps = None if rates is None else torch.tensor(rates, device=device)
        frames = frame_numbers(*share.span(held), fps, device)
        if rates is not None and len(rates) == 1:
            frames = frames[0]
        frames = frames.repeat(*(1,) * (frames.ndim - 1), self.config.num_views)
        angle = angles(self.config, frames, rows, columns)
        return Rotation(angle.cos(), angle.sin())


class LearnedTable(nn.Module):
    """A vector for each frame, row and column; their sum, brought to unit root mean square."""

    def __init__(self, config: TransformerConfig) -> None:
        """As long on each axis as the largest grid."""
        super().__init__()
        frames, rows, columns = config.max_grid
        self.pos_emb_h = nn.Parameter(torch.empty(rows, config.model_channels))
        self.pos_emb_w = nn.Parameter(torch.empty(columns, config.model_channels))
        self.pos_emb_t = nn.Parameter(torch.empty(frames, config.model_channels))

    def forward(self, grid: tuple[int, int, int], share: FrameShare) -> Float[Tensor, "t h w d"]:
        """The table of one camera's grid."""
        (start, stop), rows, columns = share.span(grid[0]), grid[1], grid[2]
        table = (
            self.pos_emb_t[start:stop, None, None]
            + self.pos_emb_h[:rows, None]
            + self.pos_emb_w[:columns]
        )
        size = torch.linalg.vector_norm(table, dim=-1, keepdim=True, dtype=torch.float32)
        size = size * table.shape[-1] ** -0.5
        return table / (1e-6 + size).to(table.dtype)


def sincos_axis(positions: Float[Tensor, "n"], channels: int) -> Float[Tensor, "n d"]:
    """Sines, then cosines, of waves from 1 to 10000 long."""
    half = channels // 2
    step = torch.arange(half, dtype=torch.float64, device=positions.device) / half
    angle = positions[:, None].double() * 10_000.0**-step
    return torch.cat((angle.sin(), angle.cos()), dim=-1).float()


def sincos_table(
    channels: int, grid: tuple[int, int, int], share: FrameShare, device: torch.device
) -> Float[Tensor, "t h w d"]:
    """A fixed table: channels for time, rows and columns side by side, not normalised."""
    held, rows, columns = grid
    dims = split_head_dim(channels)
    start, stop = share.span(held)
    axes = (
        torch.arange(start, stop, device=device, dtype=torch.float32),
        torch.arange(rows, device=device, dtype=torch.float32),
        torch.arange(columns, device=device, dtype=torch.float32),
    )
    t, h, w = (sincos_axis(axis, dim) for axis, dim in zip(axes, dims, strict=True))
    parts = (t[:, None, None], h[:, None], w)
    return torch.cat([part.expand(*grid, -1) for part in parts], dim=-1)

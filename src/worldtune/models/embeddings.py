"""Into and out of the width of the network: channels, patches, time, cameras.

Legend: B batch, C channels, T frames, H rows, W columns (lower case: in tokens),
D width of the network, V cameras.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldtune.models.config import TransformerConfig

LONGEST_WAVE = 10_000.0


class Patches(nn.Module):
    """Cut into patches; a patch is ordered channel, time, row, column (column fastest)."""

    def __init__(self, spatial: int, temporal: int) -> None:
        """Sides of a patch, in latents."""
        super().__init__()
        self.spatial, self.temporal = spatial, temporal

    def forward(self, x_BCTHW: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b pt ph pw p"]:
        """Move what lies in a patch behind the grid of patches."""
        t, s = self.temporal, self.spatial
        cut = x_BCTHW.unflatten(4, (-1, s)).unflatten(3, (-1, s)).unflatten(2, (-1, t))
        # now b, c, grid t, in t, grid h, in h, grid w, in w
        return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


class PatchEmbedder(nn.Module):
    """Patches, each projected to the width of the network."""

    def __init__(self, config: TransformerConfig, channels: int) -> None:
        """`channels` are those of the stacked input."""
        super().__init__()
        self.proj = nn.Sequential(
            Patches(config.patch_spatial, config.patch_temporal),
            nn.Linear(channels * config.patch_volume, config.model_channels, bias=False),
        )

    def forward(self, x_BCTHW: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b pt ph pw d"]:
        """Tokens on their grid."""
        return self.proj(x_BCTHW)


def unpatch(
    x_BthwP: Float[Tensor, "b t h w p"], spatial: int, temporal: int
) -> Float[Tensor, "b c pt ph pw"]:
    """Put patches together; here a patch is ordered row, column, time, channel."""
    batch, t, h, w, _ = x_BthwP.shape
    cut = x_BthwP.unflatten(4, (spatial, spatial, temporal, -1))
    # b, grid t, grid h, grid w, in h, in w, in t, c
    ordered = cut.permute(0, 7, 1, 6, 2, 4, 3, 5)
    # One copy, not a view: FSDP hangs its hooks on what the network returns.
    return ordered.reshape(batch, -1, t * temporal, h * spatial, w * spatial)


class Sinusoid(nn.Module):
    """A number as cosines, then sines, of waves from 1 to 10000 long; float32."""

    def __init__(self, channels: int) -> None:
        """An even number of channels: half cosines, half sines."""
        super().__init__()
        self.channels = channels

    def forward(self, time_BT: Float[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Waves in the order of their length."""
        half = self.channels // 2
        step = torch.arange(half, dtype=torch.float32, device=time_BT.device) / half
        angle = time_BT.float()[..., None] * torch.exp(-math.log(LONGEST_WAVE) * step)
        return torch.cat((angle.cos(), angle.sin()), dim=-1)


class TimeOffsets(nn.Module):
    """What every block adds to its shift, scale and gate."""

    def __init__(self, channels: int) -> None:
        """`channels` are the width of the network."""
        super().__init__()
        self.linear_1 = nn.Linear(channels, channels, bias=False)
        self.linear_2 = nn.Linear(channels, 3 * channels, bias=False)

    def forward(self, wave_BTD: Float[Tensor, "b t d"]) -> Float[Tensor, "b t e"]:
        """Three times the width."""
        return self.linear_2(nn.functional.silu(self.linear_1(wave_BTD)))


class TimeEmbedder(nn.Sequential):
    """The time as waves, and the offsets made of them."""

    def __init__(self, channels: int) -> None:
        """`channels` are the width of the network."""
        super().__init__(Sinusoid(channels), TimeOffsets(channels))

    # Sequential for the names of its weights only.
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, time_BT: Float[Tensor, "b t"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t e"]]:
        """Waves and offsets in the given dtype; the time itself is used in float32."""
        wave_BTD = self[0](time_BT).to(dtype)
        return wave_BTD, self[1](wave_BTD)


def nearest_resize(
    mask_B1HW: Float[Tensor, "b 1 hp wp"], rows: int, columns: int
) -> Float[Tensor, "b 1 h w"]:
    """The first pixel of each cell: index floor(i * Hp / H), as torch's `nearest`."""
    return nn.functional.interpolate(mask_B1HW.float(), size=(rows, columns), mode="nearest")


def view_embedding(
    rows: nn.Embedding,
    repeat: nn.Linear | None,
    view_indices_BT: Int[Tensor, "b t"],
    frame_repeat_BV: Float[Tensor, "b v"],
) -> Float[Tensor, "b c t"]:
    """Channels that tell the cameras apart, one vector a frame.

    An index beyond the table's last row takes the last row. `frame_repeat` is one number
    per camera, already divided by 10; it passes through a linear layer of its own.
    """
    vectors_BTC = rows(view_indices_BT.clamp(max=rows.num_embeddings - 1))
    if repeat is not None:
        per_view_BVC = repeat(frame_repeat_BV[..., None].to(vectors_BTC.dtype))
        frames = view_indices_BT.shape[1] // frame_repeat_BV.shape[1]
        vectors_BTC = vectors_BTC + per_view_BVC.repeat_interleave(frames, dim=1)
    return vectors_BTC.transpose(1, 2)

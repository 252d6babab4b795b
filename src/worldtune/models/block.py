"""One block: self attention, cross attention, MLP, each modulated by the frame's time.

Legend: B batch, T frames, H rows and W columns of tokens, D channels, N text tokens,
V cameras, L tokens of a sample.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldtune.models.attention import Attention
from worldtune.models.config import TransformerConfig
from worldtune.models.norms import EPSILON
from worldtune.models.rope import Rotation


def modulation(channels: int, inner: int, parts: int) -> nn.Sequential:
    """Two low-rank linear layers from the time to shift, scale (and gate)."""
    return nn.Sequential(
        nn.SiLU(),
        nn.Linear(channels, inner, bias=False),
        nn.Linear(inner, parts * channels, bias=False),
    )


def per_frame(values_BTD: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Cut into shift, scale, ..., each [B,T,1,1,D].

    Kept per frame and broadcast: laid out per token they would be as large as the video.
    """
    return values_BTD[:, :, None, None, :].chunk(parts, dim=-1)


def modulated_norm(
    x_BTHWD: Float[Tensor, "b t h w d"], shift: Tensor, scale: Tensor
) -> Float[Tensor, "b t h w d"]:
    """Layer norm without weights, then scaled and shifted frame by frame."""
    normal = nn.functional.layer_norm(x_BTHWD, x_BTHWD.shape[-1:], eps=EPSILON)
    return torch.addcmul(shift, normal, 1 + scale)


class FeedForward(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, channels: int, inner: int) -> None:
        """`inner` is the width between the two layers."""
        super().__init__()
        self.layer1 = nn.Linear(channels, inner, bias=False)
        self.layer2 = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Float[Tensor, "*any d"]) -> Float[Tensor, "*any d"]:
        """Widen, bend, narrow."""
        return self.layer2(nn.functional.gelu(self.layer1(x)))


class Block(nn.Module):
    """A block of the transformer. It knows neither of control nor of cameras."""

    def __init__(self, config: TransformerConfig) -> None:
        """Three parts and their modulations."""
        super().__init__()
        width, inner = config.model_channels, config.adaln_lora_dim
        self.self_attn = Attention(width, width, config.head_dim)
        self.cross_attn = Attention(width, config.text_channels, config.head_dim)
        self.mlp = FeedForward(width, config.mlp_channels)
        self.adaln_modulation_self_attn = modulation(width, inner, 3)
        self.adaln_modulation_cross_attn = modulation(width, inner, 3)
        self.adaln_modulation_mlp = modulation(width, inner, 3)

    def forward(
        self,
        x_BTHWD: Float[Tensor, "b t h w d"],
        time_BTD: Float[Tensor, "b t_or_1 d"],
        offsets_BTE: Float[Tensor, "b t_or_1 e"],
        text_BND: Float[Tensor, "bv n c"],
        rotation: Rotation,
    ) -> Float[Tensor, "b t h w d"]:
        """Three residual steps.

        `time_BTD` is the normalised time, `offsets_BTE` (E = 3 D) what all blocks add to
        their modulation. The text's batch may be V times the video's: then each V-th of
        the tokens, one camera's, meets its own caption.
        """
        grid = x_BTHWD.shape

        shift, scale, gate = per_frame(self.adaln_modulation_self_attn(time_BTD) + offsets_BTE, 3)
        y_BLD = modulated_norm(x_BTHWD, shift, scale).flatten(1, 3)
        y_BLD = self.self_attn(y_BLD, y_BLD, rotation)
        x_BTHWD = torch.addcmul(x_BTHWD, gate, y_BLD.view(grid))

        shift, scale, gate = per_frame(self.adaln_modulation_cross_attn(time_BTD) + offsets_BTE, 3)
        y_BLD = modulated_norm(x_BTHWD, shift, scale).reshape(len(text_BND), -1, grid[-1])
        y_BLD = self.cross_attn(y_BLD, text_BND)
        x_BTHWD = torch.addcmul(x_BTHWD, gate, y_BLD.view(grid))

        shift, scale, gate = per_frame(self.adaln_modulation_mlp(time_BTD) + offsets_BTE, 3)
        y_BTHWD = self.mlp(modulated_norm(x_BTHWD, shift, scale))
        return torch.addcmul(x_BTHWD, gate, y_BTHWD)


class FinalLayer(nn.Module):
    """From tokens to the values of their patches."""

    def __init__(self, config: TransformerConfig) -> None:
        """As many values as a patch of the output has."""
        super().__init__()
        width = config.model_channels
        self.adaln_modulation = modulation(width, config.adaln_lora_dim, 2)
        self.linear = nn.Linear(width, config.patch_volume * config.out_channels, bias=False)

    def forward(
        self,
        x_BTHWD: Float[Tensor, "b t h w d"],
        time_BTD: Float[Tensor, "b t_or_1 d"],
        offsets_BTE: Float[Tensor, "b t_or_1 e"],
    ) -> Float[Tensor, "b t h w p"]:
        """Norm and modulate once more (by the first 2 D offsets), then project."""
        offsets = offsets_BTE[..., : 2 * x_BTHWD.shape[-1]]
        shift, scale = per_frame(self.adaln_modulation(time_BTD) + offsets, 2)
        return self.linear(modulated_norm(x_BTHWD, shift, scale))

"""Networks from their settings, on any device."""

import math
from dataclasses import replace

import torch
from torch import nn

from worldtune.config.network import NetworkSettings, TransformerSettings
from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.control import ControlBranch
from worldtune.models.initialise import initialise
from worldtune.models.transformer import Transformer


def transformer_config(
    net: NetworkSettings, *, text_input_channels: int | None = None
) -> TransformerConfig:
    """Sizes and switches of a Predict2 network, from its settings.

    The network adds the channel of the condition mask to `in_channels` itself.
    `text_input_channels` is the width that the text encoder yields where this is not
    `crossattn_emb_channels`; it adds a projection. Raises RecipeError for what the
    published network has no weights for.
    """
    if not net.use_adaln_lora:
        raise RecipeError(
            "use_adaln_lora is False; the network exists with low-rank modulation only. "
            "Leave it True."
        )
    return replace(
        shared_config(net),
        text_input_channels=text_input_channels,
        latent_channels=net.in_channels,
        condition_mask=True,
        rope_fps_modulation=net.rope_enable_fps_modulation,
        position_table="learned" if net.extra_per_block_abs_pos_emb else "none",
        family="predict2",
    )


def shared_config(net: TransformerSettings) -> TransformerConfig:
    """What the settings of all families say alike; the rest is left at its default."""
    return TransformerConfig(
        model_channels=net.model_channels,
        num_blocks=net.num_blocks,
        num_heads=net.num_heads,
        mlp_ratio=net.mlp_ratio,
        text_channels=net.crossattn_emb_channels,
        adaln_lora_dim=net.adaln_lora_dim,
        latent_channels=net.out_channels,
        out_channels=net.out_channels,
        patch_spatial=net.patch_spatial,
        patch_temporal=net.patch_temporal,
        max_img_h=net.max_img_h,
        max_img_w=net.max_img_w,
        max_frames=net.max_frames,
        padding_mask=net.concat_padding_mask,
        rope_ratio_h=net.rope_h_extrapolation_ratio,
        rope_ratio_w=net.rope_w_extrapolation_ratio,
        rope_ratio_t=net.rope_t_extrapolation_ratio,
    )


def build(
    config: TransformerConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int | None = None,
) -> Transformer:
    """A transformer with weights drawn from the seed.

    Without a seed every weight is NaN until a file is loaded, so that what was not loaded
    shows. On the device `meta` there are names, shapes and dtypes only.
    """
    with torch.device("meta"):
        model = Transformer(config)
    fill(model, config, device=device, dtype=dtype, seed=seed)
    return model


def build_branch(
    config: TransformerConfig,
    *,
    num_control_blocks: int,
    hint_channels: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int | None = None,
) -> ControlBranch:
    """A control branch for a base of these sizes; weights as `build` makes them.

    To start it as its base, call `copy_from_base` once the base has its weights.
    """
    with torch.device("meta"):
        branch = ControlBranch(config, num_control_blocks, hint_channels)
    fill(branch, config, device=device, dtype=dtype, seed=seed)
    return branch


def fill(
    model: nn.Module,
    config: TransformerConfig,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int | None,
) -> None:
    """Give a network made on `meta` its memory, dtype and first weights."""
    model.to(dtype)
    if torch.device(device).type == "meta":
        return
    model.to_empty(device=device)
    if seed is not None:
        initialise(model, config.family, seed)
        return
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(math.nan)

"""The tiny networks of the golden vectors, with the weights stored there."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from worldtune.checkpoint.names import Kind, NameTable
from worldtune.models.config import TransformerConfig


def predict2_config(sizes: dict[str, Any]) -> TransformerConfig:
    """From Predict2's `config.json`."""
    return TransformerConfig(
        model_channels=sizes["model_channels"],
        num_blocks=sizes["num_blocks"],
        num_heads=sizes["num_heads"],
        mlp_ratio=sizes["mlp_ratio"],
        text_channels=sizes["crossattn_emb_channels"],
        adaln_lora_dim=sizes["adaln_lora_dim"],
        latent_channels=sizes["in_channels"],
        out_channels=sizes["out_channels"],
        patch_spatial=sizes["patch_spatial"],
        patch_temporal=sizes["patch_temporal"],
        max_img_h=sizes["max_img_h"],
        max_img_w=sizes["max_img_w"],
        max_frames=sizes["max_frames"],
        condition_mask=True,
        padding_mask=sizes["concat_padding_mask"],
        rope_ratio_h=sizes["rope_h"],
        rope_ratio_w=sizes["rope_w"],
        rope_ratio_t=sizes["rope_t"],
        family="predict2",
    )


def single_view_config(sizes: dict[str, Any]) -> TransformerConfig:
    """From the `config` of Transfer1's `manifest.json`: one camera."""
    return TransformerConfig(
        model_channels=sizes["model_channels"],
        num_blocks=sizes["num_blocks"],
        num_heads=sizes["num_heads"],
        mlp_ratio=sizes["mlp_ratio"],
        text_channels=sizes["crossattn_emb_channels"],
        adaln_lora_dim=sizes["adaln_lora_dim"],
        latent_channels=sizes["in_channels"],
        out_channels=sizes["out_channels"],
        patch_spatial=sizes["patch_spatial"],
        patch_temporal=sizes["patch_temporal"],
        max_img_h=sizes["max_img_h"],
        max_img_w=sizes["max_img_w"],
        max_frames=sizes["max_frames"],
        padding_mask=sizes["concat_padding_mask"],
        rope_fps_modulation=True,
        position_table="learned",
        family="transfer1",
    )


def multi_view_config(sizes: dict[str, Any]) -> TransformerConfig:
    """From the same: several cameras."""
    return replace(
        single_view_config(sizes),
        condition_mask=True,
        view_channels=sizes["view_condition_dim"],
        num_view_embeddings=sizes["n_views_emb"],
        repeat_frame_embedding=True,
        num_views=sizes["n_views"],
        position_table="sincos",
    )


def load_network(model: nn.Module, entries: dict[str, Tensor], table: NameTable) -> None:
    """Fill a network strictly from a file's entries; every entry must be accounted for."""
    weights: dict[str, Tensor] = {}
    for name, tensor in entries.items():
        bare = name.removeprefix("net.")
        kind = table.kind(bare)
        assert kind is not Kind.UNKNOWN, name
        module = table.to_module(bare)
        if module is not None:
            weights[module] = tensor
    model.load_state_dict(weights, strict=True)

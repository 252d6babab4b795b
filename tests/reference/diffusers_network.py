"""The same networks in diffusers: a second reference, and the one to be faster than."""

import re
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from worldtune.models.config import TransformerConfig

# Our names, as patterns, and diffusers' names.
_RENAMES = (
    (r"^x_embedder\.proj\.1\.", "patch_embed.proj."),
    (r"^t_embedder\.1\.", "time_embed.t_embedder."),
    (r"^t_embedding_norm\.", "time_embed.norm."),
    (r"^extra_pos_embedder\.", "learnable_pos_embed."),
    (r"^blocks\.", "transformer_blocks."),
    (r"\.adaln_modulation_self_attn\.", ".norm1.linear_"),
    (r"\.adaln_modulation_cross_attn\.", ".norm2.linear_"),
    (r"\.adaln_modulation_mlp\.", ".norm3.linear_"),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.([qkv])_proj\.", r".to_\1."),
    (r"\.output_proj\.", ".to_out.0."),
    (r"\.([qk])_norm\.", r".norm_\1."),
    (r"\.mlp\.layer1\.", ".ff.net.0.proj."),
    (r"\.mlp\.layer2\.", ".ff.net.2."),
    (r"^final_layer\.adaln_modulation\.", "norm_out.linear_"),
    (r"^final_layer\.linear\.", "proj_out."),
)


def diffusers_name(name: str) -> str:
    for before, after in _RENAMES:
        name = re.sub(before, after, name)
    return name


def diffusers_network(config: TransformerConfig) -> nn.Module:
    """diffusers' class at these sizes; it exists for one camera."""
    from diffusers.models.transformers import transformer_cosmos

    # The class wants torchvision for this one call, and torchvision is not here.
    if not hasattr(transformer_cosmos, "transforms"):
        transformer_cosmos.transforms = SimpleNamespace(  # pyright: ignore
            functional=SimpleNamespace(resize=_nearest),
            InterpolationMode=SimpleNamespace(NEAREST="nearest"),
        )
    return transformer_cosmos.CosmosTransformer3DModel(
        in_channels=config.latent_channels + int(config.condition_mask),
        out_channels=config.out_channels,
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        num_layers=config.num_blocks,
        mlp_ratio=config.mlp_ratio,
        text_embed_dim=config.text_channels,
        adaln_lora_dim=config.adaln_lora_dim,
        max_size=(config.max_frames, config.max_img_h, config.max_img_w),
        patch_size=(config.patch_temporal, config.patch_spatial, config.patch_spatial),
        rope_scale=(config.rope_ratio_t, config.rope_ratio_h, config.rope_ratio_w),
        concat_padding_mask=config.padding_mask,
        extra_pos_embed_type="learnable" if config.position_table == "learned" else None,
        controlnet_block_every_n=1,
    )


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Load our weights into diffusers' network, strictly."""
    renamed = {diffusers_name(name): w.detach() for name, w in ours.named_parameters()}
    theirs.load_state_dict(renamed, strict=True)


def run(
    network: nn.Module,
    latents: Tensor,
    time: Tensor,
    text: Tensor,
    *,
    condition_mask: Tensor | None = None,
    padding_mask: Tensor,
    fps: float | None = None,
    residuals: list[Tensor] | None = None,
) -> Tensor:
    """Call it with a time for each frame ([B,T]) or each sample ([B]); one padding mask."""
    told: dict[str, Any] = {"condition_mask": condition_mask, "padding_mask": padding_mask}
    if residuals is not None:
        told["block_controlnet_hidden_states"] = residuals
    if time.ndim == 2:
        time = time[:, None, :, None, None]
    return network(latents, time, text, fps=fps, return_dict=False, **told)[0]


def _nearest(mask: Tensor, size: list[int], interpolation: str) -> Tensor:
    return torch.nn.functional.interpolate(mask, size=size, mode=interpolation)

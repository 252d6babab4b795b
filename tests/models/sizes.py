"""Sizes of the published networks, and a tiny one."""

from dataclasses import replace

from worldtune.config.network import NetworkSettings
from worldtune.models.build import transformer_config
from worldtune.models.config import TransformerConfig
from worldtune.recipes.networks import VIDEO2WORLD_2B, VIDEO2WORLD_14B

PREDICT2_2B = transformer_config(NetworkSettings(**VIDEO2WORLD_2B))
PREDICT2_14B = transformer_config(NetworkSettings(**VIDEO2WORLD_14B))
SINGLE_VIEW = TransformerConfig(
    model_channels=4096,
    num_blocks=28,
    num_heads=32,
    rope_fps_modulation=True,
    position_table="learned",
    family="transfer1",
)
MULTI_VIEW = replace(
    SINGLE_VIEW,
    condition_mask=True,
    view_channels=6,
    num_view_embeddings=7,
    repeat_frame_embedding=True,
    num_views=3,
    position_table="sincos",
)
PLAIN_7B = replace(SINGLE_VIEW, condition_mask=True, rope_ratio_t=2.0)

TINY = TransformerConfig(
    model_channels=48,
    num_blocks=2,
    num_heads=3,
    text_channels=20,
    adaln_lora_dim=8,
    latent_channels=4,
    out_channels=4,
    max_img_h=16,
    max_img_w=24,
    max_frames=8,
    condition_mask=True,
)

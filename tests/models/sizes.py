"""Sizes of the published networks, and a tiny one."""

from dataclasses import replace

from worldtune.models.config import TransformerConfig

PREDICT2_2B = TransformerConfig(
    model_channels=2048,
    num_blocks=28,
    num_heads=16,
    condition_mask=True,
    rope_ratio_h=3.0,
    rope_ratio_w=3.0,
)
PREDICT2_14B = replace(
    PREDICT2_2B,
    model_channels=5120,
    num_blocks=36,
    num_heads=40,
    rope_ratio_h=2.0,
    rope_ratio_w=2.0,
    rope_ratio_t=5 / 6,
)
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

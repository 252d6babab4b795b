"""Sizes of the published networks, from their recipes, and a tiny one."""

from tests.config.controlled import CLIP, ONE, SEVERAL, controlled
from worldtune.config.network import NetworkSettings
from worldtune.models.build import transformer_config
from worldtune.models.config import TransformerConfig
from worldtune.models.controlled import controlled_config
from worldtune.recipes.networks import VIDEO2WORLD_2B, VIDEO2WORLD_14B

PREDICT2_2B = transformer_config(NetworkSettings(**VIDEO2WORLD_2B))
PREDICT2_14B = transformer_config(NetworkSettings(**VIDEO2WORLD_14B))
SINGLE_VIEW, MULTI_VIEW, PLAIN_7B = (
    controlled_config(controlled(experiment).recipe.model).base
    for experiment in (ONE, SEVERAL, CLIP)
)

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

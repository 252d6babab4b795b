"""Networks from their settings."""

import pytest
import torch

from tests.models.sizes import PREDICT2_2B, PREDICT2_14B
from worldtune.config.network import NetworkSettings
from worldtune.errors import RecipeError
from worldtune.models.build import build, transformer_config
from worldtune.models.config import TransformerConfig

PARTS_2B = {
    "blocks": 1_937_782_784,
    "t_embedder": 16_777_216,
    "final_layer": 1_703_936,
    "x_embedder": 147_456,
    "t_embedding_norm": 2_048,
}
PARTS_14B = {
    "blocks": 14_155_794_432,
    "t_embedder": 104_857_600,
    "final_layer": 4_259_840,
    "x_embedder": 368_640,
    "t_embedding_norm": 5_120,
}


@pytest.mark.parametrize(
    ("config", "parts", "total", "tensors"),
    [(PREDICT2_2B, PARTS_2B, 1_956_413_440, 567), (PREDICT2_14B, PARTS_14B, 14_265_285_632, 727)],
    ids=["2b", "14b"],
)
def test_the_networks_have_the_published_number_of_weights(
    config: TransformerConfig, parts: dict[str, int], total: int, tensors: int
):
    network = build(config, device="meta", dtype=torch.bfloat16)
    counted = {
        name: sum(w.numel() for w in part.parameters()) for name, part in network.named_children()
    }

    assert counted == parts
    assert sum(counted.values()) == total
    assert len(list(network.parameters())) == tensors
    assert not list(network.buffers())


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (PREDICT2_2B, (2048, 28, 16, 3.0, 3.0, 1.0)),
        (PREDICT2_14B, (5120, 36, 40, 2.0, 2.0, 5 / 6)),
    ],
    ids=["2b", "14b"],
)
def test_the_recipes_sizes_are_the_published_ones(
    config: TransformerConfig, sizes: tuple[float, ...]
):
    c = config

    ratios = (c.rope_ratio_h, c.rope_ratio_w, c.rope_ratio_t)
    assert (c.model_channels, c.num_blocks, c.num_heads, *ratios) == sizes
    assert (c.head_dim, c.mlp_channels, c.text_channels, c.adaln_lora_dim) == (
        128,
        4 * c.model_channels,
        1024,
        256,
    )
    assert c.max_grid == (128, 120, 120)
    assert (c.condition_mask, c.padding_mask, c.input_channels) == (True, True, 18)
    assert (c.rope_fps_modulation, c.position_table, c.family) == (False, "none", "predict2")


def test_every_setting_of_size_reaches_the_network():
    net = NetworkSettings(
        model_channels=48,
        num_blocks=2,
        num_heads=3,
        mlp_ratio=2.0,
        crossattn_emb_channels=20,
        in_channels=4,
        out_channels=5,
        patch_spatial=1,
        patch_temporal=2,
        max_img_h=10,
        max_img_w=11,
        max_frames=12,
        concat_padding_mask=False,
        adaln_lora_dim=8,
        rope_h_extrapolation_ratio=1.5,
        rope_w_extrapolation_ratio=2.5,
        rope_t_extrapolation_ratio=3.5,
        rope_enable_fps_modulation=True,
        extra_per_block_abs_pos_emb=True,
    )

    assert transformer_config(net, text_input_channels=30) == TransformerConfig(
        model_channels=48,
        num_blocks=2,
        num_heads=3,
        mlp_ratio=2.0,
        text_channels=20,
        text_input_channels=30,
        adaln_lora_dim=8,
        latent_channels=4,
        out_channels=5,
        patch_spatial=1,
        patch_temporal=2,
        max_img_h=10,
        max_img_w=11,
        max_frames=12,
        condition_mask=True,
        padding_mask=False,
        rope_ratio_h=1.5,
        rope_ratio_w=2.5,
        rope_ratio_t=3.5,
        rope_fps_modulation=True,
        position_table="learned",
        family="predict2",
    )


def test_full_modulation_is_refused():
    net = NetworkSettings(model_channels=48, num_blocks=2, num_heads=3, use_adaln_lora=False)

    with pytest.raises(RecipeError, match="use_adaln_lora is False"):
        transformer_config(net)

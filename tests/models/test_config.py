"""Sizes that fit one another, and those that do not."""

from dataclasses import replace

import pytest

from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig


def test_the_2b_network_has_heads_of_128_and_a_grid_of_120():
    config = TransformerConfig(
        model_channels=2048, num_blocks=28, num_heads=16, condition_mask=True
    )

    assert config.head_dim == 128
    assert config.input_channels == 18
    assert config.mlp_channels == 8192
    assert config.max_grid == (128, 120, 120)


TINY = TransformerConfig(model_channels=64, num_blocks=1, num_heads=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "model_channels 64 does not divide into num_heads 3"),
        ({"num_heads": 8}, "model_channels / num_heads is 8; rotary positions need an even head"),
        ({"num_blocks": 0}, "num_blocks is 0; it must be 1 or more"),
        ({"rope_ratio_t": 0.0}, "rope_ratio_t is 0.0; it must be more than 0"),
        ({"view_channels": 6}, "view_channels needs num_view_embeddings"),
        ({"repeat_frame_embedding": True}, "repeat_frame_embedding is added to the view channels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(changes: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        replace(TINY, **changes)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(RecipeError) as caught:
        TransformerConfig(model_channels=64, num_blocks=0, num_heads=4, max_frames=0)

    assert "num_blocks" in str(caught.value)
    assert "max_frames" in str(caught.value)

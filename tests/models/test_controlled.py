"""The networks of Transfer1 from its recipes' own settings.

Their numbers of weights are held to the published ones beside the plan and the branch.
"""

from functools import cache

import pytest
import torch

from tests.config.controlled import (
    CLIP,
    ONE,
    SEVERAL,
    SEVERAL_FIRST_FRAMES,
    TINY_SEVERAL,
    controlled,
)
from worldtune.models.controlled import ControlledConfig, build_controlled, controlled_config
from worldtune.objectives.logvar import LogVariance


@cache
def config_of(experiment: str) -> ControlledConfig:
    return controlled_config(controlled(experiment).recipe.model)


def test_both_starts_of_several_cameras_have_the_same_networks():
    assert config_of(SEVERAL_FIRST_FRAMES) == config_of(SEVERAL)


def test_the_hint_of_clips_is_wider_than_that_of_a_car():
    """A hint of 16 channels is filled up to 128."""
    widths = [config_of(experiment).hint_channels for experiment in (ONE, SEVERAL, CLIP)]

    assert widths == [16, 16, 128]
    assert {config_of(each).control_blocks for each in (ONE, SEVERAL, CLIP)} == {3}


@pytest.mark.parametrize(
    ("experiment", "channels"), [(ONE, 17), (SEVERAL, 24), (SEVERAL_FIRST_FRAMES, 24), (CLIP, 18)]
)
def test_base_and_branch_see_the_same_input(experiment, channels):
    config = config_of(experiment)

    assert config.base.input_channels == config.branch.input_channels == channels


def test_the_positions_are_those_of_the_published_networks():
    """Learned for one camera, sines and cosines for several; the base alone stretches time."""
    tables = [config_of(experiment).base.position_table for experiment in (ONE, SEVERAL, CLIP)]

    assert tables == ["learned", "sincos", "learned"]
    for experiment in (ONE, SEVERAL, CLIP):
        config = config_of(experiment)
        assert (config.base.rope_ratio_t, config.branch.rope_ratio_t) == (2, 1)
        assert config.base.rope_fps_modulation
        assert config.branch.position_table == config.base.position_table


def test_the_log_variance_beside_the_networks_has_its_published_weights():
    entries = LogVariance().state_dict()

    assert {name: tuple(entry.shape) for name, entry in entries.items()} == {
        "0.freqs": (128,),
        "0.phases": (128,),
        "1.weight": (1, 128),
    }


def test_a_tiny_recipe_builds_networks_whose_fresh_branch_changes_nothing():
    config = config_of(TINY_SEVERAL)
    networks = build_controlled(config, seed=0)
    views = config.base.num_views
    draw = torch.Generator().manual_seed(1)
    latents, hint = (torch.randn(1, 16, 2 * views, 4, 6, generator=draw) for _ in range(2))
    text = torch.randn(1, 8 * views, config.base.text_channels, generator=draw)
    told = {"condition_mask": torch.zeros(1, 1, 2 * views, 4, 6), "fps": torch.tensor([10.0])}
    time = torch.tensor([0.3])

    with torch.no_grad():
        steered = networks(latents, time, text, hints=[hint], **told)
        plain = networks.base(latents, time, text, **told)
    assert torch.equal(steered, plain)
    assert steered.abs().sum() > 0

"""The recipes of the built-in traffic world, and the base that comes with the package."""

import pytest

from tests.config.composing import composed
from worldtune.checkpoint.load import load_weights
from worldtune.checkpoint.names import PREDICT2
from worldtune.inference.pieces import clip_frames, network_config
from worldtune.models.build import build
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.recipes.traffic_experiments import (
    BASE_EXPERIMENT,
    BASE_WEIGHTS,
    EXPERIMENTS,
    FRAMES,
    TUNED_EXPERIMENT,
)

LARGEST_BASE = 8e6  # bytes


def test_the_base_in_the_package_is_small_and_fits_the_recipes_network():
    network = build(network_config(composed(TUNED_EXPERIMENT).recipe), device="meta", seed=None)

    report = load_weights(network, BASE_WEIGHTS, PREDICT2, dtype=None)

    count = len(dict(network.named_parameters()))
    assert str(report).startswith(f"{count} of {count} tensors")
    assert BASE_WEIGHTS.stat().st_size < LARGEST_BASE


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_clip_is_as_long_as_the_model_and_no_download_is_needed(experiment: str):
    recipe = composed(experiment).recipe
    config = recipe.model.config

    assert clip_frames(recipe, BuiltinTokenizer()) == FRAMES
    assert recipe.dataloader_train.dataset.num_frames == FRAMES
    assert config.precision == "float32"
    assert config.pipe_config.text_encoder.cls == "builtin"
    assert sum(recipe.scheduler.cycle_lengths) == recipe.trainer.max_iter
    assert recipe.trainer.max_iter % recipe.checkpoint.save_iter == 0


def test_the_base_is_trained_from_random_weights_on_normal_traffic_alone():
    recipe = composed(BASE_EXPERIMENT).recipe

    assert recipe.model.config.fresh_weights
    assert recipe.dataloader_train.dataset.dataset_dir == "datasets/its/base/normal"


def test_post_training_starts_from_the_base_and_mixes_what_it_is_told_to():
    mix = "{a/normal: 1, a/accident: 1}"
    recipe = composed(TUNED_EXPERIMENT, f"dataloader_train.dataset.mix={mix}").recipe

    assert not recipe.model.config.fresh_weights
    assert recipe.model.config.model_manager_config.dit_path == str(BASE_WEIGHTS)
    assert recipe.dataloader_train.dataset.mix == {"a/normal": 1.0, "a/accident": 1.0}

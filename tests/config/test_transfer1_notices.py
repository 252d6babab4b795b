"""Notices on Transfer1's recipes: each is told when it is true, and silent when it is not."""

import pytest

from tests.config.controlled import (
    CLIP,
    ONE,
    SEVERAL,
    TINY,
    TINY_SEVERAL,
    controlled,
    controlled_from,
)
from worldtune.config.compose import compose
from worldtune.recipes.transfer1 import TRANSFER1

RATIO = (
    "model.net.rope_t_extrapolation_ratio is 2, as the published bases have it; the published "
    "experiments train with 1"
)
LEFT_RATIO = (
    "model.net.rope_t_extrapolation_ratio is 1; the published bases were trained and generate "
    "with 2"
)
FRESH = (
    "the branch starts fresh, on a base that stays as it is: training from scratch needs the "
    "base's weights too (checkpoints/nvidia/Cosmos-Transfer1-7B{}_*.pt)"
)
ONE_CLIP = "a step on 8 processes takes 1 clip, not 8: 8 processes share a clip"
LINES = (
    "trainer.callbacks.iter_speed.hit_thres=5 gives a log line every 5 steps; "
    "trainer.logging_iter=200 gives way to it"
)
SIZE = (
    "clips of several cameras are 704x1280 (height x width); the published generation makes "
    "576x1024"
)
ONE_BASE = FRESH.format("-Sample-AV/checkpoints_tp/base_model_model_mp")
SEVERAL_BASE = FRESH.format("-Sample-AV-Single2MultiView/checkpoints_tp/t2w_base_model_model_mp")
CLIP_BASE = FRESH.format("/checkpoints_tp/base_model_model_mp")


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        (ONE, (RATIO, ONE_BASE, ONE_CLIP, LINES)),
        (ONE.replace("pretrain", "posttrain"), (RATIO, ONE_CLIP, LINES)),
        (SEVERAL, (RATIO, SEVERAL_BASE, SIZE, ONE_CLIP, LINES)),
        (CLIP, (CLIP_BASE, ONE_CLIP, LINES)),
        (TINY, ()),
        (TINY_SEVERAL, ()),
    ],
)
def test_a_published_recipe_gets_these_notices_and_no_other(experiment, expected):
    assert controlled(experiment).notices == expected


@pytest.mark.parametrize(
    ("experiment", "words", "silenced"),
    [
        (ONE, ("model.net.rope_t_extrapolation_ratio=1",), RATIO),
        (ONE, ("model.fresh_weights=true",), RATIO),
        (ONE, ("model.fresh_weights=true",), ONE_BASE),
        (ONE, ("checkpoint.load_path=mine.pt",), ONE_BASE),
        (ONE, ("model_parallel.tensor_model_parallel_size=1",), ONE_CLIP),
        (ONE, ("trainer.callbacks.iter_speed.hit_thres=null",), LINES),
        (
            SEVERAL,
            ("dataloader_train.dataset.video_size=[576,1024]", "model.latent_shape=[16,8,72,128]"),
            SIZE,
        ),
    ],
)
def test_a_notice_is_silent_where_it_is_not_true(experiment, words, silenced):
    assert silenced in controlled(experiment).notices
    assert silenced not in controlled(experiment, *words).notices


@pytest.mark.parametrize("experiment", [ONE, CLIP])
def test_a_time_ratio_that_no_published_base_has_is_told(experiment):
    assert LEFT_RATIO in controlled(experiment, "model.net.rope_t_extrapolation_ratio=1").notices


def test_a_cameras_bare_name_is_understood_and_told():
    """The published recipe says `front`, the published toolkit writes `pinhole_front`."""
    composed = controlled(ONE, "dataloader_train.dataset.view_keys=[front]")
    line = "dataloader_train.dataset.view_keys: 'front' is 'pinhole_front'"

    assert composed.recipe.dataloader_train.dataset.views == ("pinhole_front",)
    assert line in composed.notices
    assert line not in controlled(ONE).notices


def test_the_notice_on_clips_counts_the_processes_of_the_launch():
    told = compose(TRANSFER1, ONE, (), environment={"WORLD_SIZE": "16"}).notices

    assert "a step on 16 processes takes 2 clips, not 16: 8 processes share a clip" in told


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "checkpoint.strict_resume=false",
            "checkpoint.strict_resume=false changes nothing: every weight of the branch has to be "
            "in its file, and every weight of the base in the base's",
        ),
        (
            "trainer.timestamp_seed=true",
            "trainer.timestamp_seed changes nothing: trainer.seed seeds every draw, so that ranks "
            "agree and runs repeat",
        ),
        ("model.hint_dropout_rate=0.15", "model.hint_dropout_rate changes nothing: a branch has"),
        ("model.ema.num=1", "model.ema.num changes nothing: one average is kept"),
        ("model_parallel.bf16=true", "model_parallel.bf16 changes nothing: the model's precision"),
        (
            "conditioner=ctrlnet_add_fps_image_size_padding_mask",
            "conditioner=ctrlnet_add_fps_image_size_padding_mask changes nothing: the network's",
        ),
        ("model.conditioner.fps.dropout_rate=0.1", "model.conditioner.fps.dropout_rate changes no"),
        ("scheduler.kind=constant", "warm_up_steps changes nothing: scheduler.kind is 'constant'"),
        ("scheduler.warm_up_steps=[300]", "the whole run is warm-up (warm_up_steps 300, max_iter"),
        ("trainer.seed=0", "trainer.seed=0 changes nothing: the recipe says so already"),
    ],
)
def test_a_setting_without_effect_is_told(word, line):
    def is_told(*words: str) -> bool:
        return any(notice.startswith(line) for notice in controlled(TINY, *words).notices)

    assert is_told(word)
    assert not is_told()


def test_a_default_that_is_written_out_is_not_told():
    """As in the published files, which write `is_train=True` for both loaders."""
    loader = {"dataset": {"is_train": True}}

    assert controlled_from({"dataloader_train": loader, "dataloader_val": loader}).notices == ()

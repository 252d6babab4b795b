"""Notices: each is told when it is true, and silent when it is not."""

import pytest

from tests.config.composing import FULL, LORA, TINY, composed, composed_from, mine
from worldtune.config.compose import compose
from worldtune.recipes.predict2 import PREDICT2

COMMENTED_RATE = "optimizer.lr is 2^-14.5 = 4.32e-05; the recipe's comment, 3.05e-05, is 2^-15"
ITERATIONS = "the run ends after trainer.max_iter=2000 steps; the recipe's text speaks of 10000"
WARM_UP = (
    "the whole run is warm-up (warm_up_steps 2000, max_iter 2000): the rate climbs to 0.6 of "
    "optimizer.lr and is 0.3 of it on average"
)
FOUR_CLIPS = "a step on 8 processes takes 4 clips, not 8: 2 processes share a clip"
ROWS = "clips are 720x1280 (height x width), the published 720p weights were trained at 704x1280"
RECOMPUTING = (
    "gradient checkpointing is on (net.sac_config.mode=predict2_2b_720); "
    "block_wise saves more memory for more time"
)
ALIAS = "'data_val' is understood as 'dataloader_val'"
SAC = "model.config.pipe_config.net.sac_config.mode"
SIZE = "dataloader_train.dataset.video_size"


@pytest.mark.parametrize("experiment", [FULL, LORA])
def test_the_published_recipe_gets_its_seven_notices_and_no_other(experiment):
    expected = (ALIAS, COMMENTED_RATE, ITERATIONS, WARM_UP, FOUR_CLIPS, ROWS, RECOMPUTING)

    assert composed(experiment).notices == expected


def test_a_recipe_without_contradictions_gets_no_notice():
    assert composed(TINY).notices == ()
    assert composed_from(mine(), f"{SAC}=none").notices == ()


@pytest.mark.parametrize(
    ("word", "silenced"),
    [
        ("optimizer.lr=3e-5", COMMENTED_RATE),
        ("optimizer.lr=4.315837287515549e-05", COMMENTED_RATE),
        ("trainer.max_iter=10000", ITERATIONS),
        ("trainer.max_iter=1999", ITERATIONS),
        ("trainer.max_iter=2001", WARM_UP),
        ("scheduler=constant", WARM_UP),
        ("model_parallel.context_parallel_size=1", FOUR_CLIPS),
        (f"{SIZE}=[704,1280]", ROWS),
        ("model=predict2_video2world_fsdp_2b_480p_16fps", ROWS),
        ("model.config.fresh_weights=true", ROWS),
        (f"{SAC}=none", RECOMPUTING),
        (f"{SAC}=block_wise", RECOMPUTING),
    ],
)
def test_a_notice_is_silent_where_it_is_not_true(word, silenced):
    told = composed(FULL, word).notices

    subject = silenced.partition(" ")[0]
    assert silenced in composed(FULL).notices
    assert silenced not in told
    assert subject in ("a", "the") or not any(line.startswith(f"{subject} is") for line in told)


def test_the_notice_on_clips_counts_the_processes_of_the_launch():
    def told(processes: str, *words: str) -> tuple[str, ...]:
        return compose(PREDICT2, FULL, words, environment={"WORLD_SIZE": processes}).notices

    line = "a step on 16 processes takes 16 clips, not 32: 2 processes share a clip"
    assert line in told("16", "dataloader_train.batch_size=2")
    assert not any("share a clip" in line for line in told("1"))


def test_the_notice_on_warm_up_tells_the_factors_of_the_shortened_run():
    line = (
        "the whole run is warm-up (warm_up_steps 2000, max_iter 1001): the rate climbs to 0.3 of "
        "optimizer.lr and is 0.15 of it on average"
    )
    assert line in composed(FULL, "trainer.max_iter=1001").notices


@pytest.mark.parametrize(
    ("experiment", "words", "line"),
    [
        (
            TINY,
            ("scheduler.cycle_lengths=[100]", "scheduler.f_min=[0.5]"),
            "the schedule ends after 100 of 300 steps; the factor stays at f_min=0.5",
        ),
        (
            "predict2_video2world_lora_training_tiny",
            ("model.config.lora_rank=65",),
            "model.config.lora_rank is 65; above 64 it seldom helps",
        ),
        (
            TINY,
            ("model.config.lora_rank=8", "model.config.lora_alpha=8"),
            "lora_rank, lora_alpha change nothing: model.config.train_architecture is 'base'",
        ),
        (
            TINY,
            ("model.config.use_rslora=true", "model.config.use_dora=true"),
            "use_rslora, use_dora change nothing: model.config.train_architecture is 'base'",
        ),
        (
            TINY,
            ("scheduler=constant",),
            "warm_up_steps, cycle_lengths change nothing: scheduler.kind is 'constant'",
        ),
        (
            TINY,
            ("dataloader_train=mock_video",),
            "no clip is read: dataloader_train.dataset.kind is 'mock_video'",
        ),
        (
            TINY,
            ("trainer.callbacks.iter_speed.hit_thres=50",),
            "trainer.callbacks.iter_speed.hit_thres=50 gives a log line every 50 steps; "
            "trainer.logging_iter=10 gives way to it",
        ),
        (
            LORA,
            ("model.config.train_architecture=lora",),
            "model.config.train_architecture=lora changes nothing: the recipe says so already",
        ),
        (
            TINY,
            ("trainer.ddp.static_graph=false",),
            "trainer.ddp.static_graph changes nothing: "
            "gradients are averaged without DistributedDataParallel",
        ),
    ],
)
def test_a_setting_without_effect_is_told(experiment, words, line):
    assert line in composed(experiment, *words).notices
    assert line not in composed(experiment).notices


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        (TINY, ("scheduler.cycle_lengths=[299]",)),
        ("predict2_video2world_lora_training_tiny", ("model.config.lora_rank=64",)),
        ("predict2_video2world_lora_training_tiny", ("model.config.lora_alpha=8",)),
        (TINY, ("trainer.callbacks.iter_speed.hit_thres=10",)),
        (TINY, ("~trainer.callbacks.iter_speed",)),
        (TINY, ("model.config.train_architecture=lora",)),
    ],
)
def test_a_setting_with_its_effect_is_not_told(experiment, words):
    assert composed(experiment, *words).notices == ()

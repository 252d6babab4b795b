"""Composing recipes: which source has the last word, and what words mean."""

from pathlib import Path

import pytest

from tests.config.composing import (
    FULL,
    LORA,
    NOBODY,
    TINY,
    composed,
    composed_from,
    mine,
)
from worldtune.config.compose import compose
from worldtune.config.user_file import StoreEntry, UserFile, read_user_file
from worldtune.errors import RecipeError
from worldtune.recipes.predict2 import PREDICT2


def test_the_command_line_beats_the_experiment_which_beats_options_and_defaults():
    recipe = composed(FULL, "trainer.max_iter=10").recipe

    assert recipe.trainer.max_iter == 10
    assert recipe.checkpoint.save_iter == 500
    assert recipe.scheduler.f_start == (1e-6,)
    assert recipe.trainer.seed == 0


def test_every_value_names_who_set_it():
    origins = composed(FULL, "trainer.max_iter=10").origins

    assert origins["trainer.max_iter"] == "the command line"
    assert origins["checkpoint.save_iter"] == f"experiment '{FULL}'"
    assert origins["scheduler.f_start"] == "scheduler=lambdalinear"
    assert origins["trainer.seed"] == "the defaults"


def test_an_experiment_of_a_user_is_named_with_its_file():
    origins = composed_from(mine(trainer={"max_iter": 7})).origins

    assert origins["trainer.max_iter"] == "experiment 'mine' of my_run.py"


@pytest.mark.parametrize("word", ["trainer.seed=3", "+trainer.seed=3", "++trainer.seed=3"])
def test_a_value_can_be_set_in_each_form_of_the_grammar(word):
    assert composed(TINY, word).recipe.trainer.seed == 3


def test_lists_dicts_and_places_in_lists_can_be_set():
    recipe = composed(
        TINY,
        "scheduler.f_max.0=0.5",
        "optimizer.betas=[0.8,0.9]",
        "dataloader_train.dataset={dataset_dir: null, mix: {datasets/a: 1, datasets/b.c: 3}}",
    ).recipe

    assert recipe.scheduler.f_max == (0.5,)
    assert recipe.optimizer.betas == (0.8, 0.9)
    assert recipe.dataloader_train.dataset.mix == {"datasets/a": 1.0, "datasets/b.c": 3.0}


def test_a_callback_that_is_taken_away_is_off():
    callbacks = composed(TINY, "~trainer.callbacks.device_monitor").recipe.trainer.callbacks

    assert callbacks.device_monitor is None
    assert callbacks.grad_clip is not None


def test_a_number_that_is_taken_away_has_its_default_again():
    assert composed(FULL, "~trainer.max_iter").recipe.trainer.max_iter == 400_000


def test_intervals_of_callbacks_follow_the_logging_interval():
    callbacks = composed(TINY, "trainer.logging_iter=3").recipe.trainer.callbacks

    assert callbacks.iter_speed.every_n == 3
    assert callbacks.device_monitor.every_n == 3


def test_a_group_chosen_on_the_command_line_beats_the_choice_of_the_experiment():
    net = composed(FULL, "model=predict2_video2world_fsdp_14b").recipe.model.config.pipe_config.net

    assert (net.model_channels, net.num_blocks) == (5120, 36)


def test_the_default_model_works():
    """The original's default option does not exist."""
    recipe = composed_from(mine()).recipe

    assert recipe.model.config.pipe_config.net.num_blocks == 28


def test_a_run_without_a_name_has_the_name_of_its_experiment():
    assert composed_from(mine()).recipe.job.name == "mine"
    assert composed_from(mine(job={"name": "other"})).recipe.job.name == "other"


def test_data_val_is_dataloader_val_wherever_it_is_written():
    in_defaults = mine(defaults=[{"override /data_val": "mock_video"}, "_self_"])
    as_values = mine(data_val={"batch_size": 3, "dataset": {"dataset_dir": "held_out"}})

    for told in (
        composed_from(in_defaults),
        composed_from(mine(), "data_val=mock_video"),
        composed_from(as_values, "data_val.num_workers=0"),
    ):
        assert told.recipe.dataloader_val is not None
        assert told.notices.count("'data_val' is understood as 'dataloader_val'") == 1
    assert told.recipe.dataloader_val.num_workers == 0


@pytest.mark.parametrize(
    ("strength", "rank", "power"),
    [("conservative", 8, -15), ("recommended", 16, -14.5), ("aggressive", 32, -14)],
)
def test_a_lora_strength_sets_rank_alpha_and_rate(strength, rank, power):
    recipe = composed(LORA, f"lora={strength}").recipe

    assert recipe.model.config.lora_rank == rank
    assert recipe.model.config.lora_alpha == rank
    assert recipe.optimizer.lr == 2**power


def test_a_lora_strength_trains_adapters():
    assert composed(FULL, "lora=recommended").recipe.model.config.train_architecture == "lora"


def test_a_value_beside_a_lora_strength_wins():
    on_the_line = composed(LORA, "lora=aggressive", "optimizer.lr=1e-5").recipe
    beside = [{"override /lora": "aggressive"}, "_self_"]
    in_experiment = composed_from(mine(defaults=beside, optimizer={"lr": 1e-5})).recipe

    for recipe in (on_the_line, in_experiment):
        assert (recipe.model.config.lora_rank, recipe.optimizer.lr) == (32, 1e-5)


def test_the_strength_on_the_command_line_beats_the_strength_in_the_experiment():
    chosen = mine(defaults=[{"override /lora": "conservative"}, "_self_"])

    assert composed_from(chosen, "lora=aggressive").recipe.model.config.lora_rank == 32


def test_an_experiment_of_a_user_beats_a_built_in_one_of_its_name():
    values = mine(trainer={"max_iter": 7})["mine"]
    told = composed_from({FULL: values})

    assert told.recipe.trainer.max_iter == 7
    assert f"experiment '{FULL}' of my_run.py takes the place of the built-in one" in told.notices


def test_an_option_of_a_user_can_be_chosen():
    entry = StoreEntry("optimizer", "gentle", None, {"lr": 1e-6})
    chosen = mine(defaults=[{"override /optimizer": "gentle"}, "_self_"])
    told = composed_from(chosen, entries=(entry,))

    assert told.recipe.optimizer.lr == 1e-6
    assert told.origins["optimizer.lr"] == "optimizer=gentle of my_run.py"


def test_an_option_that_changes_nothing_is_told():
    told = composed(TINY, "ema=power")
    line = "the average is switched by model.config.pipe_config.ema.enabled"

    assert f"ema=power changes nothing: {line}" in told.notices


def test_the_folder_of_published_weights_can_be_moved():
    by_word = composed(FULL, "checkpoint.weights_dir=/models").recipe
    variables = {"COSMOS_PREDICT2_ARGS": "--checkpoints /models --text_encoder cosmos_reason1"}
    by_variable = compose(PREDICT2, FULL, (), environment=variables)
    folder = "/models/nvidia/Cosmos-Predict2-2B-Video2World"

    for recipe in (by_word, by_variable.recipe):
        config = recipe.model.config
        assert config.model_manager_config.dit_path == f"{folder}/model-720p-16fps.pt"
        assert config.pipe_config.tokenizer.vae_pth == f"{folder}/tokenizer/tokenizer.pth"
    assert by_variable.recipe.model.config.pipe_config.text_encoder.cls == "cosmos_reason1"
    assert by_variable.origins["checkpoint.weights_dir"] == "COSMOS_PREDICT2_ARGS"


def test_published_lazy_calls_are_read_as_the_settings_they_hold():
    folder = {"_target_": "cosmos_predict2.data.dataset_video.Dataset", "dataset_dir": "clips"}
    lazy = {
        "dataloader_train": {
            "_target_": "torch.utils.data.DataLoader",
            "dataset": folder,
            "sampler": {"_target_": "my_run.get_sampler", "dataset": folder, "num_replicas": 4},
            "batch_size": 2,
        },
        "optimizer": {"_target_": "cosmos_predict2.utils.get_base_optimizer", "lr": 1e-5},
        "model": {"_target_": "x.Predict2Video2WorldModel", "_recursive_": False},
    }
    recipe = composed_from({"mine": lazy}).recipe

    assert recipe.dataloader_train.dataset.dataset_dir == "clips"
    assert recipe.dataloader_train.batch_size == 2
    assert recipe.optimizer.lr == 1e-5


def test_a_class_that_would_not_be_run_is_a_mistake():
    with pytest.raises(RecipeError) as told:
        composed_from(mine(optimizer={"_target_": "torch.optim.SGD", "lr": 1e-5}))

    assert str(told.value) == (
        "optimizer is built by 'torch.optim.SGD', which is not supported; "
        "expected 'get_base_optimizer'\n  (set by experiment 'mine' of my_run.py)"
    )


def test_all_mistakes_of_all_sources_are_told_at_once():
    wrong = mine(
        defaults=[{"override /optimiser": "fusedadamw"}, {"override /model": "2b"}, "_self_"],
        trainer={"max_iters": 7, "seed": "first"},
    )
    with pytest.raises(RecipeError) as told:
        composed_from(wrong, "optimizer.lr=fast", "lora=strong", "model.config.loss_scale=0")

    assert (
        str(told.value)
        == """7 mistakes:
'optimiser' is not a group of settings; did you mean 'optimizer'?
  (set by experiment 'mine' of my_run.py)
model=2b is not known; expected 'predict2_video2world_fsdp_2b', \
'predict2_video2world_fsdp_2b_480p_10fps', 'predict2_video2world_fsdp_2b_480p_16fps', \
'predict2_video2world_fsdp_2b_720p_10fps', 'predict2_video2world_fsdp_2b_720p_16fps', \
'predict2_video2world_fsdp_14b', 'predict2_video2world_fsdp_14b_480p_10fps', \
'predict2_video2world_fsdp_14b_480p_16fps', 'predict2_video2world_fsdp_14b_720p_10fps', \
'predict2_video2world_fsdp_14b_720p_16fps' or 'predict2_video2world_tiny'
  (set by experiment 'mine' of my_run.py)
lora=strong is not known; expected 'conservative', 'recommended' or 'aggressive'
  (set by the command line)
trainer.seed is the text 'first'; expected a whole number
  (set by experiment 'mine' of my_run.py)
trainer.max_iters is not a setting; did you mean 'max_iter'?
  (set by experiment 'mine' of my_run.py)
model.config.loss_scale is 0; expected more than 0
  (set by the command line)
optimizer.lr is the text 'fast'; expected a number
  (set by the command line)"""
    )


def test_a_mistake_in_one_setting_does_not_hide_a_disagreement_of_others():
    with pytest.raises(RecipeError) as told:
        composed(TINY, "trainer.seed=first", "optimizer.betas=[0.9,1.5]")

    assert "trainer.seed is the text 'first'" in str(told.value)
    assert "optimizer.betas[1] is 1.5; expected 0 or more and less than 1" in str(told.value)


def test_composing_leaves_hydra_as_it_was():
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(group="model", name="of_another_program", node={"a": 1})
    before = store.repo
    compose(PREDICT2, TINY, (), environment=NOBODY)

    assert store.repo is before
    assert store.list("model") == ["of_another_program.yaml"]
    del store.repo["model"]


def _with_experiments(tmp_path: Path, text: str) -> UserFile:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return read_user_file(path)


@pytest.mark.parametrize("base", ["/experiment/{}", "{}"])
def test_an_experiment_can_be_built_on_another(tmp_path: Path, base: str):
    tiny = base.format("predict2_video2world_training_tiny")
    user_file = _with_experiments(
        tmp_path,
        f"parent = dict(defaults=[{tiny!r}, '_self_'], trainer=dict(max_iter=7, seed=3))\n"
        f"child = dict(defaults=[{base.format('parent')!r}, '_self_'], trainer=dict(max_iter=8))\n",
    )

    composed = compose(PREDICT2, "child", [], user_file)

    tiny_recipe = compose(PREDICT2, "predict2_video2world_training_tiny").recipe
    assert composed.recipe.model == tiny_recipe.model
    assert (composed.recipe.trainer.max_iter, composed.recipe.trainer.seed) == (8, 3)
    assert composed.origins["trainer.seed"] == f"experiment 'parent' of {user_file.path}"


def test_an_experiment_built_on_an_unknown_one_is_told_by_name(tmp_path: Path):
    user_file = _with_experiments(
        tmp_path, "child = dict(defaults=['/experiment/predict2_tiny', '_self_'])\n"
    )
    with pytest.raises(RecipeError, match="experiment 'predict2_tiny' is not known"):
        compose(PREDICT2, "child", [], user_file)

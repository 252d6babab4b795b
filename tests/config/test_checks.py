"""Settings that are right by themselves and wrong together."""

from typing import Any

import pytest

from tests.config.composing import LORA, TINY, composed
from worldtune.config.mistakes import raise_all
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.tree import merged, nested
from worldtune.config.validate import validate
from worldtune.errors import RecipeError

PIPE = "model.config.pipe_config"
DATA = "dataloader_train.dataset"


def told(**changes: Any) -> str:
    """What is said of the tiny recipe with some settings changed; __ stands for a point."""
    tree = composed(TINY).recipe.model_dump()
    for key, value in changes.items():
        tree = merged(tree, nested(tuple(key.split("__")), value))
    _, mistakes = validate(Predict2Recipe, tree)
    with pytest.raises(RecipeError) as error:
        raise_all(mistakes, {})
    return str(error.value)


CASES = {
    "job.group is '/tmp'; expected a folder's name under the output root": {"job__group": "/tmp"},
    "scheduler.cycle_lengths[0] is 0; expected 1 or more steps": {"scheduler__cycle_lengths": [0]},
    "scheduler.warm_up_steps[0] is -1; expected 0 to 1000000, the length of the cycle": {
        "scheduler__warm_up_steps": [-1]
    },
    "scheduler.f_min[0] is -0.5; expected 0 or more": {"scheduler__f_min": [-0.5]},
    "optimizer.betas[0] is 1.0; expected 0 or more and less than 1": {
        "optimizer__betas": [1.0, 0.9]
    },
    "trainer.run_validation is true, but there is no dataloader_val; expected clips to validate "
    "on, like dataloader_val.dataset.dataset_dir=...": {"dataloader_val": None},
    "model_parallel.pipeline_model_parallel_size is 2; expected 1: blocks are not shared out over "
    "processes": {"model_parallel__pipeline_model_parallel_size": 2},
    f"model_parallel.context_parallel_size is 6; expected at most the 5 latent frames "
    f"({PIPE}.state_t), so that every process has some": {
        "model_parallel__context_parallel_size": 6
    },
    "model_parallel.context_parallel_size times model_parallel.tensor_model_parallel_size is 6; "
    f"expected at most the 5 latent frames ({PIPE}.state_t), so that every process has some": {
        "model_parallel__context_parallel_size": 3,
        "model_parallel__tensor_model_parallel_size": 2,
        "model_parallel__sequence_parallel": True,
    },
    f"model_parallel.tensor_model_parallel_size is 3; expected a divisor of the 4 heads "
    f"({PIPE}.net.num_heads): 1, 2, 4": {"model_parallel__tensor_model_parallel_size": 3},
    f"model_parallel.tensor_model_parallel_size is 2; expected a divisor of the 257 columns of an "
    f"MLP ({PIPE}.net.mlp_ratio): 1, 257": {
        "model_parallel__tensor_model_parallel_size": 2,
        "model__config__pipe_config__net__mlp_ratio": 257 / 128,
    },
    f"{DATA}.mix is empty; expected folders and their shares": {
        "dataloader_train__dataset__mix": {},
        "dataloader_train__dataset__dataset_dir": None,
    },
    f"{DATA}.mix gives 'a' the share 0.0; expected more than 0": {
        "dataloader_train__dataset__mix": {"a": 0.0, "b": 1.0},
        "dataloader_train__dataset__dataset_dir": None,
    },
    f"{DATA}.dataset_dir is not set; expected the folder that holds videos/ and t5_xxl/": {
        "dataloader_train__dataset__dataset_dir": None
    },
    f"{DATA}.num_frames is 16; expected 17 or more, which fill state_t=5 latent frames "
    "(16 fill 4)": {"dataloader_train__dataset__num_frames": 16},
    f"{DATA}.num_frames is 18; expected the 17 of state_t=5, because "
    f"{PIPE}.resize_online=false takes no window out of longer clips": {
        "dataloader_train__dataset__num_frames": 18,
        "model__config__pipe_config__resize_online": False,
    },
    f"{DATA}.video_size[0] is 120; expected a multiple of 16, like 128": {
        "dataloader_train__dataset__video_size": [120, 224]
    },
    f"{DATA}.video_size[1] is 1936; expected 1920 or less": {
        "dataloader_train__dataset__video_size": [128, 1936]
    },
    f"{PIPE}.state_t is 5; expected at most net.max_frames=4": {
        "model__config__pipe_config__net__max_frames": 4,
        "trainer__run_validation": False,
    },
    f"{PIPE}.max_num_conditional_frames is 5; expected fewer than the 5 latent frames of a clip, "
    "so that some are left to predict": {
        "model__config__pipe_config__max_num_conditional_frames": 5
    },
    f"{PIPE}.sigma_data is 0.5; expected 1.0: this objective has no other": {
        "model__config__pipe_config__sigma_data": 0.5
    },
    f"{PIPE}.state_ch is 8; expected the tokenizer's 16": {
        "model__config__pipe_config__state_ch": 8
    },
    f"{PIPE}.net.in_channels is 8; expected the tokenizer's 16": {
        "model__config__pipe_config__net__in_channels": 8
    },
    f"{PIPE}.timestamps.t_min is 90.0; expected less than the 80.0 of t_max": {
        "model__config__pipe_config__timestamps__t_min": 90.0
    },
    f"{PIPE}.net.model_channels is 128; expected a multiple of {PIPE}.net.num_heads=5": {
        "model__config__pipe_config__net__num_heads": 5
    },
    f"{PIPE}.net.model_channels / num_heads is 8; expected an even number of 12 or more": {
        "model__config__pipe_config__net__num_heads": 16
    },
    f"{PIPE}.net.use_adaln_lora is false; expected true: the network has no other modulation": {
        "model__config__pipe_config__net__use_adaln_lora": False
    },
    f"{PIPE}.net.crossattn_emb_channels is 128; expected the 1024 of text_encoder.t5.embed_dim": {
        "model__config__pipe_config__text_encoder__cls": "t5"
    },
    f"{PIPE}.tokenizer.vae_pth is empty; expected the autoencoder's weights, or "
    "tokenizer.kind=builtin": {"model__config__pipe_config__tokenizer__kind": "wan"},
    "model.config.lora_target_modules is ''; expected names of layers, like q_proj,k_proj": {
        "model__config__lora_target_modules": ""
    },
    "model.config.lora_target_modules names q_proj more than once": {
        "model__config__lora_target_modules": "q_proj,k_proj,q_proj"
    },
    "model.config.compile_blocks is true and model.config.pipe_config.net.sac_config.mode is "
    "'mm_only'; expected 'none' or 'block_wise' with it": {
        "model__config__compile_blocks": True,
        "model__config__pipe_config__net__sac_config__mode": "mm_only",
    },
    "model.config.lora_alpha is -1.0; expected more than 0": {"model__config__lora_alpha": -1.0},
    "model.config.use_dora is true and model_parallel.tensor_model_parallel_size is 2; expected 1: "
    "DoRA trains on data and context ranks, LoRA on any": {
        "model__config__train_architecture": "lora",
        "model__config__use_dora": True,
        "model_parallel__tensor_model_parallel_size": 2,
    },
}


@pytest.mark.parametrize("message", CASES)
def test_settings_that_do_not_fit_together_are_told(message):
    assert told(**CASES[message]) == message


def test_dora_trains_where_processes_share_a_clips_frames():
    recipe = composed(LORA, "model.config.use_dora=true").recipe

    assert recipe.model.config.use_dora
    assert recipe.model_parallel.context_parallel_size == 2


def test_the_clips_of_validation_are_checked_when_it_is_on():
    key = "dataloader_val__dataset__num_frames"

    assert told(**{key: 9}).startswith("dataloader_val.dataset.num_frames is 9; expected 17")
    quiet = composed(TINY, "dataloader_val.dataset.num_frames=9", "trainer.run_validation=false")
    assert quiet.recipe.dataloader_val.dataset.num_frames == 9


def test_text_of_reason1_may_have_another_width():
    """It goes through a projection."""
    assert composed(TINY, f"{PIPE}.text_encoder.cls=cosmos_reason1").recipe


def test_a_state_to_start_from_stands_for_the_models_weights():
    words = ("model.config.fresh_weights=false", "checkpoint.load_path=runs/one")

    assert composed(TINY, *words).recipe.checkpoint.load_path == "runs/one"
    assert "dit_path is empty" in told(model__config__fresh_weights=False)

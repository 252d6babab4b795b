"""Transfer1's experiments: their names, and what each name fixes."""

from itertools import product

import pytest

from tests.config.controlled import (
    CLIP,
    ONE,
    SEVERAL,
    SEVERAL_FIRST_FRAMES,
    TINY,
    controlled,
)
from worldtune.config.cameras import CAMERAS
from worldtune.config.files import read_config, write_config
from worldtune.config.transfer1 import Transfer1Recipe
from worldtune.recipes.transfer1 import TRANSFER1

STAGES = ("pretrain", "posttrain")
PARTS = ("train", "val")
AV_CONTROLS = ("hdmap", "lidar")
CLIP_CONTROLS = ("edge", "vis", "depth", "seg", "keypoint", "upscale")
ONE_CAMERA = {
    f"CTRL_7Bv1pt3_t2w_{frames}frames_control_input_{control}_block3_{stage}": (
        frames, control, stage,
    )
    for frames, control, stage in product((57, 121), AV_CONTROLS, STAGES)
}  # fmt: skip
SEVERAL_CAMERAS = {
    f"CTRL_7Bv1pt3_{start}_sv2mv_57frames_control_input_{control}_block3_{stage}": (
        start, control, stage,
    )
    for start, control, stage in product(("t2w", "v2w"), AV_CONTROLS, STAGES)
}  # fmt: skip
CLIPS = {
    f"CTRL_7Bv1pt3_lvg_tp_121frames_control_input_{control}_block3_{stage}": (control, stage)
    for control, stage in product(CLIP_CONTROLS, STAGES)
}
PUBLISHED = [*ONE_CAMERA, *SEVERAL_CAMERAS, *CLIPS]
SAMPLE_AV = "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV/checkpoints_tp"
SINGLE_TO_MULTI = "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV-Single2MultiView/checkpoints_tp"
WHOLE_7B = "checkpoints/nvidia/Cosmos-Transfer1-7B/checkpoints_tp"


def test_there_are_the_28_published_experiments_and_tiny_ones_of_every_form():
    tiny = [name for name in TRANSFER1.experiments if name.startswith("CTRL_tiny_")]

    assert [name for name in TRANSFER1.experiments if name not in tiny] == PUBLISHED
    assert len(PUBLISHED) == 28
    forms = {name.removeprefix("CTRL_tiny_").partition("_17frames")[0] for name in tiny}
    assert forms == {"t2w", "t2w_sv2mv", "v2w_sv2mv", "lvg_tp"}


@pytest.mark.parametrize("experiment", TRANSFER1.experiments)
def test_every_experiment_composes_and_lives_in_its_own_folder(experiment):
    job = controlled(experiment).recipe.job
    stage = experiment.rpartition("_")[2]
    version = "tiny" if "_tiny_" in experiment else "7Bv1"
    group = "lvg" if "_lvg_" in experiment else "sampleAV"

    assert job.name == experiment
    assert job.project == f"cosmos_transfer1_{stage}"
    assert job.group == f"CTRL_{version}_{group}"


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_a_published_experiment_has_the_published_numbers(experiment):
    recipe = controlled(experiment).recipe
    model, optimizer, trainer = recipe.model, recipe.optimizer, recipe.trainer

    assert (optimizer.lr, optimizer.weight_decay) == (2**-14.3, 0.1)
    assert (optimizer.betas, optimizer.eps) == ((0.9, 0.99), 1e-10)
    assert (trainer.max_iter, trainer.logging_iter) == (999_999_999, 200)
    assert recipe.checkpoint.save_iter == 1000
    assert recipe.checkpoint.type == "fast_tp"
    assert recipe.model_parallel.tensor_model_parallel_size == 8
    assert recipe.model_parallel.sequence_parallel
    assert recipe.dataloader_train.batch_size == 1
    assert recipe.dataloader_train.num_workers == 8
    assert recipe.scheduler.warm_up_steps == ((2500,) if experiment in CLIPS else (1000,))
    assert recipe.scheduler.f_start == (1e-6,)
    assert (model.ema.enabled, model.ema.rate) == (True, 0.1)
    assert (model.sigma_data, model.loss_reduce, model.loss_scale) == (0.5, "mean", 1.0)
    assert model.adjust_video_noise
    assert model.net_ctrl.control_blocks == 3
    assert model.net_ctrl.hint_channels == (128 if experiment in CLIPS else 16)
    frames = model.conditioner.video_cond_bool
    assert (frames.augment_sigma_sample_p_mean, frames.augment_sigma_sample_p_std) == (-3, 2)
    assert frames.augment_sigma_sample_multiplier == 1
    assert model.conditioner.text.dropout_rate == 0.2


@pytest.mark.parametrize("experiment", ONE_CAMERA)
def test_the_name_of_one_camera_fixes_frames_weights_and_clips(experiment):
    frames, control, stage = ONE_CAMERA[experiment]
    recipe = controlled(experiment).recipe
    clips = recipe.dataloader_train.dataset

    assert recipe.model.latent_shape == (16, (frames - 1) // 8 + 1, 88, 160)
    assert recipe.model.tokenizer.pixel_chunk_duration == frames
    assert clips.num_frames == recipe.dataloader_val.dataset.num_frames == frames
    assert clips.dataset_dir == "datasets/waymo_transfer1/"
    assert clips.views == ("pinhole_front",)
    assert clips.hint_key == recipe.model.hint_key.hint_key == f"control_input_{control}"
    assert recipe.model.base_load_from.load_path == f"{SAMPLE_AV}/base_model_model_mp_*.pt"
    branch = f"{SAMPLE_AV}/{control}_control.pt" if stage == "posttrain" else ""
    assert recipe.checkpoint.load_path == branch
    assert recipe.model.conditioner.video_cond_bool.first_random_n_num_condition_t_max == 0


@pytest.mark.parametrize("experiment", SEVERAL_CAMERAS)
def test_the_name_of_several_cameras_fixes_what_is_given_and_weights(experiment):
    start, control, stage = SEVERAL_CAMERAS[experiment]
    recipe = controlled(experiment).recipe
    clips, frames = recipe.dataloader_train.dataset, recipe.model.conditioner.video_cond_bool

    assert recipe.model.latent_shape == (16, 8, 88, 160)
    assert recipe.model.n_views == clips.sample_n_views == 3
    assert clips.views == tuple(camera.view for camera in CAMERAS)
    assert clips.dataset_dir == "datasets/waymo_transfer/"
    base = f"{SINGLE_TO_MULTI}/{start}_base_model_model_mp_*.pt"
    assert recipe.model.base_load_from.load_path == base
    branch = f"{SINGLE_TO_MULTI}/{start}_{control}_control.pt" if stage == "posttrain" else ""
    assert recipe.checkpoint.load_path == branch
    given = (frames.condition_location, frames.first_random_n_num_condition_t_max)
    assert given == {"t2w": ("first_cam", 0), "v2w": ("first_cam_and_random_n", 2)}[start]


@pytest.mark.parametrize("experiment", CLIPS)
def test_the_name_of_a_clip_fixes_its_control_and_weights(experiment):
    control, stage = CLIPS[experiment]
    recipe = controlled(experiment).recipe
    clips = recipe.dataloader_train.dataset

    assert recipe.model.latent_shape == (16, 16, 88, 160)
    assert (clips.dataset_dir, clips.view_keys) == ("datasets/hdvila", None)
    assert clips.hint_key == f"control_input_{control}"
    assert recipe.model.base_load_from.load_path == f"{WHOLE_7B}/base_model_model_mp_*.pt"
    weights = "4kupscaler" if control == "upscale" else control
    branch = f"{WHOLE_7B}/{weights}_control.pt" if stage == "posttrain" else ""
    assert recipe.checkpoint.load_path == branch
    assert recipe.model.conditioner.video_cond_bool.first_random_n_num_condition_t_max == 2


def test_a_camera_has_the_row_of_its_own_in_the_recipe_and_in_the_table():
    """Row 3 is a camera that looks back."""
    rows = controlled(SEVERAL).recipe.dataloader_train.dataset.caption_view_idx_map

    assert rows == {str(place): camera.row for place, camera in enumerate(CAMERAS)}
    assert list(rows.values()) == [0, 1, 2, 4, 5]


def test_a_camera_is_told_by_the_sentence_of_the_published_training():
    """Training and generating read the one table, so that they cannot differ."""
    head = "The video is captured from a camera mounted on a car. The camera is facing"

    assert [camera.sentence for camera in CAMERAS] == [
        f"{head} forward.",
        f"{head} forward and slightly to the left.",
        f"{head} forward and slightly to the right.",
        f"{head} to the left.",
        f"{head} to the right.",
    ]


@pytest.mark.parametrize("experiment", [ONE, SEVERAL, SEVERAL_FIRST_FRAMES, CLIP])
def test_base_and_branch_stretch_time_as_the_published_ones(experiment):
    model = controlled(experiment).recipe.model

    assert model.net.rope_t_extrapolation_ratio == 2
    assert model.net_ctrl.rope_t_extrapolation_ratio == 1


def test_the_documented_overrides_take_effect():
    words = ("trainer.max_iter=100", "checkpoint.save_iter=40", "ckpt_klass=multi_rank")
    composed = controlled(ONE, *words)

    assert composed.recipe.trainer.max_iter == 100
    assert composed.recipe.checkpoint.save_iter == 40
    assert composed.recipe.checkpoint.type == "multi_rank"
    assert composed.origins["trainer.max_iter"] == "the command line"


CONTROLS = (*AV_CONTROLS, *CLIP_CONTROLS)
FREE = ("optimizer", "scheduler", "callbacks", "conditioner", "ema", "checkpoint", "ckpt_klass")


def test_every_option_of_every_group_can_be_chosen():
    """A control at a time, with one option of each of the other groups."""
    for number, name in enumerate(CONTROLS):
        control = f"control_input_{name}"
        words = [f"hint_key={control}"]
        words += [f"data_{part}=example_transfer_{part}_data_{control}" for part in PARTS]
        for group in FREE:
            options = list(TRANSFER1.group(group).options)
            words.append(f"{group}={options[number % len(options)]}")
        assert controlled(CLIP, *words).recipe.dataloader_val.dataset.hint_key == control


def test_every_network_and_tokenizer_can_be_chosen():
    small = ("net=tiny_fa", "net_ctrl=tiny_fa", "model_parallel.tensor_model_parallel_size=1")
    latents = ("tokenizer=debug_tokenizer", "model.latent_shape=[16,31,88,160]")

    assert controlled(ONE, *small).recipe.model.net.model_channels == 256
    assert controlled(ONE, *latents).recipe.model.tokenizer.kind == "builtin"
    assert controlled(TINY, "tokenizer=builtin").recipe.model.tokenizer.kind == "builtin"
    for option in ("faditv2_7b", "faditv2_sv2mv"):
        words = ("net=faditv2_7b", f"net_ctrl={option}")
        assert controlled(SEVERAL, *words).recipe.model.net_ctrl.num_blocks == 28


def test_every_control_has_a_grayscale_twin():
    options = TRANSFER1.group("hint_key").options

    assert list(options) == [
        f"control_input_{name}{ending}" for ending in ("", "_grayscale") for name in CONTROLS
    ]
    for name, tree in options.items():
        control = name.removesuffix("_grayscale")
        assert tree == {"hint_key": {"hint_key": control, "grayscale": control != name}}


def test_a_grayscale_hint_is_its_control_without_colours():
    words = ("hint_key=control_input_hdmap_grayscale", "dataloader_train.dataset.hint_key=null")
    hint = controlled(ONE, *words).recipe.model.hint_key

    assert (hint.hint_key, hint.grayscale) == ("control_input_hdmap", True)


def test_more_cameras_are_one_word():
    model = controlled(SEVERAL, "model.n_views=5").recipe.model

    assert (model.net.n_views, model.net_ctrl.n_views) == (5, 5)


def test_the_rows_of_cameras_can_be_set_one_by_one():
    key = "dataloader_train.dataset.caption_view_idx_map"
    one = controlled(SEVERAL, f"{key}.3=3")
    all_of_them = controlled(SEVERAL, f"{key}={{0: 5, 1: 4, 2: 2, 3: 1, 4: 0}}")

    assert list(one.recipe.dataloader_train.dataset.caption_view_idx_map.values()) == [
        0, 1, 2, 3, 5,
    ]  # fmt: skip
    assert one.origins[f"{key}.3"] == "the command line"
    assert one.origins[f"{key}.4"] == f"experiment '{SEVERAL}'"
    rows = all_of_them.recipe.dataloader_train.dataset.caption_view_idx_map
    assert list(rows.values()) == [5, 4, 2, 1, 0]


@pytest.mark.parametrize("experiment", [ONE, SEVERAL_FIRST_FRAMES, TINY])
def test_the_settings_in_a_runs_folder_read_back(experiment, tmp_path):
    """The original's file held numbers as text and functions with their memory addresses."""
    recipe = controlled(experiment).recipe

    assert read_config(write_config(tmp_path, recipe), Transfer1Recipe) == recipe

"""Settings of Transfer1 that do not fit one another, and what is said of each."""

from typing import Any

import pytest

from tests.config.controlled import CLIP, ONE, SEVERAL, SEVERAL_FIRST_FRAMES, TINY, controlled
from worldtune.config.transfer1 import Transfer1Recipe
from worldtune.config.tree import Tree, merged, nested, plain
from worldtune.config.validate import validate
from worldtune.errors import RecipeError

NET, BRANCH = "model.net", "model.net_ctrl"
FRAMES = "model.conditioner.video_cond_bool"
CLIPS = "dataloader_train.dataset"


def told(experiment: str, changes: dict[str, Any]) -> list[str]:
    """The mistakes in a recipe after changes, without composing it anew."""
    tree: Tree = plain(controlled(experiment).recipe.model_dump())
    for key, value in changes.items():
        tree = merged(tree, nested(tuple(key.split(".")), value))
    return [mistake.text for mistake in validate(Transfer1Recipe, tree)[1]]


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    # Two networks that see the same input.
    (TINY, {f"{BRANCH}.model_channels": 512}, f"{BRANCH}.model_channels is 512; expected the "
     "base's 256"),
    (TINY, {f"{BRANCH}.num_blocks": 5}, f"{BRANCH}.num_blocks is 5; expected the base's 4"),
    (SEVERAL, {f"{BRANCH}.view_condition_dim": 0}, f"{BRANCH}.view_condition_dim is 0; expected "
     "the base's 6"),
    (TINY, {f"{NET}.num_heads": 3, f"{BRANCH}.num_heads": 3}, f"{NET}.model_channels is 256; "
     f"expected a multiple of {NET}.num_heads=3"),
    (TINY, {f"{NET}.in_channels": 18, f"{BRANCH}.in_channels": 17}, f"{NET}.in_channels is 18; "
     "expected 16 or 17: the tokenizer's 16, and 1 more where a channel marks the given frames"),
    (SEVERAL, {f"{BRANCH}.in_channels": 17}, f"{BRANCH}.in_channels is 17; expected 16: the "
     "tokenizer's 16, and 1 more where a channel marks the given frames"),
    (CLIP, {f"{BRANCH}.in_channels": 16}, "the base has a channel that marks given frames and the "
     f"branch has not ({NET}.in_channels, {BRANCH}.in_channels, {BRANCH}.is_extend_model); "
     "expected both or neither: their input is the same"),
    (TINY, {f"{NET}.out_channels": 15, f"{BRANCH}.out_channels": 15}, f"{NET}.out_channels is 15; "
     "expected the tokenizer's 16"),
    (TINY, {f"{NET}.use_adaln_lora": False}, f"{NET}.use_adaln_lora is false; expected true: the "
     "network has no other modulation"),
    (TINY, {f"{NET}.affline_emb_norm": False}, f"{NET}.affline_emb_norm is false; expected true"),
    # Blocks of the branch.
    (TINY, {f"{BRANCH}.num_control_blocks": None}, f"{BRANCH}.num_control_blocks is not set; "
     "expected 1 to 4, 3 in the published branches"),
    (TINY, {f"{BRANCH}.num_control_blocks": 5}, f"{BRANCH}.num_control_blocks is 5; expected at "
     f"most the 4 of {NET}.num_blocks"),
    (TINY, {f"{BRANCH}.layer_mask": [False, True, True, True]}, f"{BRANCH}.num_control_blocks is 3 "
     f"and {BRANCH}.layer_mask keeps 1 blocks; give one of them, the other as nothing "
     f"(~{BRANCH}.layer_mask or ~{BRANCH}.num_control_blocks)"),
    (TINY, {f"{BRANCH}.layer_mask": [True, False, False, False]}, f"{BRANCH}.layer_mask is "
     "[True, False, False, False]; expected 4 entries, one or more false and then true: the "
     "branch has the base's first blocks"),
    # Cameras.
    (TINY, {f"{NET}.n_views": 2, f"{BRANCH}.n_views": 2}, f"{NET}.n_views is 2 and "
     f"{NET}.view_condition_dim is 0; expected channels that tell cameras apart (6 in the "
     "published weights)"),
    (SEVERAL, {f"{NET}.n_views_emb": 0}, f"{NET}.n_views_emb is 0 and {NET}.view_condition_dim is "
     "6; expected both or neither"),
    (SEVERAL, {f"{NET}.n_views_emb": 2}, f"{NET}.n_views is 3; expected at most the 2 of "
     f"{NET}.n_views_emb"),
    (TINY, {f"{NET}.add_repeat_frame_embedding": True}, f"{NET}.add_repeat_frame_embedding is true "
     f"and {NET}.view_condition_dim is 0; expected the channels that it is added to"),
    (SEVERAL, {"model.n_views": 4}, "model.n_views is 4; expected the 3 of model.net.n_views"),
    (SEVERAL, {f"{CLIPS}.sample_n_views": 2}, f"a clip of {CLIPS} has 2 cameras (view_keys, "
     "sample_n_views); expected the 3 of model.n_views"),
    (SEVERAL, {f"{CLIPS}.sample_n_views": 6}, f"{CLIPS}.sample_n_views is 6; expected at most the "
     f"5 of {CLIPS}.view_keys"),
    (ONE, {f"{CLIPS}.view_keys": []}, f"{CLIPS}.view_keys is empty; expected folders like "
     "pinhole_front, or nothing for clips that lie without one"),
    (SEVERAL, {f"{CLIPS}.view_keys": ["front", "pinhole_front", "side_left"]}, f"{CLIPS}.view_keys "
     "names pinhole_front more than once"),
    (SEVERAL, {f"{CLIPS}.caption_view_idx_map": {"4": 7}}, f"{CLIPS}.caption_view_idx_map.4 is 7; "
     "expected 0 to 6, the rows of model.net.n_views_emb"),
    (SEVERAL, {f"{CLIPS}.caption_view_idx_map": {"5": 6}}, f"{CLIPS}.caption_view_idx_map has rows "
     "for the places 0, 1, 2, 3, 4, 5 of view_keys; expected one for each of 0 to 4"),
    # Given frames.
    (CLIP, {f"{FRAMES}.first_random_n_num_condition_t_min": 3}, f"{FRAMES}.first_random_n_num_"
     f"condition_t_min is 3; expected at most the 2 of {FRAMES}.first_random_n_num_condition_"
     "t_max"),
    (CLIP, {f"{FRAMES}.first_random_n_num_condition_t_max": 16}, f"{FRAMES}.first_random_n_num_"
     "condition_t_max is 16; expected fewer than the 16 latent frames of a clip"),
    (ONE, {f"{FRAMES}.first_random_n_num_condition_t_max": 2}, f"{NET}.in_channels is 16, so no "
     "channel marks given frames, and condition_location=first_random_n gives some (up to "
     f"{FRAMES}.first_random_n_num_condition_t_max=2); expected in_channels=17, or none given"),
    (SEVERAL, {f"{FRAMES}.condition_location": "first_camera"}, f"{FRAMES}.condition_location: "
     "condition_location 'first_camera' is not a place for given frames; did you mean 'first_cam'?"
     " Known: first_cam, first_cam_and_first_n, first_cam_and_random_n, first_n, first_random_n, "
     "any_cam, any_cam_and_random_n, fixed_cam_and_first_n_0, fixed_cam_0 (view numbers joined by "
     "'_')"),
    # Clips.
    (TINY, {f"{CLIPS}.dataset_dir": None}, f"{CLIPS}.dataset_dir is not set; expected the folder "
     "that holds videos/ and the control's folder"),
    (ONE, {f"{CLIPS}.num_frames": 57}, f"{CLIPS}.num_frames is 57; expected a multiple of "
     "model.tokenizer.pixel_chunk_duration=121"),
    (ONE, {f"{CLIPS}.num_frames": 242}, "model.latent_shape[1] is 16; expected the 32 latent "
     f"frames of {CLIPS}.num_frames=242"),
    (TINY, {f"{CLIPS}.num_frames": 16, "model.tokenizer.pixel_chunk_duration": 16},
     f"{CLIPS}.num_frames is 16; expected a multiple of 4 and 1 more, like 17"),
    (ONE, {f"{CLIPS}.num_frames": 240, "model.tokenizer.pixel_chunk_duration": 120},
     "model.tokenizer.pixel_chunk_duration is 120; expected a multiple of 8 and 1 more, like 121"),
    (TINY, {f"{NET}.max_frames": 4, f"{BRANCH}.max_frames": 4}, f"{CLIPS}.num_frames is 17; "
     "model.net.max_frames is 4"),
    (ONE, {f"{CLIPS}.video_size": [700, 1280]}, f"{CLIPS}.video_size[0] is 700; expected a "
     "multiple of 16, like 704"),
    (ONE, {f"{CLIPS}.video_size": [704, 1936]}, f"{CLIPS}.video_size[1] is 1936; expected 1920 or "
     "less"),
    (ONE, {f"{CLIPS}.video_size": [576, 1024]}, "model.latent_shape is [16, 16, 88, 160]; expected "
     "[16, 16, 72, 128]: 16 channels, and clips of 576x1024 (height x width)"),
    (ONE, {f"{CLIPS}.resolution": "480"}, f"{CLIPS}.resolution is the text '480'; expected '720'"),
    (ONE, {f"{CLIPS}.hint_key": "control_input_hdmap"}, f"{CLIPS}.hint_key is 'control_input_"
     "hdmap'; expected the 'control_input_lidar' of model.hint_key.hint_key, or nothing"),
    # Tokenizer, text, hint, start.
    (TINY, {"model.tokenizer.temporal_compression_factor": 8}, "model.tokenizer.temporal_"
     "compression_factor is 8; expected the 4 of tokenizer.kind=builtin"),
    (ONE, {"model.tokenizer.enc_fp": ""}, "model.tokenizer.enc_fp is empty; expected a file of "
     "weights, or tokenizer.kind=builtin"),
    (TINY, {"model.text_encoder.cls": "t5"}, f"{NET}.crossattn_emb_channels is 128; expected the "
     "1024 of model.text_encoder.t5.embed_dim"),
    (TINY, {"model.hint_key.hint_key": "hdmap", f"{CLIPS}.hint_key": None}, "model.hint_key.hint_"
     "key is 'hdmap'; expected control_input_ and the control's folder, like control_input_lidar"),
    (TINY, {"model.hint_mask": [True, True]}, "model.hint_mask is [True, True]; expected [True]: a "
     "branch has one hint"),
    (TINY, {f"{BRANCH}.hint_channels": 8}, f"{BRANCH}.hint_channels is 8; expected 16 or more: the "
     "hint is a video's latents"),
    (ONE, {"model.base_load_from.load_path": ""}, "model.base_load_from.load_path is empty; "
     "expected the base's weights, or model.fresh_weights=true to start from random ones. A fresh "
     "branch too is trained on a base that was trained before"),
    # Sections that all recipes share.
    (TINY, {"model_parallel.tensor_model_parallel_size": 3}, "model_parallel.tensor_model_parallel_"
     "size is 3; expected a divisor of the 2 heads (model.net.num_heads): 1, 2"),
    (TINY, {"optimizer.betas": [0.9, 1.0]}, "optimizer.betas[1] is 1.0; expected 0 or more and "
     "less than 1"),
    (TINY, {"job.name": "../other"}, "job.name is '../other'; expected a folder's name under the "
     "output root"),
    (TINY, {"checkpoint.type": "dcp"}, "checkpoint.type is the text 'dcp'; expected 'fsdp', "
     "'multi_rank', 'tp' or 'fast_tp'"),
]  # fmt: skip


@pytest.mark.parametrize(("experiment", "changes", "text"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_settings_that_do_not_fit_are_told(experiment, changes, text):
    assert text in told(experiment, changes)


@pytest.mark.parametrize(
    ("experiment", "changes"),
    [
        (ONE, {f"{BRANCH}.num_control_blocks": None,
               f"{BRANCH}.layer_mask": [False] * 5 + [True] * 23}),
        (ONE, {f"{BRANCH}.layer_mask": [False] * 3 + [True] * 25}),
        (ONE, {f"{CLIPS}.view_keys": ["front"]}),
        (ONE, {f"{CLIPS}.video_size": [576, 1024], "model.latent_shape": [16, 16, 72, 128]}),
        (ONE, {f"{CLIPS}.num_frames": 242, "model.latent_shape": [16, 32, 88, 160]}),
        (SEVERAL, {f"{FRAMES}.condition_location": "fixed_cam_0_2"}),
        (SEVERAL_FIRST_FRAMES, {f"{FRAMES}.condition_location": "any_cam_and_random_n"}),
        (CLIP, {"dataloader_val": None}),
    ],
)  # fmt: skip
def test_settings_that_fit_are_not(experiment, changes):
    assert told(experiment, changes) == []


def test_clips_to_validate_on_are_checked_where_they_are_used():
    changes = {"dataloader_val.dataset.dataset_dir": None}

    assert told(ONE, changes) == []
    assert told(ONE, {**changes, "trainer.run_validation": True}) == [
        "dataloader_val.dataset.dataset_dir is not set; expected the folder that holds videos/ and "
        "the control's folder"
    ]


def test_mistakes_name_who_set_what_and_the_nearest_word():
    with pytest.raises(RecipeError) as raised:
        controlled(TINY, "model.net_ctrl.num_blocks=5", "trainer.max_iters=7", "net=tiny")

    assert str(raised.value) == (
        "3 mistakes:\n"
        "net=tiny is not known; did you mean 'tiny_fa'?\n  (set by the command line)\n"
        "trainer.max_iters is not a setting; did you mean 'max_iter'?\n"
        "  (set by the command line)\n"
        "model.net_ctrl.num_blocks is 5; expected the base's 4\n"
        "  (model.net_ctrl.num_blocks by the command line, model.net.num_blocks by net=tiny_fa)"
    )


@pytest.mark.parametrize("option", ["basic", "add_fps_image_size_padding_mask", "ctrlnet"])
def test_a_conditioner_that_tells_too_little_is_refused(option):
    with pytest.raises(RecipeError, match=f"conditioner={option} is not supported here; a branch"):
        controlled(TINY, f"conditioner={option}")

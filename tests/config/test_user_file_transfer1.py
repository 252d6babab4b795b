"""A user's own settings file in the style of Transfer1."""

from pathlib import Path
from textwrap import dedent

import pytest

from worldtune.config.compose import Composed, compose
from worldtune.errors import RecipeError
from worldtune.recipes.roots import choose

SEVERAL = """
import os
from hydra.core.config_store import ConfigStore
from torch.utils.data import DataLoader
from cosmos_transfer1.checkpoints import BASE_t2w_7B_SV2MV_CHECKPOINT_AV_SAMPLE_PATH as BASE
from cosmos_transfer1.diffusion.config.base.data import get_sampler
from cosmos_transfer1.diffusion.config.transfer.conditioner import CTRL_HINT_KEYS_COMB
from cosmos_transfer1.diffusion.datasets.example_transfer_dataset import AVTransferDataset
from cosmos_transfer1.diffusion.inference.inference_utils import default_model_names
from cosmos_transfer1.diffusion.training.models.extend_model_multiview_ctrl import (
    MultiVideoDiffusionModelWithCtrl,
)
from cosmos_transfer1.diffusion.training.networks.general_dit_multi_camera import (
    VideoExtendGeneralDIT,
)
from cosmos_transfer1.utils.lazy_config import LazyCall as L
from cosmos_transfer1.utils.lazy_config import LazyDict

BLOCKS = 28
FRAMES = 57
CAMERAS = dict(
    n_views=3, n_views_emb=7, view_condition_dim=6, add_repeat_frame_embedding=True,
    extra_per_block_abs_pos_emb=True, extra_per_block_abs_pos_emb_type="learnable",
    pos_emb_learnable=True, num_blocks=BLOCKS,
)


def town(hint_key):
    clips = L(AVTransferDataset)(
        dataset_dir="datasets/town/", num_frames=FRAMES, resolution="720", hint_key=hint_key,
        view_keys=["pinhole_front", "pinhole_side_left", "pinhole_side_right"],
        caption_view_idx_map={0: 0, 1: 4, 2: 5}, sample_n_views=3, load_mv_emb=False, is_train=True,
    )
    loader = L(DataLoader)(
        dataset=clips, sampler=L(get_sampler)(dataset=clips), batch_size=1, drop_last=True,
        pin_memory=True, num_workers=4,
    )
    parts = os.path.join("checkpoints", os.path.dirname(BASE), "checkpoints_tp")
    return LazyDict(dict(
        defaults=[
            {"override /net": "faditv2_7b"},
            {"override /net_ctrl": "faditv2_sv2mv"},
            {"override /conditioner": "view_cond_ctrlnet_add_fps_image_size_padding_mask"},
            {"override /tokenizer": "cosmos_diffusion_tokenizer_res720_comp8x8x8_t121_ver092624"},
            {"override /hint_key": hint_key},
            {"override /ckpt_klass": "fast_tp"},
            "_self_",
        ],
        job=dict(project="town", group="cameras", name=f"town_{hint_key}"),
        checkpoint=dict(load_path=os.path.join("checkpoints", default_model_names["lidar"])),
        trainer=dict(max_iter=1000, timestamp_seed=True),
        model_parallel=dict(tensor_model_parallel_size=8, sequence_parallel=True),
        model=dict(
            n_views=3, loss_reduce="mean", finetune_base_model=False, adjust_video_noise=True,
            hint_mask=[True] * len(CTRL_HINT_KEYS_COMB[hint_key]),
            latent_shape=[16, (FRAMES - 1) // 8 + 1, 88, 160],
            base_load_from=dict(load_path=os.path.join(parts, "t2w_base_model_model_mp_*.pt")),
            conditioner=dict(
                video_cond_bool=dict(
                    condition_location="first_cam", first_random_n_num_condition_t_max=0,
                    dropout_rate=0.0, condition_on_augment_sigma=False,
                )
            ),
            net=L(VideoExtendGeneralDIT)(rope_t_extrapolation_ratio=2, **CAMERAS),
            net_ctrl=dict(
                in_channels=16, hint_channels=16, is_extend_model=True,
                layer_mask=[i >= 3 for i in range(BLOCKS)], **CAMERAS,
            ),
            tokenizer=dict(pixel_chunk_duration=FRAMES),
        ),
        model_obj=L(MultiVideoDiffusionModelWithCtrl)(),
        dataloader_train=loader,
        dataloader_val=loader,
    ))


for key in ("control_input_hdmap", "control_input_lidar"):
    node = town(key)
    ConfigStore.instance().store(
        group="experiment", package="_global_", name=node["job"]["name"], node=node
    )
"""

ON_A_PUBLISHED_ONE = """
from cosmos_transfer1.utils.lazy_config import LazyDict

slow = LazyDict(dict(
    defaults=["/experiment/CTRL_7Bv1pt3_t2w_57frames_control_input_lidar_block3_posttrain"],
    optimizer=dict(lr=1e-6),
    dataloader_train=dict(
        dataset=dict(dataset_dir="mine"), sampler=dict(dataset=dict(dataset_dir="mine"))
    ),
))
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def compose_it(text: str, experiment: str, *words: str) -> Composed:
        Path("my_run.py").write_text(dedent(text))
        chosen = choose("my_run.py", experiment)
        return compose(chosen.root, chosen.experiment, words, chosen.user_file, environment={})

    return compose_it


def test_a_file_in_the_published_style_composes(read):
    composed = read(SEVERAL, "town_control_input_lidar")
    recipe, clips = composed.recipe, composed.recipe.dataloader_train.dataset

    assert composed.root.name == "transfer1"
    assert (recipe.job.project, recipe.job.name) == ("town", "town_control_input_lidar")
    assert recipe.model.net_ctrl.control_blocks == 3
    assert recipe.model.hint_key.hint_key == clips.hint_key == "control_input_lidar"
    assert clips.views == ("pinhole_front", "pinhole_side_left", "pinhole_side_right")
    assert clips.caption_view_idx_map == {"0": 0, "1": 4, "2": 5}
    assert recipe.dataloader_train.sampler.shuffle
    assert recipe.dataloader_train.num_workers == 4
    assert recipe.checkpoint.load_path == (
        "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV/lidar_control.pt"
    )
    assert composed.origins["trainer.max_iter"] == (
        "experiment 'town_control_input_lidar' of my_run.py"
    )


def test_a_lazy_call_of_a_network_has_the_arguments_of_its_class(read):
    """The published class of a base that is given frames counts their channel by default."""
    assert read(SEVERAL, "town_control_input_hdmap").recipe.model.net.in_channels == 17


def test_words_of_the_command_line_come_over_the_file(read):
    recipe = read(SEVERAL, "town_control_input_hdmap", "trainer.max_iter=3").recipe

    assert recipe.trainer.max_iter == 3


def test_a_file_can_build_on_a_published_experiment(read):
    recipe = read(ON_A_PUBLISHED_ONE, "slow").recipe

    assert recipe.optimizer.lr == 1e-6
    assert recipe.dataloader_train.dataset.dataset_dir == "mine"
    assert recipe.dataloader_train.dataset.num_frames == 57
    assert recipe.checkpoint.load_path.endswith("lidar_control.pt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "MultiVideoDiffusionModelWithCtrl)()",
            "VideoExtendGeneralDIT)()",
            "model_obj is built by 'cosmos_transfer1.diffusion.training.networks."
            "general_dit_multi_camera.VideoExtendGeneralDIT', which is not supported; expected "
            "'VideoDiffusionModelWithCtrl', ",
        ),
        (
            "num_frames=FRAMES",
            "frames=FRAMES",
            "dataset.frames is not a setting; did you mean 'num",
        ),
        ("view_keys=[", "view_key=[", "dataset.view_key is not a setting; did you mean 'view_keys"),
        ("n_views_emb=7", "n_view_emb=7", "model.net.n_view_emb is not a setting; did you mean"),
        (
            "general_dit_multi_camera import",
            "general_dit_multi_cameras import",
            "did you mean 'cosmos_transfer1.diffusion.training.networks.general_dit_multi_camera'",
        ),
    ],
)
def test_a_mistake_in_the_file_is_told(read, old, new, message):
    assert old in SEVERAL
    with pytest.raises(RecipeError) as told:
        read(SEVERAL.replace(old, new), "town_control_input_lidar")

    assert message in str(told.value)
    assert "my_run.py" in str(told.value)

"""The shipped recipes: equal to the published ones, and each of them composes."""

from pathlib import Path

import pytest

from tests.config.composing import NOBODY, TINY, composed
from worldtune.config.compose import compose
from worldtune.config.user_file import read_user_file
from worldtune.recipes.networks import VIDEO2WORLD_2B, VIDEO2WORLD_14B
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.predict2_models import model_options

PUBLISHED = Path(__file__).parents[1] / "seeds" / "its_recipe"
PIPE = "model.config.pipe_config"


@pytest.mark.parametrize(
    ("text", "experiment"),
    [
        ("full_experiment.txt", "predict2_video2world_training_2b_its"),
        ("lora_experiment.txt", "predict2_video2world_lora_training_2b_its"),
    ],
)
def test_a_shipped_recipe_is_the_published_dict(text, experiment, tmp_path):
    """The document's own text, read as a user's file, comes to the same settings."""
    file = tmp_path / "published.py"
    data = (PUBLISHED / "data_configuration.txt").read_text()
    file.write_text(data + "\n" + (PUBLISHED / text).read_text())
    written = compose(PREDICT2, experiment, (), read_user_file(file), environment=NOBODY)

    assert written.recipe == composed(experiment).recipe


@pytest.mark.parametrize("experiment", PREDICT2.experiments)
def test_every_shipped_recipe_composes_into_a_folder_of_its_own(experiment):
    job = composed(experiment).recipe.job
    words = experiment.removeprefix("predict2_video2world_").split("_")
    name = "_".join(word for word in words if word not in ("lora", "training"))

    assert job.project == "posttraining"
    assert job.group == ("video2world_lora" if "lora" in words else "video2world")
    assert job.name.replace("_lora", "") == name


def test_no_two_recipes_share_a_folder():
    jobs = [composed(experiment).recipe.job for experiment in PREDICT2.experiments]

    assert len(set(map(str, jobs))) == len(jobs)


def test_every_recipe_has_a_line_about_it():
    lines = [experiment.summary for experiment in PREDICT2.experiments.values()]

    assert all(lines)
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("size", ["2b", "14b"])
@pytest.mark.parametrize(("resolution", "rows"), [("480", (432, 768)), ("720", (704, 1280))])
@pytest.mark.parametrize(("fps", "frames", "latents"), [(10, 61, 16), (16, 93, 24)])
def test_a_recipe_at_a_published_size_has_its_weights_and_clips(
    size, resolution, rows, fps, frames, latents
):
    name = f"predict2_video2world_training_{size}_its_{resolution}p_{fps}fps"
    recipe = composed(name).recipe
    config, dataset = recipe.model.config, recipe.dataloader_train.dataset
    folder = f"checkpoints/nvidia/Cosmos-Predict2-{size.upper()}-Video2World"

    assert config.model_manager_config.dit_path == f"{folder}/model-{resolution}p-{fps}fps.pt"
    assert config.pipe_config.tokenizer.vae_pth == f"{folder}/tokenizer/tokenizer.pth"
    assert (config.pipe_config.resolution, config.pipe_config.state_t) == (resolution, latents)
    assert (dataset.video_size, dataset.num_frames) == (rows, frames)


def test_the_networks_have_the_published_sizes():
    small = composed("predict2_video2world_training_2b_its").recipe
    large = composed("predict2_video2world_training_14b_its").recipe
    net = small.model.config.pipe_config.net

    assert (net.model_channels, net.num_blocks, net.num_heads) == (2048, 28, 16)
    assert net.rope_h_extrapolation_ratio == net.rope_w_extrapolation_ratio == 3.0
    net = large.model.config.pipe_config.net
    assert (net.model_channels, net.num_blocks, net.num_heads) == (5120, 36, 40)
    assert net.rope_t_extrapolation_ratio == 5 / 6


def test_sizes_are_written_once():
    """Model options hold the tables of networks.py themselves."""
    nets = {
        name: option["model"]["config"]["pipe_config"]["net"]
        for name, option in model_options().items()
    }

    for name, net in nets.items():
        assert "tiny" in name or net is (VIDEO2WORLD_14B if "14b" in name else VIDEO2WORLD_2B)


@pytest.mark.parametrize(
    ("option", "ranks"),
    [
        ("predict2_video2world_fsdp_2b", 8),
        ("predict2_video2world_fsdp_14b", 32),
        ("predict2_video2world_fsdp_14b_720p_16fps", 8),
    ],
)
def test_a_model_option_shares_its_weights_over_the_published_ranks(option, ranks):
    values = PREDICT2.groups[[group.name for group in PREDICT2.groups].index("model")].options
    config = values[option]["model"]["config"]

    assert config["fsdp_shard_size"] == ranks
    assert config["high_sigma_ratio"] == 0.05


@pytest.mark.parametrize("experiment", [TINY, "predict2_video2world_lora_training_tiny"])
def test_a_tiny_recipe_needs_no_weights_no_gpu_and_no_download(experiment):
    recipe = composed(experiment).recipe
    config = recipe.model.config

    assert config.fresh_weights
    assert config.precision == "float32"
    assert config.pipe_config.tokenizer.kind == "builtin"
    assert config.pipe_config.text_encoder.cls == "builtin"
    assert recipe.model_parallel.context_parallel_size == 1
    assert recipe.trainer.max_iter % recipe.checkpoint.save_iter == 0


def test_the_examples_on_nemo_assets_have_the_published_numbers():
    name = "predict2_video2world_lora_training_14b_cosmos_nemo_assets"
    recipe = composed(name).recipe

    assert recipe.model.config.lora_rank == 32
    assert recipe.optimizer.lr == 2**-11
    assert recipe.optimizer.weight_decay == 0.2
    assert recipe.scheduler.cycle_lengths == (1500,)
    assert recipe.model_parallel.context_parallel_size == 8
    assert recipe.dataloader_train.dataset.dataset_dir == "datasets/cosmos_nemo_assets"


@pytest.mark.parametrize("kind", ["mock", "mock_image", "mock_video"])
def test_made_up_clips_have_the_published_shapes(kind):
    loader = composed(
        "predict2_video2world_training_2b_its", f"dataloader_val={kind}"
    ).recipe.dataloader_val

    assert loader.dataset.kind == kind
    assert loader.dataset.video_size == (432, 768)
    assert loader.dataset.num_frames == (1 if kind == "mock_image" else 93)
    assert loader.batch_size == (2 if kind == "mock_image" else 1)

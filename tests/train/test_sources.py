"""Clips of a recipe's loaders: a folder, a mix of folders, made-up ones."""

from pathlib import Path

import pytest

from tests.train.tiny import Tiny, tiny
from worldtune.data.shapes import write_clips
from worldtune.errors import RecipeError
from worldtune.inference.pieces import build_tokenizer
from worldtune.train.sources import find_clips, first_batch

FOLDER = "dataloader_train.dataset.dataset_dir"
MIX = "dataloader_train.dataset.mix"


def mixed(runs: Tiny, *words: str) -> list[str]:
    """The names of the first twelve clips of the order."""
    recipe = tiny(runs.clips, *words).recipe
    data = find_clips(recipe, recipe.dataloader_train, build_tokenizer(recipe))
    assert data.clips is not None
    return [data.clips.clips[data.order.at(place).clip].name for place in range(12)]


def test_folders_are_mixed_by_their_shares(runs: Tiny, tmp_path: Path):
    for name, kind in (("calm", "normal"), ("crash", "collision")):
        write_clips(tmp_path / "clips" / name, 3, kind=kind, size=(32, 48), frames=12)
    folders = {name: tmp_path / "clips" / name for name in ("calm", "crash")}
    mix = f"{folders['calm']}:3,{folders['crash']}:1"
    names = mixed(runs, f"~{FOLDER}", f"+{MIX}={{{mix}}}")

    assert sum(name.startswith("calm/") for name in names) == 9
    assert sum(name.startswith("crash/") for name in names) == 3


def test_folders_of_a_mix_may_lie_at_different_depths(runs: Tiny, tmp_path: Path):
    for name in ("a", "b/deep"):
        write_clips(tmp_path / "clips" / name, 2, size=(32, 48), frames=12)
    mix = ",".join(f"{tmp_path / 'clips' / name}:1.0" for name in ("a", "b/deep"))

    assert {name.rpartition("/")[0] for name in mixed(runs, f"~{FOLDER}", f"+{MIX}={{{mix}}}")} == {
        "a",
        "b/deep",
    }


def test_a_loader_without_a_folder_is_refused(clips: Path):
    recipe = tiny(clips).recipe
    dataset = recipe.dataloader_train.dataset.model_copy(update={"dataset_dir": None})
    loader = recipe.dataloader_train.model_copy(update={"dataset": dataset})
    with pytest.raises(RecipeError, match="dataset_dir is not set; expected the folder that holds"):
        find_clips(recipe, loader, build_tokenizer(recipe))


def test_the_first_batch_is_the_one_that_a_run_starts_with(clips: Path):
    recipe = tiny(clips, "dataloader_train.batch_size=2").recipe
    data = find_clips(recipe, recipe.dataloader_train, build_tokenizer(recipe))
    with data.loader(0) as loader:
        batch = next(iter(loader))

    first = first_batch(data)
    assert first.names == batch.names
    assert first.index.tolist() == batch.index.tolist() == [0, 1]
    assert first.video.equal(batch.video)


def test_only_the_window_is_read_of_a_longer_clip(clips: Path):
    """num_frames says how long a clip must be; the model takes 4 (state_t - 1) + 1 of them."""
    recipe = tiny(clips, "dataloader_train.dataset.num_frames=11").recipe
    data = find_clips(recipe, recipe.dataloader_train, build_tokenizer(recipe))

    assert first_batch(data).video.shape == (1, 3, 9, 32, 48)

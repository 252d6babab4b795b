"""What the error for an absent file tells to do."""

from pathlib import Path

import pytest

from worldtune.checkpoint.published import fetch_command, weights_not_found
from worldtune.checkpoint.reader import open_weights
from worldtune.errors import CheckpointError


@pytest.mark.parametrize(
    ("path", "command"),
    [
        (
            "checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/model-720p-16fps.pt",
            "hf download nvidia/Cosmos-Predict2-2B-Video2World model-720p-16fps.pt "
            "--local-dir checkpoints/nvidia/Cosmos-Predict2-2B-Video2World",
        ),
        (
            "/data/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth",
            "hf download nvidia/Cosmos-Predict2-2B-Video2World tokenizer/tokenizer.pth "
            "--local-dir /data/nvidia/Cosmos-Predict2-2B-Video2World",
        ),
        (
            "checkpoints/google-t5/t5-11b",
            "hf download google-t5/t5-11b --local-dir checkpoints/google-t5/t5-11b",
        ),
        ("checkpoints/my/run/model.pt", None),
        ("model.pt", None),
    ],
)
def test_the_command_for_a_published_file_places_it_where_it_is_looked_for(path, command):
    assert fetch_command(Path(path)) == command
    message = str(weights_not_found(path))
    assert message.startswith(f"{path} is not there.")
    assert command is None or command in message


@pytest.mark.parametrize("part", ["0", "*"])
def test_an_absent_part_of_a_split_file_names_the_split(part: str):
    folder = "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV"
    message = str(weights_not_found(f"{folder}/checkpoints_tp/base_model_model_mp_{part}.pt"))
    assert f"worldtune split {folder}/base_model.pt" in message


def test_a_slip_in_a_file_name_is_answered_with_the_near_one(tmp_path: Path):
    (tmp_path / "iter_000000500.pt").touch()
    with pytest.raises(CheckpointError, match=r"Did you mean 'iter_000000500.pt'"):
        open_weights(tmp_path / "iter_00000500.pt")


def test_an_absent_folder_is_told_with_the_last_one_that_is_there(tmp_path: Path):
    with pytest.raises(CheckpointError, match=rf"not there either; {tmp_path} is"):
        open_weights(tmp_path / "a" / "b" / "model.pt")


def test_a_name_unlike_any_other_is_told_plainly(tmp_path: Path):
    (tmp_path / "zzz").touch()
    with pytest.raises(CheckpointError, match=r"holds 1 other files"):
        open_weights(tmp_path / "model.pt")

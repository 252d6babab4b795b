"""What `worldtune train` does with the words of the documents."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from worldtune.cli import first_process
from worldtune.cli.main import run
from worldtune.cli.train import launch
from worldtune.config.compose import Composed
from worldtune.config.files import read_config
from worldtune.config.predict2 import Predict2Recipe

FULL = "predict2_video2world_training_2b_its"
TINY = "predict2_video2world_training_tiny"
PATH = "cosmos_predict2/configs/base/config.py"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("IMAGINAIRE_OUTPUT_ROOT", "OUTPUT_ROOT", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


FORMS = {
    "flags": [f"--config={PATH}", f"--experiment={FULL}", "--dryrun", "trainer.max_iter=5"],
    "words": [f"--config={PATH}", "--dryrun", "--", f"experiment={FULL}", "trainer.max_iter=5"],
    "short": ["--dryrun", "--experiment", FULL, "trainer.max_iter=5"],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dry_run_writes_the_settings_where_the_run_would_live(form, capsys):
    assert launch(FORMS[form]) == 0

    path = Path("checkpoints/posttraining/video2world/2b_its/config.yaml")
    recipe = read_config(path, Predict2Recipe)
    assert recipe.trainer.max_iter == 5
    assert recipe.model_parallel.context_parallel_size == 2
    assert f"Settings written to {path}\n" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_the_command_takes_the_same_words_as_the_launcher(form):
    assert run(["train", *FORMS[form]]) == 0
    assert Path("checkpoints/posttraining/video2world/2b_its/config.yaml").is_file()


def test_a_dry_run_shows_settings_and_notices_and_what_a_real_run_would_refuse(capsys):
    launch([f"--experiment={FULL}", "--dryrun"])
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "Config:"
    assert "    max_iter: 2000" in lines
    assert "Notice: 'data_val' is understood as 'dataloader_val'" in lines
    refused = (
        "model_parallel.context_parallel_size=2 needs a multiple of 2 processes, and the run was "
        "launched as 1; launch it with torchrun --nproc_per_node=2 or a multiple of it, or set "
        "model_parallel.context_parallel_size to 1"
    )
    assert f"Notice: a real run stops here: {refused}" in lines


def test_the_output_root_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGINAIRE_OUTPUT_ROOT", str(tmp_path / "runs"))
    launch([f"--experiment={TINY}", "--dryrun"])

    assert (tmp_path / "runs/posttraining/video2world/tiny/config.yaml").is_file()


def test_of_several_processes_only_the_first_writes_and_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    waited = []
    monkeypatch.setattr(first_process.time, "sleep", waited.append)

    assert launch([f"--experiment={TINY}", "--dryrun"]) == 0
    assert waited == []
    assert launch(["--experiment=nothing"]) == 2
    assert waited == [first_process.WAIT_S]  # else the launcher might end the one that speaks
    assert capsys.readouterr() == ("", "")
    assert list(Path().iterdir()) == []


def test_a_mistake_is_told_without_a_traceback_and_nothing_is_written(capsys):
    assert launch([f"--experiment={TINY}", "--dryrun", "trainer.max_iters=5"]) == 2

    told = "RecipeError: trainer.max_iters is not a setting; did you mean 'max_iter'?"
    assert capsys.readouterr().err == f"{told}\n  (set by the command line)\n"
    assert list(Path().iterdir()) == []


def test_help_is_printed_by_the_launcher_too(capsys):
    assert launch(["--help"]) == 0
    assert "worldtune train --experiment=NAME trainer.max_iter=100" in capsys.readouterr().out


def test_a_real_run_is_handed_its_recipe_and_its_folder(monkeypatch):
    given = []
    module = ModuleType("worldtune.train.run")
    module.run_training = lambda composed, folder: given.append((composed, folder))
    monkeypatch.setitem(sys.modules, "worldtune.train.run", module)

    assert launch([f"--experiment={TINY}"]) == 0
    [(composed, folder)] = given
    assert isinstance(composed, Composed)
    assert composed.recipe.job.name == "tiny"
    assert folder == Path("checkpoints/posttraining/video2world/tiny")


def test_a_real_run_refuses_what_does_not_exist_yet(capsys):
    words = [f"--experiment={TINY}", "checkpoint.jit.enabled=true", "dataloader_train=mock_image"]

    assert launch(words) == 2
    assert capsys.readouterr().err.splitlines() == [
        "RecipeError: 2 mistakes:",
        "checkpoint.jit.enabled=true is not supported yet; trace an exported checkpoint",
        "  (set by the command line)",
        "dataloader_train.dataset.kind='mock_image' is not supported yet; train on videos",
        "  (set by dataloader_train=mock_image)",
    ]


def test_validation_on_images_is_refused_where_it_would_be_done(capsys):
    words = [f"--experiment={TINY}", "dataloader_val=mock"]

    assert launch(words) == 2
    assert "dataloader_val.dataset.kind='mock' is not supported yet" in capsys.readouterr().err


def test_sizes_that_do_not_fit_the_launch_are_told_with_those_that_would(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "6")
    words = (
        "model_parallel.context_parallel_size=4",
        "model_parallel.tensor_model_parallel_size=2",
    )

    assert launch([f"--experiment={TINY}", *words]) == 2
    assert capsys.readouterr().err == (
        "RecipeError: model_parallel.context_parallel_size=4 and "
        "model_parallel.tensor_model_parallel_size=2 need a multiple of 8 processes, and the run "
        "was launched as 6; launch it with torchrun --nproc_per_node=8 or a multiple of it, or set "
        "model_parallel.context_parallel_size to 1 or 3\n  (set by the command line)\n"
    )


def test_weights_that_are_not_there_are_told_before_torch_is_imported(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setitem(sys.modules, "worldtune.train.run", None)  # importing it would fail

    assert launch([f"--experiment={FULL}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("RecipeError: checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/")
    assert "hf download nvidia/Cosmos-Predict2-2B-Video2World" in told

"""The published traffic recipe: its code blocks and commands, word for word.

`its_recipe/` holds them as they are printed. Each command runs as a dry run, with the
built-in experiment and with the printed code saved to a file of the user's own.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from worldtune.cli.train import launch
from worldtune.config.compose import compose
from worldtune.config.user_file import read_user_file
from worldtune.config.words import read_words
from worldtune.recipes.roots import ROOTS

ROOT = Path(__file__).parents[2]
PRINTED = Path(__file__).parent / "its_recipe"
LAUNCHES = ("full_launch", "lora_launch")
EXPERIMENTS = {
    "full_launch": "predict2_video2world_training_2b_its",
    "lora_launch": "predict2_video2world_lora_training_2b_its",
}
FOLDERS = {
    "full_launch": "checkpoints/posttraining/video2world/2b_its",
    "lora_launch": "checkpoints/posttraining/video2world_lora/2b_its_lora",
}


def printed(name: str) -> str:
    return (PRINTED / f"{name}.txt").read_text()


def launch_words(name: str) -> list[str]:
    """The words behind `-m scripts.train` of a printed command, as a shell would give them."""
    text = printed(name)
    experiment = re.search(r"^EXP=(\w+)$", text, re.MULTILINE)
    assert experiment
    text = text.replace("${EXP}", experiment[1]).replace("\\\n", " ")
    command = shlex.split(text, comments=True)
    return command[command.index("scripts.train") + 1 :]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to run in; the environment has no say in where runs go."""
    monkeypatch.chdir(tmp_path)
    for name in ("IMAGINAIRE_OUTPUT_ROOT", "COSMOS_PREDICT2_ARGS", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def my_run(folder: Path) -> Path:
    """The recipe's code, saved to one file as it is printed."""
    blocks = ("data_configuration", "full_experiment", "lora_experiment")
    path = folder / "my_run.py"
    path.write_text("".join(map(printed, blocks)))
    return path


@pytest.mark.parametrize("name", LAUNCHES)
def test_the_printed_command_and_the_printed_code_dry_run_to_the_same_settings(
    my_run, capsys, name
):
    words = [*launch_words(name), "--dryrun"]
    config = my_run.parent / FOLDERS[name] / "config.yaml"
    assert launch(words) == 0
    built_in = config.read_text()
    config.unlink()
    assert launch(["--config", "my_run.py", *words[1:]]) == 0

    assert config.read_text() == built_in
    said = capsys.readouterr()
    assert said.out.count(f"{FOLDERS[name]}/config.yaml") == 2
    assert said.err == ""
    _hold_to_the_document(yaml.safe_load(built_in), name)


def _hold_to_the_document(settings: dict, name: str) -> None:
    assert settings["dataloader_train"] == {
        "dataset": {
            **settings["dataloader_train"]["dataset"],
            "dataset_dir": "datasets/its_traffic/train",
            "num_frames": 93,
            "video_size": [720, 1280],
        },
        "sampler": {"shuffle": True, "seed": 0},
        "batch_size": 1,
        "num_workers": 8,
        "drop_last": True,
        "pin_memory": True,
    }
    assert settings["model_parallel"]["context_parallel_size"] == 2
    assert settings["optimizer"]["lr"] == 2**-14.5
    assert settings["scheduler"]["warm_up_steps"] == [2000]
    assert settings["trainer"]["max_iter"] == 2000
    assert settings["checkpoint"]["save_iter"] == 500
    architecture = {"full_launch": "base", "lora_launch": "lora"}[name]
    assert settings["model"]["config"]["train_architecture"] == architecture


def test_the_commands_name_the_experiments_of_the_code(my_run):
    named = {read_words(launch_words(name)).experiment for name in LAUNCHES}

    assert named == set(EXPERIMENTS.values()) == set(read_user_file(my_run).experiments)


def test_what_is_changed_in_the_printed_code_takes_effect(my_run):
    text = my_run.read_text()
    my_run.write_text(text.replace("(720, 1280)", "(704, 1280)").replace("seed=0", "seed=5"))
    file = read_user_file(my_run)
    recipe = compose(ROOTS["predict2"], EXPERIMENTS["full_launch"], (), file, environment={}).recipe

    assert recipe.dataloader_train.dataset.video_size == (704, 1280)
    assert recipe.dataloader_train.sampler.seed == 5


def test_a_mistake_in_the_printed_code_is_told_with_its_file_and_no_traceback(my_run, capsys):
    my_run.write_text(my_run.read_text().replace("max_iter=2000", "max_iters=2000"))

    words = ["--config=my_run.py", f"--experiment={EXPERIMENTS['full_launch']}", "--dryrun"]
    assert launch(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("RecipeError: trainer.max_iters is not a setting; did you mean")
    assert "my_run.py" in said
    assert "Traceback" not in said


def test_other_processes_of_a_launch_leave_quietly(my_run, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr("worldtune.cli.first_process.WAIT_S", 0.0)

    assert launch(["--config=my_run.py", "--experiment=gone", "--dryrun"]) == 2
    assert launch([*launch_words("full_launch"), "--dryrun"]) == 0
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert not (my_run.parent / "checkpoints").exists()


def test_the_module_of_the_command_runs_from_the_repository_root(tmp_path):
    command = [sys.executable, "-m", "scripts.train", *launch_words("full_launch"), "--dryrun"]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={"IMAGINAIRE_OUTPUT_ROOT": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "posttraining" / "video2world" / "2b_its" / "config.yaml").is_file()

"""The published page on training Transfer1 for cars: its commands, word for word.

`transfer1_page/` holds them as they are printed. Each is run in this process, as far as it goes
without the published weights.
"""

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.checkpoint.published_files import few_entries, save_run
from worldtune.config.files import read_config
from worldtune.config.transfer1 import Transfer1Recipe
from worldtune.recipes.transfer1 import TRANSFER1

ROOT = Path(__file__).parents[2]
PRINTED = Path(__file__).parent / "transfer1_page"
MODULE = "cosmos_transfer1.diffusion.training.train"
LIDAR = "CTRL_7Bv1pt3_t2w_121frames_control_input_lidar_block3_{}"
HDMAP = "CTRL_7Bv1pt3_t2w_sv2mv_57frames_control_input_hdmap_block3_{}"
FOLDER = "checkpoints/cosmos_transfer1_{1}/CTRL_7Bv1_sampleAV/{0}"
SAMPLE_AV = "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV"
LATER = "RecipeError: 5 mistakes:\ncontrol branches are not trained yet; what works is --dryrun"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to run in; the environment has no say in where runs go."""
    monkeypatch.chdir(tmp_path)
    names = ("OUTPUT_ROOT", "IMAGINAIRE_OUTPUT_ROOT", "RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def commands(name: str) -> Iterator[list[str]]:
    """The words of each printed command, without comments and settings of variables."""
    text = (PRINTED / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] != "export":
            yield words


def run_printed(words: list[str], monkeypatch) -> int:
    """Run a printed command in this process: its script or module from the repository's root."""
    while "=" in words[0]:
        words = words[1:]
    if words[0] == "torchrun":
        words = words[2:]
        file = words.pop(0)
        if file == "-m":
            file = f"{words.pop(0).replace('.', '/')}.py"
    else:
        file, words = words[1], words[2:]
    monkeypatch.setattr(sys, "argv", [file, *words])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / file), run_name="__main__")
    return int(left.value.code or 0)


def published(path: Path) -> Path:
    """The file that a printed path means: two of one camera are published by other names."""
    single = path.parent.name.endswith("Sample-AV")
    return path.with_name(path.name.removeprefix("t2w_")) if single else path


def printed_words(name: str) -> list[str]:
    [words] = commands(name)
    return words


def test_the_page_has_these_twelve_commands():
    counts = {path.stem: len(list(commands(path.stem))) for path in PRINTED.glob("*.txt")}

    assert counts == {
        "download": 1,
        "split": 4,
        "dry_run": 2,
        "launch_one_camera": 1,
        "launch_several_cameras": 1,
        "override": 1,
        "join": 2,
    }


def test_the_printed_download_asks_for_every_repository_and_fails_where_none_comes(
    monkeypatch, capsys
):
    asked: list[Path] = []

    def no_network(name: str, target: Path, token: str | None) -> None:
        asked.append(target)
        raise ConnectionError("there is no network")

    monkeypatch.setattr("worldtune.checkpoint.download.fetch_from_hub", no_network)
    assert run_printed(printed_words("download"), monkeypatch) == 2
    said = capsys.readouterr().err
    assert [path.as_posix() for path in asked[:2]] == ["checkpoints/nvidia/Cosmos-Transfer1-7B",
                                                       SAMPLE_AV]  # fmt: skip
    assert len(asked) == said.count("was not fetched: ConnectionError: there is no network") == 11


@pytest.mark.parametrize(("number", "stage"), [(0, "pretrain"), (1, "posttrain")])
def test_the_printed_dry_runs_write_the_settings_at_the_printed_path(
    number, stage, monkeypatch, capsys
):
    assert run_printed(list(commands("dry_run"))[number], monkeypatch) == 0

    experiment = LIDAR.format(stage)
    path = Path(FOLDER.format(experiment, stage)) / "config.yaml"
    recipe = read_config(path, Transfer1Recipe)
    assert recipe.job.name == experiment
    assert (recipe.trainer.max_iter, recipe.checkpoint.save_iter) == (999_999_999, 1000)
    assert bool(recipe.checkpoint.load_path) == (stage == "posttrain")
    said = capsys.readouterr()
    assert said.out.endswith(f"Settings written to {path}\n")
    assert "Notice: a real run stops here: control branches are not trained yet" in said.out
    assert said.err == ""


def test_every_published_experiment_dry_runs(capsys):
    from worldtune.cli.train import launch

    published = [name for name in TRANSFER1.experiments if "_7Bv1pt3_" in name]
    head = ["--dryrun", "--config=cosmos_transfer1/diffusion/config/config_train.py", "--"]
    for name in published:
        assert launch([*head, f"experiment={name}"]) == 0
    written = {path.parent.name: path for path in Path("checkpoints").rglob("config.yaml")}

    assert sorted(written) == sorted(published)
    assert len(published) == 28
    for name, path in written.items():
        assert read_config(path, Transfer1Recipe).job.name == name
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("variables", [{"OUTPUT_ROOT": "runs"}, {"IMAGINAIRE_OUTPUT_ROOT": "runs"}])
def test_the_output_root_of_either_document_counts(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_printed(next(commands("dry_run")), monkeypatch) == 0

    folder = FOLDER.format(LIDAR.format("pretrain"), "pretrain")
    assert (Path("runs") / Path(folder).relative_to("checkpoints") / "config.yaml").is_file()


def test_two_output_roots_that_differ_are_a_mistake(monkeypatch, capsys):
    monkeypatch.setenv("OUTPUT_ROOT", "here")
    monkeypatch.setenv("IMAGINAIRE_OUTPUT_ROOT", "there")

    assert run_printed(next(commands("dry_run")), monkeypatch) == 2
    assert "name different output roots; unset one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "experiment", "folder"),
    [
        ("launch_one_camera", LIDAR, SAMPLE_AV),
        ("override", LIDAR, SAMPLE_AV),
        ("launch_several_cameras", HDMAP, f"{SAMPLE_AV}-Single2MultiView"),
    ],
)
def test_a_printed_launch_names_what_is_missing_and_what_brings_it(
    name, experiment, folder, monkeypatch, capsys
):
    assert run_printed(printed_words(name), monkeypatch) == 2

    said = capsys.readouterr().err
    part = "t2w_" if "Single2MultiView" in folder else ""
    repository = folder.removeprefix("checkpoints/")
    assert said.startswith(LATER)
    assert f"{folder}/checkpoints_tp/{part}base_model_model_mp_*.pt is not there" in said
    assert f"\n  hf download {repository} {part}base_model.pt --local-dir {folder}\n" in said
    assert f"\n  worldtune split {folder}/{part}base_model.pt\n" in said
    assert "\n  hf download nvidia/Cosmos-Tokenize1-CV8x8x8-720p mean_std.pt --local-dir" in said
    assert f"(set by experiment '{experiment.format('pretrain')}')" in said
    assert "Traceback" not in said
    assert not Path("checkpoints").exists()


def test_the_printed_override_changes_what_it_says(monkeypatch):
    words = printed_words("override")
    words.insert(words.index("--"), "--dryrun")

    assert run_printed(words, monkeypatch) == 0
    folder = FOLDER.format(LIDAR.format("pretrain"), "pretrain")
    recipe = read_config(Path(folder) / "config.yaml", Transfer1Recipe)
    assert (recipe.trainer.max_iter, recipe.checkpoint.save_iter) == (100, 40)


def test_a_launch_names_only_what_is_missing(monkeypatch, capsys):
    """Parts of another number than eight are parts."""
    parts = Path(SAMPLE_AV) / "checkpoints_tp"
    parts.mkdir(parents=True)
    (parts / "base_model_model_mp_0.pt").touch()
    (Path(SAMPLE_AV) / "lidar_control.pt").touch()
    words = [word.replace("pretrain", "posttrain") for word in printed_words("launch_one_camera")]

    assert run_printed(words, monkeypatch) == 2
    said = capsys.readouterr().err
    assert "base_model" not in said
    assert f"Split it with:\n  worldtune split {SAMPLE_AV}/lidar_control.pt\n" in said


def test_a_launch_that_has_all_its_weights_still_says_that_training_comes_later(capsys):
    from worldtune.cli.train import launch

    tiny = "CTRL_tiny_t2w_17frames_control_input_hdmap_block3_pretrain"
    assert launch([f"--experiment={tiny}"]) == 2
    assert capsys.readouterr().err == (
        "RecipeError: control branches are not trained yet; what works is --dryrun, and "
        "`worldtune show`, `split`, `join` and `inspect`\n"
    )


def test_a_launch_refuses_to_train_the_base(capsys):
    from worldtune.cli.train import launch

    tiny = "CTRL_tiny_t2w_17frames_control_input_hdmap_block3_pretrain"
    assert launch([f"--experiment={tiny}", "model.finetune_base_model=true"]) == 2
    assert capsys.readouterr().err.endswith(
        "model.finetune_base_model=true is not supported yet; the base stays as it is\n"
        "  (set by the command line)\n"
    )


@pytest.mark.parametrize("number", range(4))
def test_a_printed_split_names_the_file_that_is_missing(number, monkeypatch, capsys):
    words = list(commands("split"))[number]
    path = published(Path(words[-1]))

    assert run_printed(words, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"CheckpointError: {path} is not there. Fetch it with:\n  hf download ")


def test_the_printed_splits_write_the_parts_that_the_recipes_look_for(monkeypatch, capsys):
    for words in commands("split"):
        path = published(Path(words[-1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(few_entries(), path)
    for words in commands("split"):
        assert run_printed(words, monkeypatch) == 0

    for name in ("launch_one_camera", "launch_several_cameras"):
        for stage in ("pretrain", "posttrain"):
            words = [word.replace("pretrain", stage) for word in printed_words(name)]
            assert run_printed(words, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.count("Cosmos-Tokenize1") > 0
    assert "checkpoints_tp" not in said


@pytest.mark.parametrize("number", [0, 1])
def test_a_printed_join_names_what_is_missing_and_joins_what_is_there(number, monkeypatch, capsys):
    words = list(commands("join"))[number]

    assert run_printed(words, monkeypatch) == 2
    assert "CheckpointError: " in capsys.readouterr().err
    save_run(Path(words[-1]).parent, 2)
    assert run_printed(words, monkeypatch) == 0
    joined = Path(words[-1]).parents[1] / "fsdp_checkpoints"
    assert (joined / "iter_000000100_ema_model.pt").is_file()


def test_other_processes_of_a_launch_leave_quietly(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr("worldtune.cli.first_process.WAIT_S", 0.0)

    assert run_printed(printed_words("launch_one_camera"), monkeypatch) == 2
    assert run_printed(next(commands("dry_run")), monkeypatch) == 0
    assert capsys.readouterr() == ("", "")
    assert not Path("checkpoints").exists()


def test_the_module_of_the_command_runs_from_the_repository_root(tmp_path):
    words = next(commands("dry_run"))
    command = [sys.executable, *words[words.index("-m") :]]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={"OUTPUT_ROOT": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    folder = Path(FOLDER.format(LIDAR.format("pretrain"), "pretrain"))
    assert (tmp_path / folder.relative_to("checkpoints") / "config.yaml").is_file()

"""`worldtune split` and `join`, and the published scripts that call them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.checkpoint.published_files import few_entries, same_file, same_tensors, save_run
from tests.reference.tensor_parallel import part_of
from worldtune.cli.main import run
from worldtune.errors import ExitStatus

ROOT = Path(__file__).parents[2]
SINGLE = "Cosmos-Transfer1-7B-Sample-AV"
EXPERIMENT = "CTRL_7Bv1pt3_t2w_121frames_control_input_lidar_block3_posttrain"
RUN = f"checkpoints/cosmos_transfer1_posttrain/CTRL_7Bv1_sampleAV/{EXPERIMENT}"
JOINERS = ("convert_ckpt_tp_to_fsdp.py", "scripts/convert_ckpt_tp_to_fsdp.py")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def call_script(script: str, *words: str) -> int:
    """Run a script of the checkout in this process, as `python SCRIPT WORDS` does."""
    before = sys.argv
    sys.argv = [script, *words]
    try:
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        return int(left.value.code or 0)
    finally:
        sys.argv = before


def saved(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(few_entries(), path)
    return path


@pytest.mark.parametrize(
    ("written", "there"),
    [
        (f"{SINGLE}/t2w_base_model.pt", f"{SINGLE}/base_model.pt"),
        (f"{SINGLE}/t2w_lidar_control.pt", f"{SINGLE}/lidar_control.pt"),
        *(
            (f"{SINGLE}-Single2MultiView/{name}", f"{SINGLE}-Single2MultiView/{name}")
            for name in ("t2w_base_model.pt", "t2w_hdmap_control.pt")
        ),
    ],
)
def test_the_published_split_command_writes_what_recipes_look_for(written: str, there: str, capsys):
    path = saved(Path("checkpoints/nvidia") / there)
    status = call_script("scripts/convert_ckpt_fsdp_to_tp.py", f"checkpoints/nvidia/{written}")

    assert status == ExitStatus.DONE
    target = path.parent / "checkpoints_tp"
    parts = [f"{path.stem}_model_mp_{rank}.pt" for rank in range(8)]
    assert {file.name for file in target.iterdir()} == {path.name, *parts}
    model = torch.load(target / parts[7], weights_only=True)["model"]
    same_tensors(model, part_of(few_entries(), 7, 8))
    notices = [line for line in capsys.readouterr().out.splitlines() if "Notice" in line]
    assert len(notices) == int(written != there)


@pytest.mark.parametrize("script", JOINERS)
def test_the_published_join_command_joins_alone(script: str, capsys):
    weights, _ = save_run(Path(RUN) / "checkpoints", 4)
    words = (
        "--experiment",
        EXPERIMENT,
        "--checkpoint-path",
        f"{RUN}/checkpoints/iter_000000100.pt",
    )
    status = call_script(script, *words)

    assert status == ExitStatus.DONE
    target = Path(RUN) / "fsdp_checkpoints"
    branch = {name: w for name, w in weights.items() if not name.startswith("base_model")}
    same_file(target / "iter_000000100_reg_model.pt", branch)
    assert {file.name for file in target.iterdir()} == {
        f"iter_000000100_{kind}.pt" for kind in ("reg_model", "ema_model", "ema_model_only")
    }
    assert "from 4 parts" in capsys.readouterr().out


def test_the_published_join_options_are_taken(tmp_path: Path):
    weights, _ = save_run(Path(RUN) / "checkpoints", 2)
    words = ["--experiment", EXPERIMENT, "--output-directory", "out", "--include-base-model"]
    path = f"{RUN}/checkpoints/iter_000000100.pt"
    status = call_script("convert_ckpt_tp_to_fsdp.py", *words, "--checkpoint-path", path)

    assert status == ExitStatus.DONE
    same_file(Path("out/iter_000000100_reg_model.pt"), weights)


@pytest.mark.parametrize("script", ["scripts/convert_ckpt_fsdp_to_tp.py", *JOINERS])
def test_of_several_processes_all_but_the_first_leave_quietly(script: str, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", "3")

    assert call_script(script, "not there.pt", "--no-such-option") == ExitStatus.DONE
    assert capsys.readouterr() == ("", "")


def test_a_rank_left_in_the_environment_stops_nothing(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    saved(Path("w.pt"))

    assert run(["split", "w.pt", "--size", "2"]) == ExitStatus.DONE
    assert Path("checkpoints_tp/w_model_mp_1.pt").is_file()


def test_a_wrong_experiment_is_a_mistake_told_without_a_traceback(capsys):
    save_run(Path(RUN) / "checkpoints", 2)
    words = ["--experiment", EXPERIMENT.replace("lidar", "hdmap")]
    status = run(["join", *words, f"{RUN}/checkpoints/iter_000000100.pt"])

    assert status == ExitStatus.MISTAKE
    told = capsys.readouterr().err
    assert told.startswith("CheckpointError: ")
    assert "is no checkpoint of experiment" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "found"), [([], "none was"), (["a.pt", "--checkpoint-path", "b.pt"], "both a.pt and")]
)
def test_one_checkpoint_is_asked_for(words: list[str], found: str, capsys):
    assert run(["join", *words]) == ExitStatus.MISTAKE
    assert found in capsys.readouterr().err


def test_answers_in_json_name_every_file(capsys):
    saved(Path("w.pt"))
    assert run(["split", "w.pt", "--size", "2", "--output", "parts", "--json"]) == ExitStatus.DONE
    split = json.loads(capsys.readouterr().out)
    assert split["parts"] == ["parts/w_model_mp_0.pt", "parts/w_model_mp_1.pt"]
    assert split["marker"] == "parts/w.pt"
    assert split["written"] == [*split["parts"], split["marker"]]
    assert split["nbytes"] == sum(Path(path).stat().st_size for path in split["written"])
    assert (split["size"], split["divided"]) == (2, 6)

    assert run(["join", split["parts"][0], "--output", "out", "--json"]) == ExitStatus.DONE
    join = json.loads(capsys.readouterr().out)
    assert join["weights"] == "out/w_reg_model.pt"
    assert (join["average"], join["also"], join["size"]) == (None, None, 2)


def test_what_was_done_is_told_in_words(capsys):
    saved(Path("w.pt"))
    for told in ("3 files, ", "3 files were there already, and are equal"):
        assert run(["split", "w.pt", "--size", "2"]) == ExitStatus.DONE
        out, err = capsys.readouterr()
        assert "w.pt: 16 tensors, 6 of them divided by 2" in out
        assert told in out
    assert "comparing with what is there: " in err


def test_help_needs_no_torch():
    program = (
        "import sys; from worldtune.cli.main import run;"
        "run(['split', '--help']); run(['join', '--help']); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "False", out.stderr


@pytest.mark.multi
def test_under_torchrun_one_process_joins_and_the_command_ends_well(tmp_path: Path):
    weights, _ = save_run(tmp_path / RUN / "checkpoints", 2)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=4"]
    words = ["--experiment", EXPERIMENT, "--include-base-model"]
    words += ["--checkpoint-path", f"{RUN}/checkpoints/iter_000000100.pt"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "convert_ckpt_tp_to_fsdp.py"), *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("from 2 parts") == 1
    same_file(tmp_path / RUN / "fsdp_checkpoints" / "iter_000000100_reg_model.pt", weights)

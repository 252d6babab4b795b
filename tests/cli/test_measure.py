"""`worldtune measure`: the losses it tells are those of a run's own validation."""

import json
from pathlib import Path

import pytest

from tests.train.tiny import Tiny, draw_clips
from worldtune.cli.main import run
from worldtune.errors import ExitStatus
from worldtune.train.logs import read_metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("measured")
    tiny = Tiny(folder, draw_clips(folder / "clips"))
    tiny.run("run")
    return tiny


def test_a_run_is_measured_as_it_measured_itself(
    trained: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "new" / "losses.json"
    words = ["measure", "--checkpoint", str(trained.folder / "run"), "--out", str(out)]

    assert run([*words, "--clips", f"val={trained.clips / 'val'}"]) == ExitStatus.DONE

    last = read_metrics(trained.folder / "run" / "metrics.jsonl")[-1]
    losses = json.loads(out.read_text())["losses"]["val"]
    assert losses.pop("clips") == 3
    assert losses.pop("mean") == pytest.approx(last["average"], rel=1e-6)
    for band, loss in losses.items():
        assert loss == pytest.approx(last[f"average_{band}"], rel=1e-6)
    told = capsys.readouterr().out
    assert f"val: {last['average']:.4f} on 3 clips" in told


def test_the_weights_themselves_are_measured_on_several_folders(
    trained: Tiny, capsys: pytest.CaptureFixture[str]
):
    words = ["measure", "--checkpoint", str(trained.folder / "run"), "--no-ema", "--json"]
    folders = [f"{name}={trained.clips / name}" for name in ("val", "train")]

    assert run([*words, "--clips", folders[0], "--clips", folders[1]]) == ExitStatus.DONE

    answer = json.loads(capsys.readouterr().out)
    last = read_metrics(trained.folder / "run" / "metrics.jsonl")[-1]
    assert answer["losses"]["val"]["mean"] == pytest.approx(last["network"], rel=1e-6)
    assert answer["losses"]["train"]["clips"] == 5
    assert "(network, iteration 4)" in answer["weights"]


@pytest.mark.parametrize(
    ("clips", "told"),
    [
        ([], "say what to measure on"),
        (["--clips", "val"], "--clips val names no folder; expected NAME=FOLDER"),
        (["--clips", "a=x", "--clips", "a=y"], "names a twice"),
    ],
)
def test_folders_that_are_not_named_are_mistakes(
    clips: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["measure", "--checkpoint", "run", *clips]) == ExitStatus.MISTAKE
    assert told in capsys.readouterr().err


def test_a_folder_without_clips_is_told(trained: Tiny, capsys: pytest.CaptureFixture[str]):
    words = ["measure", "--checkpoint", str(trained.folder / "run")]

    assert run([*words, "--clips", f"none={trained.folder}"]) == ExitStatus.MISTAKE
    assert "videos" in capsys.readouterr().err

"""`worldtune demo`: what it claims, divides, runs and tells."""

import json
from pathlib import Path

import pytest

from worldtune.cli import demo as module
from worldtune.cli.demo import claim, divide_clips
from worldtune.cli.main import run
from worldtune.errors import DataError, ExitStatus, RecipeError

DRAWN = {"clips": "drawn", "seed": 0}


def _clips(folder: Path, count: int) -> Path:
    for kind, suffix in (("videos", ".mp4"), ("metas", ".txt")):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            (folder / kind / f"clip_{number:02}{suffix}").write_text(kind)
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.iterdir())


def test_the_same_demo_goes_on_in_its_folder(tmp_path: Path):
    claim(tmp_path / "demo", DRAWN)
    claim(tmp_path / "demo", DRAWN)


def test_another_demo_is_refused_its_folder(tmp_path: Path):
    claim(tmp_path, DRAWN)
    with pytest.raises(RecipeError, match="give it a folder of its own with --out"):
        claim(tmp_path, {**DRAWN, "seed": 1})


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RecipeError, match="holds other things"):
        claim(tmp_path, DRAWN)
    assert _names(tmp_path) == ["letter"]


@pytest.mark.parametrize(("count", "held_out"), [(4, [0, 2]), (8, [0, 4]), (11, [0, 5, 10])])
def test_some_clips_of_a_folder_are_held_out_and_no_clip_is_in_both_parts(
    tmp_path: Path, count: int, held_out: list[int]
):
    divide_clips(_clips(tmp_path / "mine", count), tmp_path / "parts")

    val, train = (_names(tmp_path / "parts" / part / "videos") for part in ("val", "train"))
    assert val == sorted(f"clip_{number:02}" for number in held_out)
    assert sorted(val + train) == _names(tmp_path / "mine" / "videos")
    assert _names(tmp_path / "parts" / "val" / "metas") == val
    assert (tmp_path / "parts" / "val" / "metas" / "clip_00.txt").read_text() == "metas"


def test_too_few_clips_are_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"has 3 \.mp4 files; the demo needs 4"):
        divide_clips(_clips(tmp_path / "mine", 3), tmp_path / "parts")


def test_a_clip_that_could_not_be_made_is_not_told_as_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module, "train_tiny", lambda *words: tmp_path)
    monkeypatch.setattr(module, "make_clip", lambda *words: ExitStatus.FAILED)

    assert run(["demo", "--out", str(tmp_path / "demo")]) == ExitStatus.FAILED
    assert "The clip made" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_trains_and_makes_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("IMAGINAIRE_OUTPUT_ROOT", "OUTPUT_ROOT"):
        monkeypatch.setenv(name, "")  # given back after the test

    assert run(["demo", "--out", str(tmp_path / "demo"), "--iterations", "60"]) == ExitStatus.DONE

    told = capsys.readouterr().out
    start, end = told.partition("Held-out loss: ")[2].split(" before the first step, ")
    assert float(end.split()[0]) < 0.7 * float(start)
    record = json.loads((tmp_path / "demo" / "made.json").read_text())
    assert record["prompt"]
    assert (tmp_path / "demo" / "made.mp4").stat().st_size > 1000

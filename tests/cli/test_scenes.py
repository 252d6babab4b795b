"""`worldtune scenes`: its words, its answers, and how soon it helps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from worldtune.cli.main import run
from worldtune.errors import ExitStatus

FEW = ["--size", "64x112", "--frames", "3", "--fps", "4", "--workers", "1"]


def test_clips_are_written_and_how_to_train_on_them_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "traffic"

    assert run(["scenes", "its", str(out), "--normal", "1", "--accident", "1", *FEW]) == 0

    told = capsys.readouterr()
    assert "1 normal and 1 accident clips lie in" in told.out
    assert "dataset.mix={" in told.out
    assert "2 of 2 clips" in told.err
    assert (out / "accident" / "videos" / "accident_00000.mp4").exists()


def test_the_answer_in_json_names_the_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "traffic"

    run(["scenes", "its", str(out), "--normal", "1", "--accident", "0", "--json", *FEW])

    answer = json.loads(capsys.readouterr().out)
    assert [Path(video).exists() for video in answer["videos"]] == [True]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "large"], "--size large is no size; write height and width"),
        (["--size", "100x200"], "size 100x200 does not fit"),
        (["--frames", "500"], "ask for fewer --frames"),
        (["--normal", "0", "--accident", "0"], "give at least one"),
        (["--recordings", "nowhere"], "layouts.xz is not there"),
    ],
)
def test_a_users_mistake_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
):
    status = run(["scenes", "its", str(tmp_path / "out"), *words])

    assert status == ExitStatus.MISTAKE
    assert told in capsys.readouterr().err


def test_help_comes_without_loading_what_paints():
    code = (
        "import sys\n"
        "from worldtune.cli.main import run\n"
        "run(['scenes', 'its', '--help'])\n"
        "print(sorted({'torch', 'cv2', 'numpy'} & set(sys.modules)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "--accident" in answer.stdout
    assert answer.stdout.strip().endswith("[]")

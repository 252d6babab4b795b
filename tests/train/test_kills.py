"""Runs killed at random moments end as if nothing had happened."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import kill_test
from tests.train.tiny import Tiny, states

SCRIPT = Path(kill_test.__file__)


@pytest.mark.slow
def test_ten_killed_runs_resume_to_the_bits_of_an_unbroken_one():
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--runs=10", "--seed=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert re.fullmatch(r"1\d kills: \d+ between saves, \d+ in a save; 0 resumed runs differ", last)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_the_comparison_sees_a_bit_a_file_and_a_number(
    runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kill_test, "STEPS", 4)
    copy = runs.copied(plain, "copy")
    assert kill_test.compare(copy, plain) == []

    flip(copy / "checkpoints/model/iter_000000002.pt", -40)
    lines = (copy / "metrics.jsonl").read_text()
    (copy / "metrics.jsonl").write_text(
        lines.replace('"loss": 0.', '"loss": 1.').replace('"loss": 1', '"loss": 2', 1)
    )
    (copy / "checkpoints/model/iter_000000003.pt.tmp").touch()
    assert kill_test.compare(copy, plain) == [
        "published file iter_000000002.pt",
        "metrics.jsonl",
        "left over: iter_000000003.pt.tmp",
    ]


def test_the_comparison_sees_one_bit_of_a_state(
    runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kill_test, "STEPS", 4)
    monkeypatch.setattr("worldtune.checkpoint.saved_state.SavedState.verify", lambda state: None)
    copy = runs.copied(plain, "copy")
    flip(states(copy) / "iter_000000004" / "shard_00000_of_00001.safetensors", -1)

    assert len(kill_test.compare(copy, plain)) == 1


def test_the_place_of_a_kill_is_what_was_said_last():
    assert kill_test.place_of(("save", 2)) == kill_test.IN_A_SAVE
    assert kill_test.place_of(("published file", 2)) == kill_test.IN_A_SAVE
    assert kill_test.place_of(("step", 3)) == kill_test.BETWEEN
    assert kill_test.place_of(("saved", 6)) == kill_test.BETWEEN
    assert kill_test.place_of(("step", 1)) is None
    assert kill_test.place_of(("end", 6)) is None

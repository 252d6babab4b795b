"""`python -m worldtune` is the command `worldtune`."""

import runpy
import sys

import pytest


def test_python_m_worldtune_is_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["worldtune", "train", "--experiment=no_such"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("worldtune", run_name="__main__")

    assert end.value.code == 2
    assert "no_such" in capsys.readouterr().err

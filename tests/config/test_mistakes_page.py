"""The page of mistakes shows what the commands in it say."""

import re
import shlex
from pathlib import Path

import pytest

from worldtune.cli.main import run

PAGE = (Path(__file__).parents[2] / "docs" / "mistakes.md").read_text()
SHOWN = re.findall(r"```bash\n(.*?)\n```\n\n```text\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("command", "message"), SHOWN, ids=[c.split()[-1] for c, _ in SHOWN])
def test_the_message_on_the_page_is_the_message_of_the_command(
    command, message, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)

    assert program == "worldtune"
    assert run(words) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_the_page_shows_more_than_thirty_mistakes():
    assert len(SHOWN) > 30
    assert PAGE.count("```bash") == len(SHOWN)

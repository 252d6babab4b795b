"""What the page about own recipes shows is what happens."""

import re
from pathlib import Path

import pytest

from worldtune.cli.train import launch
from worldtune.config.lent import DESCRIBED, LENT
from worldtune.config.user_file import read_user_file
from worldtune.errors import RecipeError

PAGE = (Path(__file__).parents[2] / "docs" / "own-recipes.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_of_the_page_dry_run_with_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGINAIRE_OUTPUT_ROOT", raising=False)
    Path("my_run.py").write_text(blocks("python")[0])
    look, train = (re.findall(r"--\S+=\S+", block) for block in blocks("bash"))

    assert look == train[1:]
    assert launch([*look, "--dryrun"]) == 0
    assert Path("checkpoints/posttraining/video2world/town_2b/config.yaml").is_file()
    assert "Notice: my_run.py" not in capsys.readouterr().out


def test_the_page_lists_every_lent_module_and_name():
    table = PAGE.partition("## The packages need not be installed")[2].partition("\n## ")[0]

    for module, names in {**LENT, "torch.utils.data": DESCRIBED["torch.utils.data"]}.items():
        assert f"| `{module}` |" in table
        if module != "megatron.core.parallel_state":
            assert all(f"`{name}`" in table for name in names)


def test_the_message_of_the_page_is_the_message_of_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, shown = blocks("python")[0], blocks("text")[0]
    Path("my_run.py").write_text(text.replace("    video_size=(704, 1280),\n", ""))
    with pytest.raises(RecipeError) as told:
        read_user_file(Path("my_run.py"))

    assert f"RecipeError: {told.value}\n" == shown

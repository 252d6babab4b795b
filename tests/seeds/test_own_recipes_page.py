"""What the page about own recipes shows is what happens."""

import re
from pathlib import Path

import pytest

from worldtune.config.lent import DESCRIBED, LENT
from worldtune.config.user_file import read_user_file
from worldtune.errors import RecipeError

PAGE = (Path(__file__).parents[2] / "docs" / "own-recipes.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_file_of_the_page_holds_the_experiment_of_its_commands(tmp_path):
    path = tmp_path / "my_run.py"
    path.write_text(blocks("python")[0])
    file = read_user_file(path)

    for command in blocks("bash"):
        (name,) = re.findall(r"--experiment=(\w+)", command)
        assert name in file.experiments
    assert file.experiments["town_2b"]["dataloader_train"]["dataset"]["num_frames"] == 93


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

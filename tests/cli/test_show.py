"""What `worldtune show` prints."""

import json
import subprocess
import sys

import pytest

from worldtune.cli import settings_table
from worldtune.cli.main import run
from worldtune.config.compose import compose
from worldtune.config.schema_page import schema_page
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.roots import ROOTS

TINY = "predict2_video2world_training_tiny"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["show", *words]) == 0
    return capsys.readouterr().out


def test_without_a_recipe_every_recipe_and_option_is_listed(capsys):
    text = shown(capsys)

    for root in ROOTS.values():
        for name, experiment in root.experiments.items():
            assert f"  {name} " in text
            assert experiment.summary in text
        assert root.summary in shown(capsys, root.name)
    assert "  lora: conservative, recommended, aggressive\n" in text
    assert PREDICT2.summary not in shown(capsys, "transfer1")


def test_the_list_is_to_be_had_in_json(capsys):
    answer = json.loads(shown(capsys, "--json"))

    assert answer["predict2"]["experiments"].keys() == PREDICT2.experiments.keys()
    assert answer["predict2"]["groups"]["scheduler"]["default"] == "constant"


def test_a_recipe_is_shown_with_the_origin_of_each_setting(capsys):
    lines = shown(capsys, TINY, "trainer.max_iter=5").splitlines()

    assert "trainer.max_iter = 5  (the command line)" in lines
    assert f"checkpoint.save_iter = 100  (experiment '{TINY}')" in lines
    assert "optimizer.eps = 1e-08  (optimizer=fusedadamw)" in lines
    assert "trainer.seed = 0  (the defaults)" in lines
    assert "checkpoint.load_path = ''  (the defaults)" in lines


def test_a_recipe_is_to_be_had_in_json(capsys):
    answer = json.loads(shown(capsys, TINY, "--json", "trainer.ddp.static_graph=false"))

    assert (answer["root"], answer["experiment"]) == ("predict2", TINY)
    assert answer["settings"]["dataloader_train.dataset.video_size"] == {
        "value": [128, 224],
        "origin": f"experiment '{TINY}'",
    }
    assert [line.partition(" ")[0] for line in answer["notices"]] == ["trainer.ddp.static_graph"]


def test_what_is_shown_can_be_given_back_on_the_command_line(capsys):
    """Every line is a word that leaves the recipe as it is."""
    named = "job.name='night, rain'"
    lines = shown(capsys, TINY, named).splitlines()
    words = [line.rpartition("  (")[0].replace(" = ", "=", 1) for line in lines]
    again = compose(PREDICT2, TINY, words, environment={})

    assert again.recipe.job.name == "night, rain"
    assert again.recipe == compose(PREDICT2, TINY, [named], environment={}).recipe


def test_notices_come_after_the_settings(capsys):
    assert shown(capsys, TINY, "trainer.seed=0").splitlines()[-1] == (
        "Notice: trainer.seed=0 changes nothing: the recipe says so already"
    )


def test_a_terminal_gets_columns(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    settings_table.tell(settings_table.LaunchWords(experiment=TINY), as_json=False)
    text = capsys.readouterr().out

    assert "trainer.max_iter" in text
    assert "trainer.max_iter = " not in text
    assert "\x1b[1m300" in text


def test_the_schema_is_the_page_of_settings(capsys):
    pages = [shown(capsys, "--schema", name) for name in ROOTS]

    assert pages == [schema_page(root) for root in ROOTS.values()]
    assert shown(capsys, "--schema") == "\n".join(pages)


def test_the_schema_of_what_is_no_root_is_a_mistake(capsys):
    assert run(["show", "--schema", "transfer"]) == 2
    told = "RecipeError: 'transfer' is not a root; did you mean 'transfer1'?\n"
    assert capsys.readouterr().err == told


def test_help_imports_neither_torch_nor_hydra():
    program = (
        "import sys; from worldtune.cli.main import run; "
        "assert run(['train', '--help']) == run(['show', '--help']) == 0; "
        "print([name for name in ('torch', 'hydra') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert told.stdout.splitlines()[-1] == "[]", told.stderr

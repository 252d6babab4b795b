"""What the page on Transfer1 shows is what happens."""

import re
import shlex
from pathlib import Path

import pytest

from tests.config.controlled import ONE, SEVERAL, controlled
from worldtune.cli.main import run
from worldtune.cli.train import launch
from worldtune.config.cameras import CAMERAS
from worldtune.config.compose import compose
from worldtune.recipes import control_tables
from worldtune.recipes.roots import choose
from worldtune.recipes.transfer1 import TABLES_FILE

PAGE = (Path(__file__).parents[2] / "docs" / "transfer1.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
ROW, OWN = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTPUT_ROOT", "IMAGINAIRE_OUTPUT_ROOT", "RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words[:3]) for words in COMMANDS])
def test_a_command_of_the_page_does_what_it_says(words, capsys):
    if words[0] == "torchrun":
        assert launch(words[words.index("-m") + 2 :]) == 0
    elif words[1] == "split":
        assert run(words[1:]) == 2
        assert "is not there. Fetch it with:" in capsys.readouterr().err
    elif words[1] == "download":
        assert run([*words[1:], "--dryrun"]) == 0
    else:
        assert run(words[1:]) == 0
    assert len(list(Path().rglob("config.yaml"))) == int("--dryrun" in words)


def test_the_row_and_the_experiment_of_the_page_take_effect():
    text = Path(control_tables.__file__).read_text()
    text = text.replace("EXPERIMENTS = {}\n", OWN).replace(
        "CONTROLS = {\n", f"CONTROLS = {{\n{ROW}"
    )
    Path(TABLES_FILE).parent.mkdir(parents=True)
    Path(TABLES_FILE).write_text(text)
    chosen = choose(None, "night")
    radar = [name for name in chosen.root.experiments if "_radar_" in name]

    assert compose(chosen.root, "night", (), environment={}).recipe.optimizer.lr == 1e-5
    assert "and five others" in PAGE
    assert len(radar) == 6
    assert "CTRL_7Bv1pt3_t2w_57frames_control_input_radar_block3_pretrain" in radar
    assert "control_input_radar_grayscale" in chosen.root.group("hint_key").options


def test_the_size_of_the_page_fits_several_cameras():
    words = re.findall(r"`((?:dataloader_train|model)\.\S+=\[\S+\])`", PAGE)

    assert len(words) == 2
    assert controlled(SEVERAL, *words).recipe.dataloader_train.dataset.size == (576, 1024)


def test_the_table_of_cameras_is_the_table():
    rows = re.findall(r"^\| `pinhole_(\w+)` \| (\d) \| (.*) \|$", PAGE, re.MULTILINE)

    assert rows == [(camera.name, str(camera.row), camera.facing) for camera in CAMERAS]


def test_the_name_on_the_page_is_a_recipes():
    assert f"```\n{ONE}\n" in PAGE

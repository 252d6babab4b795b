"""What the page about adapters shows is what the commands take, say and write."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer

from tests.models.sizes import PREDICT2_2B
from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.base import Base
from worldtune.cli.main import build_app, run
from worldtune.config.video2world import LORA_TARGETS, ModelConfig
from worldtune.models.build import build
from worldtune.models.lora import add_lora
from worldtune.models.lora_config import LoraConfig, read_targets
from worldtune.recipes.predict2 import LORA_STRENGTHS
from worldtune.train.adapters import adapter_lines

PAGE = (Path(__file__).parents[2] / "docs" / "lora.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
CONFIG = LoraConfig(rank=16, alpha=16.0, targets=read_targets(LORA_TARGETS))


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: " ".join(line.split()[1:4]))
def test_the_commands_take_what_the_page_gives_them(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, name, *words = shlex.split(line)
    assert program == "worldtune"
    if name == "train":
        assert run([name, *words, "--dryrun"]) == 0
        return
    command = typer.main.get_command(build_app()).commands[name]  # pyright: ignore
    if name == "lora":
        name, words = words[0], words[1:]
        command = command.commands[name]
    command.make_context(name, words)


def test_every_command_is_shown():
    names = [shlex.split(line)[1:3] for line in COMMANDS]

    assert {name for name, _ in names} == {"train", "generate", "lora"}
    assert {word for name, word in names if name == "lora"} == {"merge", "extract", "export"}


def test_the_lines_of_a_run_are_those_of_the_page():
    network = build(PREDICT2_2B, device="meta", dtype=torch.bfloat16)
    add_lora(network, CONFIG, seed=0)

    for line in adapter_lines(network, CONFIG, average=True):
        assert f"[INFO] {line}\n" in PAGE


def test_the_strengths_are_those_of_the_page():
    for name, (rank, power) in LORA_STRENGTHS.items():
        assert f"| `{name}` | {rank} | {rank} | 2^{power} |" in PAGE


def test_every_setting_on_the_page_exists():
    told = re.findall(r"`model\.config\.(\w+)`", PAGE)

    assert len(told) >= 4
    assert set(told) <= ModelConfig.model_fields.keys()


def test_the_header_of_a_file_has_the_keys_of_the_page():
    notes = AdapterNotes(
        config=CONFIG, family="predict2", iteration=1, base=Base("0", "a"), recipe={}, pieces={}
    )

    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert notes.to_header().keys() - {"format"} <= told
    for keys in (CONFIG.to_json(), Base("0").to_json()):
        assert "`{" + ", ".join(f'"{key}"' for key in keys) + "}`" in PAGE

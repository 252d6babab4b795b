"""What the page about making clips shows is what the command takes and does."""

import json
import re
import shlex
from pathlib import Path

import typer

from worldtune.cli.main import build_app
from worldtune.config.video2world import HelperModelSettings
from worldtune.inference.hooks import Guardrail
from worldtune.inference.request import read_batch
from worldtune.inference.sizes import SIZES

PAGE = (Path(__file__).parents[2] / "docs" / "generate.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def generate_command():
    return typer.main.get_command(build_app()).commands["generate"]  # pyright: ignore


def test_the_command_takes_every_command_of_the_page():
    commands = [shlex.split(block.replace("\\\n", "")) for block in blocks("bash")]

    assert len(commands) == 4
    for program, name, *words in commands:
        assert (program, name) == ("worldtune", "generate")
        context = generate_command().make_context("generate", words)
        assert context.params["checkpoint"] is not None


def test_every_option_on_the_page_exists_and_every_spelling_of_the_original_is_there():
    known = {
        word
        for option in generate_command().params
        for word in (*option.opts, *option.secondary_opts)
    }
    told = set(re.findall(r"`(--[a-z][\w-]*)", PAGE))

    assert told <= known
    assert {word for word in known if "_" in word} <= told


def test_the_batch_of_the_page_is_read(tmp_path):
    path = tmp_path / "clips.json"
    path.write_text(blocks("json")[0])

    assert len(read_batch(path)) == len(json.loads(blocks("json")[0])) == 2


def test_the_guardrail_of_the_page_is_one():
    names: dict = {}
    exec(blocks("python")[0], names)
    guardrail = names["make_guardrail"](HelperModelSettings())

    assert isinstance(guardrail, Guardrail)
    assert guardrail.refuse_prompt("Blood on the road") == "it names blood"
    assert guardrail.refuse_prompt("A van stops.") is None


def test_the_sizes_of_the_page_are_those_of_the_command():
    for resolution, sizes in SIZES.items():
        row = " | ".join(f"{width}x{height}" for height, width in sizes.values())
        assert f"| {resolution} | {row} |" in PAGE

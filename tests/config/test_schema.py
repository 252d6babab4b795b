"""The schema: described, used, and equal to its page."""

import ast
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import worldtune
from worldtune.config.inert import INERT, reason_of
from worldtune.config.refusals import REFUSALS, VALIDATION
from worldtune.config.schema import schema_leaves
from worldtune.config.schema_page import schema_page
from worldtune.config.tree import dotted
from worldtune.recipes.roots import ROOTS

PACKAGE = Path(worldtune.__file__).parent
SETTINGS_PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
KEYS = {dotted(leaf.path): leaf for root in ROOTS.values() for leaf in schema_leaves(root.schema)}

# Settings that nothing reads yet. An entry goes as soon as its setting is read.
NOT_YET_READ = {
    # Of use to several processes only.
    "trainer.distributed_parallelism",
    "trainer.timeout_period",
    "model.config.fsdp_shard_size",
    # Cosmos-Reason1, which a real run refuses.
    "model.config.pipe_config.text_encoder.cosmos_reason1.ckpt_path",
    "model.config.pipe_config.text_encoder.cosmos_reason1.num_tokens",
    "model.config.pipe_config.text_encoder.cosmos_reason1.embed_dim",
}

READ_BY_RECIPES = {"root", "checkpoint.weights_dir"}
HANDED_TO_HOOKS = {
    f"model.config.pipe_config.{helper}_config.{name}"
    for helper in ("prompt_refiner", "guardrail")
    for name in ("checkpoint_dir", "offload_model_to_cpu")
}
HELD_TO_ONE_VALUE = {
    "model_parallel.pipeline_model_parallel_size",
    "model.config.pipe_config.state_ch",
}


def read_names() -> set[tuple[str, str]]:
    """Pairs (what stands before the point, name) of every attribute read outside the schema."""
    pairs = set()
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[0] in ("config", "recipes") and file.name != "files.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                before = node.value
                name = (
                    before.attr if isinstance(before, ast.Attribute) else getattr(before, "id", "")
                )
                pairs.add((name, node.attr))
    return pairs


READ = read_names()
READ_ANYWHERE = {name for _, name in READ}
NAMES = Counter(key.rpartition(".")[2] for key in KEYS)
# What a section may be called where it is handed on.
HANDED_ON = {
    "settings",
    "_settings",
    "levels",
    "recipe",
    "loader",
    "net",
    "encoder",
    "pipe",
    "config",
}


def is_read(key: str) -> bool:
    """Whether some code reads section.name, or name of a section handed on.

    A name of several words that only one setting has may be read from anything.
    """
    *above, name = key.split(".")
    if NAMES[name] == 1 and "_" in name:
        return name in READ_ANYWHERE
    return any((before, name) in READ for before in {*above[-1:], *HANDED_ON})


def only_choice(key: str) -> bool:
    annotation = KEYS[key].field.annotation
    options = [each for each in (annotation, *get_args(annotation)) if get_origin(each) is Literal]
    return bool(options) and len(get_args(options[0])) == 1


def test_every_setting_is_described():
    assert [key for key, leaf in KEYS.items() if not leaf.field.description] == []


def is_refused(key: str) -> bool:
    """Whether a real run refuses it, or the switch of its section."""
    rows = [row.key for row in (*REFUSALS, VALIDATION)]
    section = key.rpartition(".")[0]
    return key in rows or any(row.startswith(f"{section}.enable") for row in rows)


def test_every_setting_is_read_or_stands_in_a_table():
    """No setting is read and ignored."""
    unread = {
        key
        for key in KEYS
        if not (is_read(key) or reason_of(key) or is_refused(key) or only_choice(key))
    }

    accounted = READ_BY_RECIPES | HANDED_TO_HOOKS | HELD_TO_ONE_VALUE
    assert unread - accounted == NOT_YET_READ


def test_a_setting_of_the_recipes_is_used_by_one():
    options = [option for root in ROOTS.values() for group in root.groups for option in
               group.options.values()]  # fmt: skip

    assert "${checkpoint.weights_dir}" in str(options)


@pytest.mark.parametrize("pattern", INERT)
def test_a_row_of_the_inert_table_names_a_setting(pattern):
    assert any(fnmatchcase(key, pattern) for key in KEYS)


def test_a_refused_setting_exists_and_its_default_works():
    for row in REFUSALS:
        assert KEYS[row.key].field.default in row.works


def test_the_page_of_settings_is_current():
    """Made by `worldtune show --schema > docs/settings.md`."""
    assert SETTINGS_PAGE.read_text() == schema_page(ROOTS.values())

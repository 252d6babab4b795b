"""The settings in a run's folder read back to the recipe that was written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.config.composing import FULL, LORA, TINY, composed
from worldtune.config.files import (
    output_root,
    read_config,
    run_folder,
    to_yaml,
    write_config,
)
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.tree import merged, nested
from worldtune.errors import RecipeError

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, allow_infinity=False)
texts = st.text(min_size=1)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "job.name": st.text(min_size=1).filter(lambda name: not name.startswith("/") and name != ".."),
    "trainer.max_iter": st.integers(1, 10**18),
    "trainer.timeout_period": st.integers(min_value=1),
    "trainer.max_val_iter": st.none() | st.integers(min_value=1),
    "trainer.type": st.none() | st.text(),
    "trainer.run_validation": st.booleans(),
    "optimizer.lr": positive,
    "optimizer.weight_decay": st.floats(min_value=0, allow_infinity=False),
    "scheduler.f_max": st.tuples(st.floats(min_value=0, allow_infinity=False)),
    "checkpoint.load_path": st.text(),
    "checkpoint.keys_not_to_resume": st.lists(st.text(), max_size=3).map(tuple),
    "dataloader_train.dataset.dataset_dir": texts,
    "dataloader_val": st.none(),
    "model.config.fsdp_shard_size": st.integers(-1, 64),
}


def changed(changes: dict[str, Any]) -> Predict2Recipe:
    tree = composed(TINY, "trainer.run_validation=false").recipe.model_dump()
    for key, value in changes.items():
        tree = merged(tree, nested(tuple(key.split(".")), value))
    if tree["dataloader_val"] is None:
        tree["trainer"]["run_validation"] = False
    return Predict2Recipe.model_validate(tree)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_a_recipe_reads_back_as_it_was_written(tmp_path_factory, changes):
    recipe = changed(changes)
    path = write_config(tmp_path_factory.mktemp("run"), recipe)

    assert read_config(path, Predict2Recipe) == recipe


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "a\nb\n", "\ufeff", "\x00", " ", "no", "1e5"])
def test_odd_texts_read_back(text, tmp_path):
    recipe = changed({"checkpoint.load_path": text})

    assert read_config(write_config(tmp_path, recipe), Predict2Recipe) == recipe


@pytest.mark.parametrize("experiment", [FULL, LORA, TINY])
def test_a_published_recipe_reads_back(experiment, tmp_path):
    recipe = composed(experiment).recipe

    assert read_config(write_config(tmp_path, recipe), Predict2Recipe) == recipe


def test_the_folder_holds_the_whole_file_or_the_one_before(tmp_path, monkeypatch):
    """The new file is complete and synced before it takes the name."""
    first, second = composed(TINY).recipe, composed(FULL).recipe
    path = write_config(tmp_path / "a" / "b", first)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="the disk is full"):
        write_config(tmp_path / "a" / "b", second)

    assert read_config(path, Predict2Recipe) == first
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


def test_numbers_may_be_written_as_other_programs_do(tmp_path):
    text = to_yaml(composed(TINY).recipe).replace("lr: 0.002", "lr: 2e-3")
    (tmp_path / "config.yaml").write_text(text)

    assert read_config(tmp_path / "config.yaml", Predict2Recipe).optimizer.lr == 0.002


def test_mistakes_in_the_file_are_told_with_its_name(tmp_path):
    path = tmp_path / "config.yaml"
    text = to_yaml(composed(TINY).recipe)
    path.write_text(
        text.replace("max_iter: 300", "max_iters: 300").replace("seed: 0", "seed: x", 1)
    )
    with pytest.raises(RecipeError) as told:
        read_config(path, Predict2Recipe)

    assert str(told.value) == (
        f"2 mistakes:\ntrainer.seed is the text 'x'; expected a whole number\n  (set by {path})\n"
        f"trainer.max_iters is not a setting; did you mean 'max_iter'?\n  (set by {path})"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path} cannot be read: No such file or directory"),
        ("- a\n", "{path} holds no settings"),
        ("a: [\n", "{path} is not YAML: "),
        (b"\xff\xfe\xfa", "{path} is not YAML: "),
    ],
)
def test_a_file_that_holds_no_settings_is_told(content, message, tmp_path):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError) as told:
        read_config(path, Predict2Recipe)

    assert str(told.value).startswith(message.format(path=path))


def test_a_run_lives_where_the_documents_say():
    job = composed(FULL).recipe.job

    assert run_folder(job, {}) == Path("checkpoints/posttraining/video2world/2b_its")


@pytest.mark.parametrize("name", ["IMAGINAIRE_OUTPUT_ROOT", "OUTPUT_ROOT"])
def test_either_variable_moves_the_output_root(name):
    assert output_root({name: "/runs"}) == Path("/runs")
    assert output_root({name: ""}) == Path("checkpoints")


def test_two_variables_that_differ_are_a_mistake():
    both = {"IMAGINAIRE_OUTPUT_ROOT": "/a", "OUTPUT_ROOT": "/b"}
    with pytest.raises(RecipeError) as told:
        output_root(both)

    assert str(told.value) == (
        "IMAGINAIRE_OUTPUT_ROOT=/a and OUTPUT_ROOT=/b name different output roots; "
        "unset one of them"
    )
    assert output_root({**both, "OUTPUT_ROOT": "/a"}) == Path("/a")


def test_a_recipe_cannot_be_changed_after_reading():
    recipe = composed(TINY).recipe
    with pytest.raises(ValidationError, match="frozen"):
        recipe.trainer.max_iter = 5

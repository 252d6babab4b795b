"""From --config and --experiment to a root, an experiment and a user's file."""

from pathlib import Path

import pytest

from worldtune.errors import RecipeError
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.roots import ROOTS, choose

FULL = "predict2_video2world_training_2b_its"
ONE = "mine = dict(defaults=['_self_'], trainer=dict(max_iter=5))\n"
TWO = ONE + "other = dict(defaults=['_self_'])\n"


def test_every_root_stands_in_the_table_under_its_name():
    assert all(name == root.name for name, root in ROOTS.items())


@pytest.mark.parametrize(
    "config",
    [None, "predict2", "cosmos_predict2/configs/base/config.py",
     "./cosmos_predict2/configs/base/config.py"],
)  # fmt: skip
def test_a_root_is_found_by_experiment_by_name_and_by_the_published_path(config):
    chosen = choose(config, FULL)

    assert (chosen.root, chosen.experiment, chosen.user_file) == (PREDICT2, FULL, None)


def test_without_words_the_root_is_the_first():
    assert choose(None, None).root is PREDICT2


def test_the_only_experiment_of_a_file_need_not_be_named(tmp_path):
    (tmp_path / "my_run.py").write_text(ONE)
    chosen = choose(str(tmp_path / "my_run.py"), None)

    assert (chosen.root, chosen.experiment) == (PREDICT2, "mine")
    assert chosen.user_file is not None


def test_a_file_with_several_experiments_asks_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_run.py").write_text(TWO)
    with pytest.raises(RecipeError) as told:
        choose("my_run.py", None)

    assert str(told.value) == "my_run.py has 2 experiments; choose one: mine, other"


def test_a_file_can_be_given_beside_a_built_in_experiment(tmp_path):
    (tmp_path / "my_run.py").write_text(TWO)

    assert choose(str(tmp_path / "my_run.py"), FULL).experiment == FULL


@pytest.mark.parametrize(
    ("config", "ending"),
    [
        ("predict3", "did you mean 'predict2'?"),
        (
            "x/y.py",
            "expected predict2, transfer1, cosmos_predict2/configs/base/config.py, "
            "cosmos_transfer1/diffusion/config/config_train.py, "
            "cosmos_transfer1/diffusion/config/training/experiment/ctrl_7b_tp_sample_av.py "
            "or a file of yours",
        ),
    ],
)
def test_a_config_that_is_neither_root_nor_file_is_told(config, ending):
    with pytest.raises(RecipeError) as told:
        choose(config, None)

    assert str(told.value) == f"--config={config} is neither a root nor a file; {ending}"


def test_an_experiment_that_no_root_has_is_told():
    with pytest.raises(RecipeError) as told:
        choose(None, FULL.replace("its", "it"))

    assert str(told.value).endswith(f"is not known; did you mean '{FULL}'?")

"""Who set what: the sources, laid over one another, make what Hydra composed."""

from pathlib import Path

import hydra
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.config.composing import FULL, LORA, NOBODY, TINY, composed, composed_from
from worldtune.config.compose import Sources, compose_sources, hydra_store
from worldtune.config.layers import gather
from worldtune.config.origins import COMMAND_LINE, Layer, Word, idle_words, lay, origins_of
from worldtune.config.schema import schema_leaves
from worldtune.config.tree import Tree, dotted, leaves
from worldtune.config.user_file import StoreEntry, UserFile
from worldtune.errors import RecipeError
from worldtune.recipes.predict2 import PREDICT2

KEYS = [
    dotted(leaf.path)
    for leaf in schema_leaves(PREDICT2.schema)
    if not dotted(leaf.path).startswith(("dataloader_val", "trainer.callbacks"))
]
VALUES = ["3", "-0.5", "1e-5", "true", "null", "some_text", "[1,2.5]", "{}", "{a: 1, b: [x]}"]
CHOICES = ["lora=aggressive", "scheduler=constant", "model=predict2_video2world_tiny",
           "dataloader_val=mock_image", "callbacks=basic"]  # fmt: skip
FILE = UserFile(
    Path("my_run.py"),
    {
        "mine": {
            "defaults": [
                {"override /lora": "conservative"},
                {"override /optimizer": "gentle"},
                {"override /ema": "late"},
                "_self_",
            ],
            "trainer": {"callbacks": {"iter_speed": {"hit_thres": 3}}, "cudnn": {}},
            "dataloader_train": {"dataset": {"mix": {"a/b.c": 1.0}, "video_size": (32, 32)}},
            "new": {"deep": {"er": None}},
        }
    },
    (
        StoreEntry("optimizer", "gentle", None, {"lr": 1e-6}),
        StoreEntry("ema", "late", "model.config.pipe_config", {"state_t": 3}),
    ),
)


def composed_by_hydra(experiment: str | None, words: list[str], made: Sources) -> Tree:
    """The same sources, with their values, composed by Hydra itself."""
    layers = gather(PREDICT2, experiment, FILE, NOBODY)
    chosen = [word for word in words if word in CHOICES]
    passed = [source.text for source in made.ordered if isinstance(source, Word)]
    with hydra_store() as store:
        store.store(name="config", node={"defaults": layers.defaults_list(), **layers.base})
        for group, options in layers.options.items():
            for name, option in options.items():
                lists = {"defaults": list(option.defaults)} if option.defaults else {}
                node = {**lists, **option.values}
                store.store(group=group, name=name, node=node, package=option.package)
        tree = OmegaConf.to_container(hydra.compose("config", overrides=[*chosen, *passed]))
    assert isinstance(tree, dict)
    return tree


def sources(experiment: str | None, *words: str) -> Sources:
    return compose_sources(PREDICT2, experiment, words, FILE, NOBODY)


@st.composite
def words(draw: st.DrawFn) -> list[str]:
    keys = st.sampled_from(KEYS)
    value = st.builds(lambda sign, key, value: f"{sign}{key}={value}",
                      st.sampled_from(["", "+", "++"]), keys, st.sampled_from(VALUES))  # fmt: skip
    gone = st.builds(lambda key: f"~{key}", keys)
    return draw(st.lists(st.one_of(value, value, gone, st.sampled_from(CHOICES)), max_size=6))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(experiment=st.sampled_from([None, FULL, LORA, TINY, "mine"]), line=words())
def test_the_sources_laid_over_one_another_are_what_hydra_composed(experiment, line):
    made = sources(experiment, *line)

    assert lay(made.ordered) == made.tree
    assert set(origins_of(made.ordered, made.tree)) == {
        dotted(path) for path, _ in leaves(made.tree)
    }


@pytest.mark.parametrize("experiment", ["mine", FULL])
def test_hydra_takes_the_sources_in_the_order_of_the_documents(experiment):
    """Defaults, groups in the root's order, the experiment, what is laid over it."""
    told = [layer.who for layer in sources(experiment, "lora=aggressive").ordered]
    own = f"experiment 'mine' of {FILE.path}" if experiment == "mine" else f"experiment '{FULL}'"

    assert told[:2] == ["the defaults", "COSMOS_PREDICT2_ARGS"]
    assert told[-1] == "lora=aggressive"
    assert told.index("callbacks=basic") < told.index(own)
    if experiment == "mine":
        assert told.index("ema=late of my_run.py") < told.index("lora=conservative")
        assert told.index("lora=conservative") < told.index(own)


def test_a_dict_on_the_command_line_sets_only_what_it_holds():
    origins = composed(FULL, "dataloader_train.sampler={seed: 3}").origins

    assert origins["dataloader_train.sampler.seed"] == COMMAND_LINE
    assert origins["dataloader_train.sampler.shuffle"] == f"experiment '{FULL}'"


@pytest.mark.parametrize(
    ("recipes", "word", "mix", "folder"),
    [
        ({"dataset_dir": "town"}, "mix={a: 1, b.c: 3}", {"a": 1.0, "b.c": 3.0}, None),
        ({"mix": {"a": 1, "b": 1}}, "mix={b: 2, c: 1}", {"b": 2.0, "c": 1.0}, None),
        ({"mix": {"a": 1, "b": 1}}, "dataset_dir=town", None, "town"),
        ({"mix": {"a": 1, "b": 1}}, "mix.b=2", {"a": 1.0, "b": 2.0}, None),
        ({"dataset_dir": "town"}, "mix=null", None, "town"),
    ],
)
def test_clips_of_the_command_line_come_in_place_of_the_recipes(recipes, word, mix, folder):
    experiment = {"mine": {"dataloader_train": {"dataset": recipes}}}
    told = composed_from(experiment, f"dataloader_train.dataset.{word}")

    dataset = told.recipe.dataloader_train.dataset
    assert (dataset.mix, dataset.dataset_dir) == (mix, folder)


def test_a_folder_and_a_mixture_on_one_command_line_are_a_mistake():
    line = [f"dataloader_train.dataset.{word}" for word in ("dataset_dir=town", "mix={a: 1}")]

    with pytest.raises(RecipeError, match="has both dataset_dir and mix; expected one of them"):
        composed(FULL, *line)


def test_every_setting_of_a_recipe_has_an_origin():
    told = composed(TINY)

    assert set(told.origins) >= {dotted(path) for path, _ in leaves(told.recipe.model_dump())}


def test_a_word_is_idle_when_its_value_was_there_and_only_then():
    layer = Layer("x", {"a": 1, "b": [1, 2], "c": True})
    line = [Word("++a=1", ("a",), 1), Word("++b.0=1", ("b", 0), 1), Word("++c=1", ("c",), 1)]

    assert idle_words([layer, *line]) == ("a=1",)


def test_a_later_source_hides_an_earlier_one():
    below, above = Layer("below", {"a": {"x": 1, "y": 2}}), Layer("above", {"a": {"y": 3}})
    gone = Word("~a.x", ("a", "x"), None, delete=True)

    assert lay([below, above, gone]) == {"a": {"y": 3}}
    assert origins_of([below, above], {"a": {"x": 1, "y": 3}}) == {"a.x": "below", "a.y": "above"}

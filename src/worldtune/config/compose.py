"""Composing a recipe from its sources with Hydra: the one file that knows Hydra.

Hydra chooses the options, orders the sources and reads the `key=value` words. The values are
laid over one another by `origins.lay`, which remembers who set each, and checked against the
schema: Hydra says nothing of a key that does not exist or a value of the wrong kind.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra import initialize
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from worldtune.config.layers import Layers, choose, gather, option_tree
from worldtune.config.mistakes import Mistake, listed_words, raise_all
from worldtune.config.origins import (
    COMMAND_LINE,
    DEFAULTS,
    Layer,
    Word,
    idle_words,
    lay,
    origins_of,
    reaches,
)
from worldtune.config.references import OPENING, part_referred_to
from worldtune.config.root import Facts, Root
from worldtune.config.tree import Tree, dotted, leaves, merged, nested, plain, without
from worldtune.config.user_file import UserFile
from worldtune.config.validate import validate

CONFIG = "config"
NO_EXPERIMENT = Mistake("no experiment is chosen; `worldtune show` lists them")


@dataclass(frozen=True)
class Composed:
    """A recipe that was checked, who set each value, and what is worth a remark."""

    recipe: Any
    origins: dict[str, str]
    notices: tuple[str, ...]
    root: Root
    experiment: str | None


@dataclass(frozen=True)
class Sources:
    """What was composed: the sources in Hydra's order, and the tree that they make."""

    tree: Tree
    """With interpolations as they were written."""
    resolved: Tree
    ordered: tuple[Layer | Word, ...]
    notices: tuple[str, ...]
    mistakes: tuple[Mistake, ...]


def compose(
    root: Root,
    experiment: str | None,
    overrides: Sequence[str] = (),
    user_file: UserFile | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Composed:
    """Compose one recipe and check it.

    `overrides` are words in Hydra's grammar: key=value, +key=value, ~key, group=option.
    `environment` holds the environment variables that count, by default the process's.

    Raises RecipeError that tells every mistake of every source at once.
    """
    environment = os.environ if environment is None else environment
    sources = compose_sources(root, experiment, overrides, user_file, environment)
    origins = origins_of(sources.ordered, sources.tree)
    recipe, mistakes = validate(root.schema, sources.resolved)
    if experiment is None and mistakes:
        mistakes.insert(0, NO_EXPERIMENT)
    raise_all([*sources.mistakes, *mistakes], origins)
    assert recipe is not None
    for path, _ in leaves(recipe.model_dump()):
        origins.setdefault(dotted(path), DEFAULTS)
    told = list(dict.fromkeys(sources.notices))
    if root.notices:
        told += root.notices(_facts(recipe, origins, experiment, sources, environment))
    return Composed(recipe, origins, tuple(told), root, experiment)


def _facts(
    recipe: Any,
    origins: Mapping[str, str],
    experiment: str | None,
    sources: Sources,
    environment: Mapping[str, str],
) -> Facts:
    built_in = [each for each in sources.ordered if isinstance(each, Layer) and each.built_in]
    processes = environment.get("WORLD_SIZE", "")
    return Facts(
        recipe=recipe,
        origins=origins,
        experiment=experiment,
        built_in=lay(built_in),
        idle_words=idle_words(sources.ordered),
        processes=int(processes) if processes.isdecimal() else None,
    )


def compose_sources(
    root: Root,
    experiment: str | None,
    overrides: Sequence[str],
    user_file: UserFile | None,
    environment: Mapping[str, str],
) -> Sources:
    """Gather the sources, let Hydra put them together, and keep its order of them."""
    layers = gather(root, experiment, user_file, environment)
    choices, words = _read_words(layers, overrides)
    try:
        ordered = _ordered(layers, choices)
    except HydraException as error:
        layers.mistakes.append(Mistake(f"the choices of options do not work: {error}"))
        raise_all(layers.mistakes, {})
        raise
    sources = [*ordered, *_words_that_apply(layers, ordered, words)]
    tree = lay(sources)
    resolved = _resolved(tree, layers)
    return Sources(tree, resolved, tuple(sources), tuple(layers.notices), tuple(layers.mistakes))


@contextmanager
def hydra_store() -> Iterator[ConfigStore]:
    """Hydra with an empty store; what was in it before is put back after."""
    store = ConfigStore.instance()
    before = store.repo
    store.repo = {name: node for name, node in before.items() if name.startswith("_")}
    try:
        # Hydra's settings of itself, without the launchers and sweepers that it looks up for them.
        store.store(group="hydra", name="config", node=HydraConf(defaults=[]), package="hydra")
        with initialize(version_base="1.3", config_path=None):
            yield store
    finally:
        store.repo = before


def _ordered(layers: Layers, choices: Sequence[str]) -> list[Layer]:
    """The sources that take part, in the order in which Hydra lays them over one another.

    That laying the values over one another in this order makes what Hydra would is tested.
    """
    lists = {
        f"{group}/{name}": [option.package, list(option.defaults)]
        for group, name, option in layers.taking_part()
    }
    result: list[Layer] = []
    for place in _order(json.dumps([layers.defaults_list(), lists, list(choices)])):
        group, _, name = place.partition("/")
        if group == CONFIG:
            result.append(Layer(DEFAULTS, layers.base, built_in=True))
        elif group in layers.options:
            option = layers.options[group][name]
            result.append(Layer(option.who, option_tree(option), option.built_in))
    return result


@lru_cache(maxsize=256)
def _order(lists: str) -> tuple[str, ...]:
    """Hydra's order of lists of choices, written in JSON; the values do not matter to it.

    They are left out because Hydra copies what it loads, many times over.
    """
    root_list, options, choices = json.loads(lists)
    with hydra_store() as store:
        store.store(name=CONFIG, node={"defaults": root_list})
        for place, (package, defaults) in options.items():
            group, _, name = place.partition("/")
            node = {"defaults": defaults} if defaults else {}
            store.store(group=group, name=name, node=node, package=package)
        loader = GlobalHydra.instance().config_loader()
        order = loader.compute_defaults_list(CONFIG, choices, RunMode.RUN).defaults
    return tuple(default.config_path or "" for default in order)


def _read_words(layers: Layers, overrides: Sequence[str]) -> tuple[list[str], list[Word]]:
    """The words as choices of options, in Hydra's form, and as settings of values."""
    parser = OverridesParser.create()
    choices: list[str] = []
    words: list[Word] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            layers.mistakes.append(Mistake(f"'{text}' cannot be read; {_reading(text)}"))
            continue
        if override.is_sweep_override():
            ending = f"write [{text.partition('=')[2]}] for a list"
            layers.mistakes.append(Mistake(f"'{text}' holds several values; {ending}"))
            continue
        if re.match(r"hydra\b|.*[/@]", override.key_or_group):
            text = f"'{text}' is about Hydra itself; expected a setting or a group of settings"
            layers.mistakes.append(Mistake(text))
        elif _is_choice(layers, override):
            choices.extend(_choice(layers, override, text))
        else:
            words.append(_word(layers, override, text))
    return choices, words


def _reading(text: str) -> str:
    """What is probably wrong with a word that Hydra's grammar does not know."""
    key, _, value = text.partition("=")
    if re.fullmatch(r"[-+*/().\d\s]+", value):
        return "write the number out, nothing is computed"
    return f"put a text with signs in quotes: {key}='\"{value}\"'"


def _is_choice(layers: Layers, override: Override) -> bool:
    name = layers.root.aliases.get(override.key_or_group, override.key_or_group)
    return layers.root.group(name) is not None and not isinstance(override.value(), dict)


def _choice(layers: Layers, override: Override, text: str) -> list[str]:
    """A choice of an option. Nothing cannot be chosen: an experiment's values would stay."""
    option = override.value()
    if override.is_delete() or option is None:
        options = layers.options[layers.meant(override.key_or_group)]
        ending = f"a group has an option: {listed_words(options)}"
        layers.mistakes.append(Mistake(f"'{text}' takes an option away; {ending}"))
        return []
    group = choose(layers, override.key_or_group, option, COMMAND_LINE)
    if group is None:
        return []
    chosen = f"[{','.join(map(str, option))}]" if isinstance(option, list) else str(option)
    return [f"{group.name}={chosen}"]


def _word(layers: Layers, override: Override, text: str) -> Word:
    """A word that sets or takes away a value; whether the key exists is checked later."""
    head, dot, rest = override.key_or_group.partition(".")
    key = layers.meant(head) + dot + rest
    path = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
    if override.is_delete():
        return Word(f"~{key}", path, None, delete=True)
    return Word(f"++{key}={text.partition('=')[2]}", path, plain(override.value()))


def _words_that_apply(
    layers: Layers, ordered: Sequence[Layer], words: Sequence[Word]
) -> Iterator[Word]:
    """The words without those that take away or index what is not there."""
    so_far: list[Layer | Word] = list(ordered)
    for word in words:
        needed = word.path if word.delete else word.up_to_last_index
        if needed and not reaches(lay(so_far), needed):
            text = f"'{word.text.lstrip('+')}': there is no {'.'.join(map(str, needed))}"
            layers.mistakes.append(Mistake(text))
            continue
        for each in (*_taken_away(word, words, so_far), word):
            so_far.append(each)
            yield each


# A mixture of folders and a folder: the command line's stands in place of the recipe's.
_INSTEAD_OF: dict[tuple[str, ...], str] = {
    ("dataset", "mix"): "dataset_dir",
    ("dataset", "dataset_dir"): "mix",
}


def _taken_away(word: Word, words: Sequence[Word], below: Sequence[Layer | Word]) -> Iterator[Word]:
    """Words that take away what a word stands in place of, be it a mixture's own shares."""
    other = _INSTEAD_OF.get(word.keys[-2:])
    if other is None or word.delete or word.value is None:
        return
    tree = lay(below)
    if isinstance(word.value, dict) and reaches(tree, word.path):
        yield Word(f"~{dotted(word.keys)}", word.keys, None, delete=True)
    path = (*word.keys[:-1], other)
    if reaches(tree, path) and all(each.path != path for each in words):
        yield Word(f"++{dotted(path)}=null", path, None)


def _resolved(tree: Tree, layers: Layers) -> Tree:
    """The tree with its ${...} filled in; those that lead nowhere are mistakes."""
    written = [(path, value) for path, value in leaves(tree) if OPENING in str(value)]
    # Working out all of the tree would take half of the time of composing.
    config = OmegaConf.create(part_referred_to(tree, written)) if written else None
    for path, value in written:
        tree = without(tree, path)
        try:
            node: Any = config
            for key in path:
                node = node[key]
            found = (
                OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            )
        except OmegaConfBaseException:
            text = f"{dotted(path)} is '{value}', which leads nowhere; expected ${{another.key}}"
            layers.mistakes.append(Mistake(text, (dotted(path),)))
        else:
            tree = merged(tree, nested(path, found))
    return tree

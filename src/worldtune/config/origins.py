"""Who set each value: the sources laid over one another, in Hydra's order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldtune.config.tree import (
    Path,
    Tree,
    dotted,
    found,
    leaves,
    merged,
    places,
    value_at,
    without,
)

COMMAND_LINE = "the command line"
DEFAULTS = "the defaults"
EXPERIMENT = "experiment"
"""How the name of an experiment as a source begins."""


@dataclass(frozen=True)
class Layer:
    """One source, at its place in the whole tree."""

    who: str
    values: Tree
    built_in: bool = False
    """Whether it is the project's own and no experiment."""


@dataclass(frozen=True)
class Word:
    """One word of the command line that sets or, with `~`, takes away a value.

    Steps of the path into a list are numbers.
    """

    text: str
    path: tuple[str | int, ...]
    value: Any
    delete: bool = False

    @property
    def keys(self) -> Path:
        """The path down to the setting, without steps into a list."""
        return tuple(step for step in self.path if isinstance(step, str))

    @property
    def up_to_last_index(self) -> tuple[str | int, ...]:
        """The path down to the last step into a list; empty where there is none."""
        numbers = [place for place, step in enumerate(self.path) if isinstance(step, int)]
        return self.path[: numbers[-1] + 1] if numbers else ()


def reaches(tree: Tree, path: tuple[str | int, ...]) -> bool:
    """Whether the tree has something, not nothing, at a path, which may step into lists."""
    value: Any = tree
    for step in path:
        if isinstance(value, list):
            value = dict(enumerate(value))
        elif isinstance(value, dict):
            step = str(step)
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return value is not None


def lay(sources: Sequence[Layer | Word]) -> Tree:
    """The tree that the sources make, later ones over earlier ones."""
    tree: Tree = {}
    for source in sources:
        if isinstance(source, Layer):
            tree = merged(tree, source.values)
        elif source.delete:
            tree = without(tree, source.keys)
        else:
            tree = _set(tree, source.path, source.value)
    return tree


def _set(below: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The value below with one place in it set; a dict is joined with what is there."""
    if not path:
        joined = isinstance(value, Mapping) and isinstance(below, dict)
        return merged(below, value) if joined else value
    step, *rest = path
    if isinstance(below, dict) and isinstance(step, int):
        step = str(step)  # a dict by numbers
    if isinstance(step, int):
        items = list(below)
        items[step] = _set(items[step], tuple(rest), value)
        return items
    under = below if isinstance(below, dict) else {}
    return {**under, step: _set(under.get(step), tuple(rest), value)}


def origins_of(sources: Sequence[Layer | Word], tree: Tree) -> dict[str, str]:
    """For each leaf of the finished tree, the last source that set it."""
    latest_first = [
        (source, frozenset(places(source.values)) if isinstance(source, Layer) else frozenset())
        for source in reversed(sources)
    ]
    result: dict[str, str] = {}
    for path, _ in leaves(tree):
        for source, held in latest_first:
            if path in held or (isinstance(source, Word) and _sets(source, path)):
                result[dotted(path)] = COMMAND_LINE if isinstance(source, Word) else source.who
                break
        else:
            result[dotted(path)] = DEFAULTS
    return result


def _sets(word: Word, path: Path) -> bool:
    if word.delete:
        return False
    keys = word.keys
    if tuple(map(str, word.path)) == tuple(map(str, path)):
        return True
    if path[: len(keys)] != keys:
        return False
    inside = path[len(keys) :]
    return not inside or (isinstance(word.value, Mapping) and found(word.value, inside))


def idle_words(sources: Sequence[Layer | Word]) -> tuple[str, ...]:
    """Words that set a value which was there without them."""
    tree = lay([source for source in sources if isinstance(source, Layer)])
    return tuple(
        source.text.lstrip("+")
        for source in sources
        if isinstance(source, Word)
        and not source.delete
        and source.keys == source.path
        and found(tree, source.keys)
        and value_at(tree, source.keys) == source.value
        and type(value_at(tree, source.keys)) is type(source.value)
    )

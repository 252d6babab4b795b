"""Nested dicts of plain values: walking, merging, taking apart.

A leaf is whatever is not a filled dict: a number, a text, a list, nothing, an empty dict.
A path is the tuple of keys down to it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Tree = dict[str, Any]
Path = tuple[str, ...]


def leaves(tree: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf with its path, in the tree's order."""
    for key, value in tree.items():
        path = (*above, key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def places(tree: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    """The path of everything in the tree, sections and leaves alike."""
    for key, value in tree.items():
        path = (*above, key)
        yield path
        if isinstance(value, Mapping):
            yield from places(value, path)


def merged(base: Tree, layer: Mapping[str, Any]) -> Tree:
    """The base with the layer laid over it: dicts are joined, anything else replaced."""
    result = dict(base)
    for key, value in layer.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def nested(path: Path, value: Any) -> Tree:
    """The tree that holds one value at one path."""
    for key in reversed(path):
        value = {key: value}
    return value


def found(tree: Mapping[str, Any], path: Path) -> bool:
    """Whether the tree has something at the path, be it nothing."""
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            return False
        tree = tree[key]
    return True


def value_at(tree: Mapping[str, Any], path: Path) -> Any:
    """The value at a path that is there."""
    value: Any = tree
    for key in path:
        value = value[key]
    return value


def without(tree: Tree, path: Path) -> Tree:
    """The tree without what is at the path; unchanged where there is nothing."""
    if not found(tree, path):
        return tree
    head, *rest = path
    if rest:
        return {**tree, head: without(tree[head], tuple(rest))}
    return {key: value for key, value in tree.items() if key != head}


def plain(value: Any) -> Any:
    """The value with tuples as lists and keys as text, so that equal settings compare equal."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def dotted(path: Path) -> str:
    """A path as people write it: trainer.max_iter."""
    return ".".join(map(str, path))

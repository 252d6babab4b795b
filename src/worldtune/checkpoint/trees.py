"""From the object in a file to one flat list of names.

Trainers pack weights in different ways: flat, under `model` beside an average under `ema`,
under `state_dict`. The wrapping is taken off here, at the border.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldtune.checkpoint.entries import PlacedTensor
from worldtune.errors import CheckpointError

NETWORK_WRAPPERS = ("model", "state_dict", "module")
AVERAGE_WRAPPER = "ema"
NETWORK, AVERAGE = "net.", "net_ema."


@dataclass(frozen=True)
class Flat:
    """Tensors and other values by name, and the wrappers that were taken off."""

    tensors: dict[str, PlacedTensor]
    others: dict[str, Any]
    wrappers: tuple[str, ...]


def flatten(tree: Any, path: Path) -> Flat:
    """Give every leaf of a file's object one name.

    Names inside a known wrapper are kept; any other nesting is spelled with `/`.
    CheckpointError where two leaves would get one name, or there is no tensor at all.
    """
    named: dict[str, Any] = {}
    wrappers = _wrappers(tree)
    for name, value in _named_leaves(tree, wrappers):
        if name in named:
            raise CheckpointError(f"{path} holds {name!r} twice, in {' and '.join(wrappers)}.")
        named[name] = value
    tensors = {name: value for name, value in named.items() if isinstance(value, PlacedTensor)}
    others = {name: value for name, value in named.items() if name not in tensors}
    return Flat(tensors, others, wrappers)


def _wrappers(tree: Any) -> tuple[str, ...]:
    """The known keys under which the tensors lie, where none lies beside them."""
    if not isinstance(tree, dict) or any(isinstance(v, PlacedTensor) for v in tree.values()):
        return ()
    known = (*NETWORK_WRAPPERS, AVERAGE_WRAPPER)
    return tuple(key for key in known if isinstance(tree.get(key), dict) and tree[key])


def _named_leaves(tree: Any, wrappers: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        yield from _leaves(tree, "")
        return
    for key, value in tree.items():
        if key not in wrappers:
            yield from _leaves(value, str(key))
        elif key == AVERAGE_WRAPPER:
            yield from ((_average_name(name), leaf) for name, leaf in _leaves(value, ""))
        else:
            yield from _leaves(value, "")


def _average_name(name: str) -> str:
    """The name of an average, which its trainer keeps with `-` for every dot."""
    name = name.replace("-", ".")
    return AVERAGE + name.removeprefix(NETWORK) if name.startswith(NETWORK) else f"ema/{name}"


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every leaf below a node; an empty container is a leaf."""
    if isinstance(node, Mapping) and node:
        children = node.items()
    elif isinstance(node, list | tuple) and node:
        children = enumerate(node)
    else:
        yield name or "value", node
        return
    for key, value in children:
        yield from _leaves(value, f"{name}/{key}" if name else str(key))

"""The documents' `_target_` dicts, read as the settings they stand for.

A published settings file describes an object as a dict with the object's class under
`_target_` and its arguments beside it. The class is checked and left out; the arguments
are the settings.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from worldtune.config.mistakes import Mistake, listed_words
from worldtune.config.tree import Path, Tree, dotted, plain

LAZY_KEYS = ("_target_", "_recursive_", "_convert_")
# Filled in for the real ranks when the run starts, whatever a file computed for them.
SAMPLER_ARGUMENTS = ("dataset", "num_replicas", "rank")


def read_targets(
    tree: Mapping[str, Any], targets: Mapping[str, tuple[str, ...]], who: str
) -> tuple[Tree, list[Mistake]]:
    """The tree without `_target_` dicts, and the mistakes in them.

    `targets` names the classes that may stand under a key; * in a key is one word.
    """
    mistakes: list[Mistake] = []
    return _read(tree, (), targets, who, mistakes), mistakes


def _read(
    tree: Mapping[str, Any],
    path: Path,
    targets: Mapping[str, tuple[str, ...]],
    who: str,
    mistakes: list[Mistake],
) -> Tree:
    if "_target_" in tree:
        mistakes.extend(_check(str(tree["_target_"]), path, targets, who))
    result: Tree = {}
    for key, value in tree.items():
        if key in LAZY_KEYS:
            continue
        below = (*path, key)
        is_section = isinstance(value, Mapping)
        read = _read(value, below, targets, who, mistakes) if is_section else plain(value)
        result[str(key)] = read
    if isinstance(result.get("sampler"), dict) and len(path) == 1:
        result["sampler"] = _sampler(result, path, who, mistakes)
    return result


def _check(
    target: str, path: Path, targets: Mapping[str, tuple[str, ...]], who: str
) -> list[Mistake]:
    key = dotted(path)
    expected = [
        name for pattern, names in targets.items() if fnmatchcase(key, pattern) for name in names
    ]
    if target.rpartition(".")[2] in expected:
        return []
    ending = f"expected {listed_words(expected)}" if expected else "it takes plain values here"
    return [Mistake(f"{key} is built by '{target}', which is not supported; {ending}", who=who)]


def _sampler(loader: Tree, path: Path, who: str, mistakes: list[Mistake]) -> Tree:
    """The sampler's own settings; its data set must be the loader's."""
    sampler = loader["sampler"]
    over = sampler.get("dataset")
    if over is not None and over != loader.get("dataset", over):
        mistakes.append(
            Mistake(f"{dotted(path)}.sampler is over another data set than its loader", who=who)
        )
    return {key: value for key, value in sampler.items() if key not in SAMPLER_ARGUMENTS}

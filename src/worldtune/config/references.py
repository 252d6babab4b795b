"""What the ${...} of a tree refer to, so that only that much of it has to be worked out."""

import re
from collections.abc import Iterable
from typing import Any

from worldtune.config.tree import Path, Tree, found, leaves, merged, nested, value_at

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
OPENING = "${"


def part_referred_to(tree: Tree, written: Iterable[tuple[Path, Any]]) -> Tree:
    """The leaves with references, and what these lead to; the whole tree where one is not plain.

    Plain is a key of the tree, written with points from the top.
    """
    part: Tree = {}
    pending, seen = list(written), set[Path]()
    while pending:
        path, value = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        part = merged(part, nested(path, value))
        keys = REFERENCE.findall(str(value))
        targets = [tuple(key.split(".")) for key in keys]
        if len(keys) != str(value).count(OPENING) or not all(found(tree, t) for t in targets):
            return tree
        for target in targets:
            inside = value_at(tree, target)
            pending += (
                [(target + below, leaf) for below, leaf in leaves(inside)]
                if isinstance(inside, dict) and inside
                else [(target, inside)]
            )
    return part

"""What a settings file registers with `ConfigStore`, written down instead.

The file gets this in place of Hydra's own store: that one is a single one for the whole
process, and refuses nodes that hold objects.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Registered:
    """One call of `store`; `original` is the node itself, `node` a copy made then."""

    group: str | None
    name: str
    package: str | None
    node: Any
    original: Any


class ConfigStore:
    """Every call of `ConfigStore.instance().store(...)` in one file, in order."""

    def __init__(self) -> None:
        """Start with nothing registered."""
        self.registered: list[Registered] = []

    def instance(self) -> "ConfigStore":
        """Give the one store of the file, as `ConfigStore.instance()` is written."""
        return self

    def __call__(self) -> "ConfigStore":
        """Give the one store, as `ConfigStore()` is written."""
        return self

    def store(
        self,
        name: str,
        node: Any,
        group: str | None = None,
        package: str | None = None,
        provider: str | None = None,
    ) -> None:
        """Write one call down. `provider` only labels it."""
        self.registered.append(
            Registered(group, name.removesuffix(".yaml"), package, deepcopy(node), node)
        )

"""A root: one family of settings, with its groups and experiments, as plain data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worldtune.config.schema import default_at
from worldtune.config.settings import Settings
from worldtune.config.tree import Tree, found, plain, value_at


@dataclass(frozen=True)
class Group:
    """A choice between named sets of values, like model=... or scheduler=...

    `package` is where an option's values go: `_global_` or a dotted key. `default` is the
    option taken when nobody chooses. A group that comes `late` is laid over the experiment
    when it is chosen on the command line, and under it when the experiment chooses it.
    """

    name: str
    package: str
    options: Mapping[str, Tree]
    default: str | list[str] | None = None
    late: bool = False
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Options of the original that are refused, with what to do instead."""
    inert: Mapping[str, str] = field(default_factory=dict)
    """Options of the original that are accepted and change nothing, with the reason."""


@dataclass(frozen=True)
class Experiment:
    """A named recipe: values with the `defaults` list on top, and one line about it.

    `file` is where it is from, where that is a file that people edit.
    """

    summary: str
    values: Mapping[str, Any]
    file: str | None = None


@dataclass(frozen=True)
class Facts:
    """What a notice can be about."""

    recipe: Any
    origins: Mapping[str, str]
    experiment: str | None
    built_in: Tree
    """The values without experiment, file and command line."""
    idle_words: tuple[str, ...]
    """Words of the command line that set a value which was there without them."""
    processes: int | None
    """Processes of the launch, where known."""

    def changed(self, key: str) -> bool:
        """Whether an experiment, a file or the command line gave a value another than built in."""
        path = tuple(key.split("."))
        before = (
            value_at(self.built_in, path)
            if found(self.built_in, path)
            else default_at(type(self.recipe), path)
        )
        return plain(value_at(self.recipe.model_dump(), path)) != before


@dataclass(frozen=True)
class Root:
    """One family of settings."""

    name: str
    schema: type[Settings]
    summary: str
    values: Tree
    """Values laid over the schema's own defaults."""
    groups: tuple[Group, ...]
    experiments: Mapping[str, Experiment]
    config_paths: tuple[str, ...]
    """What the documents write behind --config."""
    output_root_variable: str
    """The documents' name for the environment variable of the output root."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of groups and top-level keys."""
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Classes that a `_target_` may name, by the key it stands under."""
    notices: Callable[[Facts], tuple[str, ...]] | None = None
    """From the facts of a composition to what is worth a remark."""
    environment_variable: str = ""
    """An environment variable of the original that sets values."""
    read_environment: Callable[[str], Tree] | None = None
    """From the content of that variable to the values."""
    remarks: tuple[str, ...] = ()
    """Notices about the root itself."""

    def group(self, name: str) -> Group | None:
        """The group of that name."""
        return next((group for group in self.groups if group.name == name), None)

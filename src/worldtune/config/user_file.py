"""A user's own settings file, read into plain containers.

The file is ordinary Python of the user's own and is run on purpose. What counts in it:

- a dict with a `defaults` list, bound to a name at the top level: an experiment of that name;
- `ConfigStore.instance().store(group="experiment", package="_global_", name=..., node=...)`:
  an experiment;
- `store(...)` with another group: one more option of that group.

Data may be described by objects (`DataLoader(...)`) or by lazy calls (`L(DataLoader)(...)`).
A `make_config()` is not called: the tree of settings is this program's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldtune.config.containers import PlainReader
from worldtune.config.lent import ROOT_OF_PACKAGE
from worldtune.config.run_file import Runner
from worldtune.config.store import Registered
from worldtune.errors import RecipeError


@dataclass(frozen=True)
class StoreEntry:
    """One option of a group, as a user's file registered it.

    `package` is where its values go: `_global_`, a dotted key, or None for the group's own.
    `node` holds dicts, lists, strings, numbers, booleans and None only.
    """

    group: str
    name: str
    package: str | None
    node: dict[str, Any]


@dataclass(frozen=True)
class UserFile:
    """What one file says: experiments by name, options of other groups, and notices.

    Everything in it is a plain container; nothing of the file's own code is kept.
    `root` is the root whose packages the file imports, or None where it imports none.
    """

    path: Path
    experiments: dict[str, dict[str, Any]]
    entries: tuple[StoreEntry, ...] = ()
    notices: tuple[str, ...] = ()
    root: str | None = None


def read_user_file(path: Path) -> UserFile:
    """Run one settings file and read what it says.

    Raises RecipeError, with the file and the line, for whatever goes wrong in it, and for
    a file in which nothing is an experiment or an option.
    """
    runner = Runner(path)
    with runner.reading() as module:
        reader = _Reader(path, PlainReader(runner.files))
        for registered in runner.store.registered:
            reader.take_registered(registered)
        reader.take_dicts(vars(module), [entry.original for entry in runner.store.registered])
    return reader.finish(runner.lender.notices, runner.lender.packages)


class _Reader:
    """What was found in one file so far."""

    def __init__(self, path: Path, plain: PlainReader) -> None:
        self.path = path
        self.plain = plain
        self.mistakes = plain.mistakes
        self.experiments: dict[str, dict[str, Any]] = {}
        self.entries: dict[tuple[str, str], StoreEntry] = {}
        self.notices: list[str] = []
        self.other_dicts: list[str] = []

    def take_registered(self, registered: Registered) -> None:
        """Read one call of `store`."""
        group, name = registered.group, registered.name
        if not group:
            self.mistakes.append(
                f"store(name='{name}') has no group; expected group='experiment' or another group"
            )
            return
        place = f"{group} '{name}'"
        node = self.plain.read(registered.node, place)
        if not isinstance(node, dict):
            self.mistakes.append(f"{place} is not a dict of settings")
        elif group != "experiment":
            if (group, name) in self.entries:
                self.notices.append(f"{place} is registered twice; the last one counts")
            self.entries[group, name] = StoreEntry(group, name, registered.package, node)
        elif registered.package != "_global_":
            self.mistakes.append(
                f"{place} is registered with package={registered.package!r}; "
                "expected package='_global_', as its keys are those of the whole recipe"
            )
        else:
            self._keep_experiment(name, node)

    def take_dicts(self, names: dict[str, Any], registered: list[Any]) -> None:
        """Read the experiments that stand as plain dicts at the file's top level."""
        seen = {id(node) for node in registered}
        for name, value in names.items():
            if not isinstance(value, dict) or name.startswith("_") or id(value) in seen:
                continue
            if not isinstance(value.get("defaults"), list | tuple):
                self.other_dicts.append(name)
                continue
            # A dict bound to two names is the experiment of the first.
            seen.add(id(value))
            self._keep_experiment(name, self.plain.read(value, f"experiment '{name}'"))
        if callable(names.get("make_config")):
            self.notices.append(
                "make_config() is not called: the tree of settings is this program's own, and "
                "the file's experiments and options are laid over it"
            )

    def finish(self, notices: list[str], packages: set[str]) -> UserFile:
        """Give the file's content, or tell every mistake at once."""
        roots = sorted({ROOT_OF_PACKAGE[name] for name in packages & ROOT_OF_PACKAGE.keys()})
        if len(roots) > 1:
            self.mistakes.append(
                f"the file imports packages of {' and '.join(roots)}; keep one of them in a file"
            )
        if not (self.experiments or self.entries or self.mistakes):
            self.mistakes.append(self._nothing_found())
        if self.mistakes:
            raise RecipeError("\n".join(f"{self.path}: {mistake}" for mistake in self.mistakes))
        return UserFile(
            path=self.path,
            experiments=self.experiments,
            entries=tuple(self.entries.values()),
            notices=tuple(f"{self.path}: {notice}" for notice in [*notices, *self.notices]),
            root=roots[0] if roots else None,
        )

    def _keep_experiment(self, name: str, node: dict[str, Any]) -> None:
        if name in self.experiments:
            self.notices.append(f"experiment '{name}' is given twice; the last one counts")
        self.experiments[name] = node

    def _nothing_found(self) -> str:
        told = [
            "holds no experiment; expected a dict with a defaults list at the top level, "
            "my_run = dict(defaults=[...], ...), or a call of ConfigStore.instance().store"
        ]
        told += [f"  '{name}' is a dict without a defaults list" for name in self.other_dicts]
        if self.notices:
            told.append("  make_config() is not called; write what it changes as an experiment")
        return "\n".join(told)

"""The sources of a composition, each as plain data, with the aliases and `_target_`s read.

Hydra is given these; the same layers, merged in Hydra's order, say who set what.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from worldtune.config.mistakes import Mistake, listed_words, suggestion
from worldtune.config.origins import EXPERIMENT
from worldtune.config.root import Group, Root
from worldtune.config.schema import default_tree
from worldtune.config.targets import read_targets
from worldtune.config.tree import Path, Tree, merged, nested
from worldtune.config.user_file import StoreEntry, UserFile

WITHIN = "_within_experiment"
"""Ending of the name under which a late group is chosen by an experiment."""
ENVIRONMENT = "environment"
"""Group of one option: the values that environment variables give."""


@dataclass(frozen=True)
class Option:
    """One option of a group, ready to be stored."""

    who: str
    package: str
    values: Tree
    defaults: tuple[Any, ...] = ()
    built_in: bool = False


@dataclass
class Layers:
    """Everything that can take part in a composition."""

    root: Root
    base: Tree
    options: dict[str, dict[str, Option]]
    experiment: str | None
    notices: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    chosen: set[tuple[str, str]] = field(default_factory=set)

    def meant(self, name: str) -> str:
        """The name that an alias stands for; the alias is remarked upon."""
        meant = self.root.aliases.get(name, name)
        if meant != name:
            self.notices.append(f"'{name}' is understood as '{meant}'")
        return meant

    def defaults_list(self) -> list[Any]:
        """The root's own list: its values, the groups, the experiment, the late groups."""
        early = [
            {group.name + (WITHIN if group.late else ""): None if group.late else group.default}
            for group in self.root.groups
        ]
        late = [{group.name: group.default} for group in self.root.groups if group.late]
        return [
            "_self_",
            {ENVIRONMENT: ENVIRONMENT},
            *early,
            {"experiment": self.experiment},
            *late,
        ]

    def taking_part(self) -> Iterator[tuple[str, str, Option]]:
        """The options that the root, the experiment or the command line names."""
        for group, options in self.options.items():
            for name, option in options.items():
                if group in ("experiment", ENVIRONMENT) or (group, name) in self.chosen:
                    yield group, name, option

    def keep(self, group: str, option: object) -> None:
        """Remember that an option, or each of a list, is named somewhere."""
        for name in option if isinstance(option, list | tuple) else [option]:
            self.chosen.add((group, str(name)))


def gather(
    root: Root,
    experiment: str | None,
    user_file: UserFile | None,
    environment: Mapping[str, str],
) -> Layers:
    """All sources of a root, with a user's file laid over them.

    Mistakes in names are gathered, and what they name is left out, so that the rest can
    still be composed and checked.
    """
    layers = Layers(root, {}, {}, None, notices=list(root.remarks))
    layers.base = merged(default_tree(root.schema), root.values)
    written = environment.get(root.environment_variable, "")
    variables = root.read_environment(written) if root.read_environment else {}
    who = root.environment_variable
    layers.options[ENVIRONMENT] = {ENVIRONMENT: Option(who, "_global_", variables)}
    for group in root.groups:
        options = {
            name: Option(f"{group.name}={name}", group.package, values, built_in=True)
            for name, values in group.options.items()
        }
        layers.options[group.name] = options
        layers.keep(group.name, group.default)
        if group.late:
            layers.options[group.name + WITHIN] = options
    if user_file:
        layers.notices.extend(user_file.notices)
        for entry in user_file.entries:
            _add_entry(layers, entry, user_file)
    if experiment is not None and _add_experiment(layers, experiment, user_file):
        layers.experiment = experiment
        layers.base = merged(layers.base, {"job": {"name": experiment}})
    return layers


def _add_entry(layers: Layers, entry: StoreEntry, user_file: UserFile) -> None:
    """An option that a user's file registered; it beats a built-in one of its name."""
    who = f"{entry.group}={entry.name} of {user_file.path}"
    group = layers.root.aliases.get(entry.group, entry.group)
    known = layers.root.group(group)
    if known is None:
        groups = [each.name for each in layers.root.groups]
        text = f"'{group}' is not a group{suggestion(group, groups, f'; there are {groups}')}"
        layers.mistakes.append(Mistake(text, who=who))
        return
    where = known.package if entry.package is None else entry.package
    inside = () if where == "_global_" else tuple(where.split("."))
    values = {key: value for key, value in entry.node.items() if key != "defaults"}
    defaults = tuple(_defaults(layers, entry.node.get("defaults", ()), who))
    tree, mistakes = read_targets(nested(inside, values), layers.root.targets, who)
    layers.mistakes.extend(mistakes)
    if entry.name in layers.options[group]:
        layers.notices.append(f"{who} takes the place of the built-in one")
    layers.options[group][entry.name] = Option(who, "_global_", tree, defaults)


def _add_experiment(layers: Layers, name: str, user_file: UserFile | None) -> bool:
    """Add an experiment and those it is built on; False after noting that it is not known."""
    root = layers.root
    if user_file and name in user_file.experiments:
        values, who = user_file.experiments[name], f"{EXPERIMENT} '{name}' of {user_file.path}"
        if name in root.experiments:
            layers.notices.append(f"{who} takes the place of the built-in one")
    elif name in root.experiments:
        values, who = root.experiments[name].values, f"{EXPERIMENT} '{name}'"
        file = root.experiments[name].file
        who = f"{who} of {file}" if file else who
    else:
        theirs = user_file.experiments if user_file else {}
        layers.mistakes.append(unknown_experiment(name, [*theirs, *root.experiments]))
        return False
    tree = {key: value for key, value in values.items() if key != "defaults"}
    tree = {layers.meant(key): value for key, value in tree.items()}
    tree, mistakes = read_targets(tree, root.targets, who)
    layers.mistakes.extend(mistakes)
    experiments = layers.options.setdefault("experiment", {})
    # Noted before those it is built on are looked at: a circle is then Hydra's to tell.
    experiments[name] = Option(who, "_global_", tree)
    listed = [
        entry
        for entry in values.get("defaults", ["_self_"])
        if not _is_unknown_base(layers, entry, user_file)
    ]
    defaults = tuple(_defaults(layers, listed, who))
    experiments[name] = Option(who, "_global_", tree, defaults)
    return True


def _is_unknown_base(layers: Layers, entry: object, user_file: UserFile | None) -> bool:
    """Add the experiment that an entry like "/experiment/NAME" or "NAME" builds on."""
    if not isinstance(entry, str) or entry == "_self_":
        return False
    base = entry.removeprefix("/experiment/")
    added = base in layers.options["experiment"] or _add_experiment(layers, base, user_file)
    return not added


def unknown_experiment(name: str, known: Iterable[str]) -> Mistake:
    """There is no such experiment."""
    ending = suggestion(name, known, "; `worldtune show` lists them")
    return Mistake(f"experiment '{name}' is not known{ending}")


def _defaults(layers: Layers, entries: Iterable[Any], who: str) -> Iterable[Any]:
    """An experiment's list of choices, with aliases read and unknown choices left out."""
    for entry in entries:
        if not isinstance(entry, Mapping):
            yield entry
            continue
        for key, option in entry.items():
            override, group_name = _override_and_group(str(key))
            group = choose(layers, group_name, option, who)
            if group is not None:
                name = group.name + (WITHIN if group.late else "")
                yield {f"override /{name}" if override else f"/{name}": option}


def _override_and_group(key: str) -> tuple[bool, str]:
    words = key.split()
    return words[0] == "override" and len(words) > 1, words[-1].lstrip("/")


def choose(layers: Layers, name: str, option: object, who: str) -> Group | None:
    """The group in which an option is chosen, or None after noting the mistake."""
    root = layers.root
    group = root.group(layers.meant(name))
    if group is None:
        names = [each.name for each in root.groups]
        text = f"'{name}' is not a group of settings"
        ending = suggestion(name, names, f"; the groups are {', '.join(names)}")
        layers.mistakes.append(Mistake(text + ending, who=who))
        return None
    options = layers.options[group.name]
    for word in option if isinstance(option, list | tuple) else [option]:
        if word is None or word in options:
            continue
        layers.mistakes.append(_unknown_option(group, str(word), options, who))
        return None
    layers.keep(group.name, option)
    reason = group.inert.get(str(option))
    if reason:
        layers.notices.append(f"{group.name}={option} changes nothing: {reason}")
    if group.late:
        layers.keep(group.name + WITHIN, option)
    return group


def _unknown_option(group: Group, word: str, options: Mapping[str, Option], who: str) -> Mistake:
    if word in group.unsupported:
        text = f"{group.name}={word} is not supported here; {group.unsupported[word]}"
        return Mistake(text, who=who)
    expected = f"; expected {listed_words(options)}"
    text = f"{group.name}={word} is not known{suggestion(word, options, expected)}"
    return Mistake(text, who=who)


def option_tree(option: Option) -> Tree:
    """The option's values at their place in the whole tree."""
    inside: Path = () if option.package == "_global_" else tuple(option.package.split("."))
    return nested(inside, option.values)

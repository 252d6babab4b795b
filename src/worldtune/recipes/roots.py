"""The table of roots, and finding the one that a launch command means."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from worldtune.config.layers import unknown_experiment
from worldtune.config.mistakes import nearest, raise_all
from worldtune.config.root import Root
from worldtune.config.user_file import UserFile, read_user_file
from worldtune.errors import RecipeError
from worldtune.recipes.control_experiments import read_control_tables
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.transfer1 import TABLES_FILE, TRANSFER1, is_as_packaged, transfer1_root

ROOTS: dict[str, Root] = {root.name: root for root in (PREDICT2, TRANSFER1)}
DEFAULT_ROOT = PREDICT2


def root_here(name: str) -> Root:
    """The root of that name, with what its tables say in the folder where we are.

    Raises RecipeError for mistakes in the tables.
    """
    file = Path(TABLES_FILE)
    if name != TRANSFER1.name or not file.is_file():
        return ROOTS[name]
    tables = read_control_tables(file)
    return ROOTS[name] if is_as_packaged(tables) else transfer1_root(tables)


def roots_here() -> Iterator[Root]:
    """Every root, one by one, so that one with mistakes stops only who gets to it."""
    return map(root_here, ROOTS)


@dataclass(frozen=True)
class Chosen:
    """What a launch command means: a root, an experiment, and the user's file if there is one."""

    root: Root
    experiment: str | None
    user_file: UserFile | None = None


def choose(config: str | None, experiment: str | None) -> Chosen:
    """Find the root of a command's --config and --experiment.

    `config` is a root's name, a path that the documents write, or a settings file of the
    user's own. Without it, the root is the one that has the experiment.

    Raises RecipeError where there is no such root, file or experiment.
    """
    if config is None:
        return Chosen(root_of(experiment), experiment)
    path = PurePath(config).as_posix().removeprefix("./")
    for name, root in ROOTS.items():
        if config == name or path in root.config_paths:
            return Chosen(root_here(name), experiment)
    if not Path(config).exists():
        raise RecipeError(_unknown_config(config))
    user_file = read_user_file(Path(config))
    theirs = list(user_file.experiments)
    if experiment is None and len(theirs) == 1:
        experiment = theirs[0]
    elif experiment is None and theirs:
        listed = ", ".join(theirs)
        raise RecipeError(f"{config} has {len(theirs)} experiments; choose one: {listed}")
    if user_file.root:
        return Chosen(root_here(user_file.root), experiment, user_file)
    known = next((root for root in roots_here() if experiment in root.experiments), None)
    return Chosen(known or DEFAULT_ROOT, experiment, user_file)


def root_of(experiment: str | None) -> Root:
    """The root that has an experiment; the first root where none is named."""
    if experiment is None:
        return DEFAULT_ROOT
    known: list[str] = []
    for root in roots_here():
        if experiment in root.experiments:
            return root
        known += root.experiments
    raise_all([unknown_experiment(experiment, known)], {})
    raise AssertionError


def _unknown_config(config: str) -> str:
    known = [*ROOTS, *(path for root in ROOTS.values() for path in root.config_paths)]
    near = nearest(config, known)
    ending = (
        f"; did you mean '{near}'?" if near else f"; expected {', '.join(known)} or a file of yours"
    )
    return f"--config={config} is neither a root nor a file{ending}"

"""The table of roots, and finding the one that a launch command means."""

from dataclasses import dataclass
from pathlib import Path, PurePath

from worldtune.config.layers import unknown_experiment
from worldtune.config.mistakes import nearest, raise_all
from worldtune.config.root import Root
from worldtune.config.user_file import UserFile, read_user_file
from worldtune.errors import RecipeError
from worldtune.recipes.predict2 import PREDICT2

ROOTS: dict[str, Root] = {root.name: root for root in (PREDICT2,)}
DEFAULT_ROOT = PREDICT2


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
    for root in ROOTS.values():
        if config == root.name or path in root.config_paths:
            return Chosen(root, experiment)
    if not Path(config).exists():
        raise RecipeError(_unknown_config(config))
    user_file = read_user_file(Path(config))
    theirs = list(user_file.experiments)
    if experiment is None and len(theirs) == 1:
        experiment = theirs[0]
    elif experiment is None and theirs:
        listed = ", ".join(theirs)
        raise RecipeError(f"{config} has {len(theirs)} experiments; choose one: {listed}")
    imported = ROOTS.get(user_file.root or "")
    known = next((root for root in ROOTS.values() if experiment in root.experiments), None)
    return Chosen(imported or known or DEFAULT_ROOT, experiment, user_file)


def root_of(experiment: str | None) -> Root:
    """The root that has an experiment; the first root where none is named."""
    if experiment is None:
        return DEFAULT_ROOT
    for root in ROOTS.values():
        if experiment in root.experiments:
            return root
    known = [name for root in ROOTS.values() for name in root.experiments]
    raise_all([unknown_experiment(experiment, known)], {})
    raise AssertionError


def _unknown_config(config: str) -> str:
    known = [*ROOTS, *(path for root in ROOTS.values() for path in root.config_paths)]
    near = nearest(config, known)
    ending = (
        f"; did you mean '{near}'?" if near else f"; expected {', '.join(known)} or a file of yours"
    )
    return f"--config={config} is neither a root nor a file{ending}"

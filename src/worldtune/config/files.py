"""The folder of a run, and the settings written into it.

config.yaml holds every setting of the recipe, and reads back to the same recipe.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from worldtune.config.mistakes import raise_all
from worldtune.config.settings import JobSettings, Settings
from worldtune.config.tree import plain
from worldtune.config.validate import validate
from worldtune.errors import RecipeError

CONFIG_FILE = "config.yaml"
OUTPUT_ROOT = "checkpoints"
OUTPUT_ROOT_VARIABLES = ("IMAGINAIRE_OUTPUT_ROOT", "OUTPUT_ROOT")
"""The two documents' names for the variable that moves the output root."""

Recipe = TypeVar("Recipe", bound=Settings)


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-05 as a number, as people and other programs write it."""


class _Dumper(yaml.SafeDumper):
    """Safe YAML whose quotes keep every character of a text."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # YAML folds lines, also at Unicode's own line ends; inside double quotes they are escaped.
    style = '"' if len(text.splitlines()) > 1 or not text.isprintable() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def output_root(environment: Mapping[str, str] | None = None) -> Path:
    """The folder under which all runs lie.

    Raises RecipeError when the two variables for it are set and differ.
    """
    environment = os.environ if environment is None else environment
    given = {name: environment[name] for name in OUTPUT_ROOT_VARIABLES if environment.get(name)}
    if len(set(given.values())) > 1:
        told = " and ".join(f"{name}={value}" for name, value in given.items())
        raise RecipeError(f"{told} name different output roots; unset one of them")
    return Path(next(iter(given.values()), OUTPUT_ROOT))


def run_folder(job: JobSettings, environment: Mapping[str, str] | None = None) -> Path:
    """Where a run lives: <output root>/<project>/<group>/<name>."""
    return output_root(environment) / job.project / job.group / job.name


def to_yaml(recipe: Settings) -> str:
    """Every setting of a recipe as YAML, in the schema's order."""
    tree = plain(recipe.model_dump())
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def write_config(folder: Path, recipe: Settings) -> Path:
    """Write config.yaml into a folder, whole or not at all, and give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_FILE
    unfinished = folder / f".{CONFIG_FILE}.{os.getpid()}"
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(to_yaml(recipe))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read_config(path: Path, schema: type[Recipe]) -> Recipe:
    """Read a recipe back from config.yaml.

    Raises RecipeError, with every mistake in it, where the file is not what was written.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} holds no settings")
    recipe, mistakes = validate(schema, tree)
    raise_all(mistakes, dict.fromkeys((key for each in mistakes for key in each.keys), str(path)))
    assert isinstance(recipe, schema)
    return recipe

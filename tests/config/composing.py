"""Composing as the tests of this room do it."""

from functools import cache
from pathlib import Path
from typing import Any

from worldtune.config.compose import Composed, compose
from worldtune.config.user_file import StoreEntry, UserFile
from worldtune.recipes.predict2 import PREDICT2

FULL = "predict2_video2world_training_2b_its"
LORA = "predict2_video2world_lora_training_2b_its"
TINY = "predict2_video2world_training_tiny"
NOBODY: dict[str, str] = {}  # no environment variable is set


@cache
def composed(experiment: str, *words: str) -> Composed:
    """One of the project's recipes, with words of a command line."""
    return compose(PREDICT2, experiment, words, environment=NOBODY)


def composed_from(
    experiments: dict[str, dict[str, Any]], *words: str, entries: tuple[StoreEntry, ...] = ()
) -> Composed:
    """The only experiment of a user's file my_run.py."""
    file = UserFile(Path("my_run.py"), experiments, entries)
    return compose(PREDICT2, next(iter(experiments)), words, file, environment=NOBODY)


def mine(**values: Any) -> dict[str, dict[str, Any]]:
    """An experiment of a user, on clips in a folder of the user's."""
    clips = {"dataset": {"dataset_dir": "clips"}}
    return {"mine": {"dataloader_train": clips, **values}}

"""From the words of a launch command to a composed recipe, a dry run or a run."""

import os

import typer

from worldtune.checkpoint.adapter_targets import target_mistakes
from worldtune.cli.first_process import is_first_process
from worldtune.config.compose import Composed, compose
from worldtune.config.files import run_folder, write_config
from worldtune.config.mistakes import Mistake, raise_all
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.refusals import refusals
from worldtune.config.settings import Settings
from worldtune.config.words import LaunchWords
from worldtune.errors import ExitStatus
from worldtune.parallel.layout import launch_mistakes
from worldtune.recipes.roots import choose
from worldtune.train.needed import missing_weights


def compose_launch(words: LaunchWords) -> Composed:
    """Find the root and the experiment of a command and compose its recipe.

    Raises RecipeError with every mistake in it.
    """
    chosen = choose(words.config, words.experiment)
    composed = compose(chosen.root, chosen.experiment, words.overrides, chosen.user_file)
    if isinstance(composed.recipe, Predict2Recipe):
        raise_all(target_mistakes(composed.recipe.model.config), composed.origins)
    return composed


def dry_run(composed: Composed) -> int:
    """Write config.yaml where the run would live, and show what is in it.

    Needs no weights, no data and no GPU. Of several processes only the first does anything.
    """
    folder = run_folder(composed.recipe.job)
    if not is_first_process():
        return ExitStatus.DONE
    path = write_config(folder, composed.recipe)
    typer.echo("Config:")
    written = path.read_text(encoding="utf-8")
    typer.echo("".join(f"  {line}\n" for line in written.splitlines()))
    for notice in composed.notices:
        typer.echo(f"Notice: {notice}")
    for mistake in [*refusals(composed.recipe), *layout_mistakes(composed.recipe)]:
        typer.echo(f"Notice: a real run stops here: {mistake.text}")
    typer.echo(f"Settings written to {path}")
    return ExitStatus.DONE


def real_run(composed: Composed) -> int:
    """Train the recipe and give the exit status.

    Raises RecipeError for a setting whose feature does not exist yet, and for weights that are
    not there.
    """
    recipe = composed.recipe
    stopped_by = [*refusals(recipe), *layout_mistakes(recipe), *missing_weights(recipe)]
    raise_all(stopped_by, composed.origins)
    folder = run_folder(composed.recipe.job)
    from worldtune.train.run import run_training  # brings torch, which a dry run does without

    run_training(composed, folder)
    return ExitStatus.DONE


def layout_mistakes(recipe: Settings) -> list[Mistake]:
    """Where the sizes of a recipe do not fit the processes that it was launched as."""
    if not isinstance(recipe, Predict2Recipe):
        return []
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return launch_mistakes(recipe, world)

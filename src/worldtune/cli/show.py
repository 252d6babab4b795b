"""`worldtune show`: a recipe's settings and who set each, or the list of recipes.

Nothing heavy is imported here: `--help` has half a second.
"""

from collections.abc import Iterable
from typing import Annotated

import typer

from worldtune.config.words import read_words


def show(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="EXPERIMENT and key=value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Every setting of a root, its default and meaning.")
    ] = False,
) -> None:
    """Show the settings of a recipe and who set each one; without a recipe, list the recipes.

    \b
      worldtune show
      worldtune show EXPERIMENT trainer.max_iter=100
      worldtune show --config=my_run.py EXPERIMENT
      worldtune show --schema transfer1
    """
    words = words or []
    from worldtune.cli import settings_table

    if schema:
        typer.echo(settings_table.every_setting(words), nl=False)
    elif not words or words[0] in settings_table.ROOTS:
        settings_table.tell_recipes(words[0] if words else None, as_json=as_json)
    else:
        settings_table.tell(read_words(_with_experiment(words)), as_json=as_json)


def _with_experiment(words: Iterable[str]) -> list[str]:
    """The words, with a bare name taken as the experiment's."""
    result: list[str] = []
    for word in words:
        bare = not word.startswith(("-", "~", "+")) and "=" not in word
        after_flag = bool(result) and result[-1] in ("--config", "--experiment")
        result.append(f"--experiment={word}" if bare and not after_flag else word)
    return result

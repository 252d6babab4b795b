"""`worldtune train`: compose a recipe, and train it or only show what would be trained.

Nothing heavy is imported here: `--help` has half a second.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from worldtune.cli.first_process import tell
from worldtune.config.words import read_words
from worldtune.errors import ExitStatus, WorldtuneError

HELP = """Train a recipe.

The words are those of the published commands, in either form:

\b
  worldtune train --experiment=NAME trainer.max_iter=100
  worldtune train --config=PATH --dryrun -- experiment=NAME lora=aggressive

\b
--experiment=NAME  a recipe; `worldtune show` lists them
--config=PATH      a root's name, a published path, or a settings file of yours
--dryrun           check the settings, write them to config.yaml, and stop
key=value          change one setting
group=option       choose an option of a group
"""


def train(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="Flags and key=value.")
    ] = None,
) -> int:
    """Entry of the command line; its help is HELP."""
    return start(words or [])


train.__doc__ = HELP


def launch(words: Sequence[str]) -> int:
    """Run the command as a program of its own would: messages to stderr, status back."""
    try:
        return start(words)
    except WorldtuneError as error:
        return tell(error)


def start(words: Sequence[str]) -> int:
    """Do what the words say and give the exit status.

    Raises WorldtuneError for whatever stops it.
    """
    read = read_words(words)
    if read.help:
        typer.echo(HELP.replace("\b\n", ""))
        return ExitStatus.DONE
    from worldtune.cli.launching import compose_launch, dry_run, real_run

    composed = compose_launch(read)
    return dry_run(composed) if read.dryrun else real_run(composed)

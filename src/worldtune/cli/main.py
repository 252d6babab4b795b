"""The front door: `worldtune COMMAND ...`.

Commands are listed in one table; each imports what is heavy only when it runs, so that
`--help` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from typing import cast

import typer

from worldtune.cli.demo import demo
from worldtune.cli.download import download
from worldtune.cli.first_process import tell
from worldtune.cli.generate import generate
from worldtune.cli.inspect import inspect
from worldtune.cli.join import join
from worldtune.cli.lora import app as lora_app
from worldtune.cli.measure import measure
from worldtune.cli.scenes import app as scenes_app
from worldtune.cli.show import show
from worldtune.cli.split import split
from worldtune.cli.train import train
from worldtune.errors import ExitStatus, WorldtuneError

COMMANDS: dict[str, Callable[..., object]] = {
    "demo": demo,
    "train": train,
    "generate": generate,
    "measure": measure,
    "show": show,
    "inspect": inspect,
    "split": split,
    "join": join,
    "download": download,
}
# Commands that read their words themselves, in the grammar of the published commands.
OWN_GRAMMAR = {"ignore_unknown_options": True}
WITH_OWN_GRAMMAR = ("train", "show")

# typer may bring a click of its own, so its class of usage mistakes is asked of typer.
_UsageError = cast(
    type[typer.BadParameter],
    next(base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError"),
)


def build_app() -> typer.Typer:
    """Gather the commands of the table into one program."""
    app = typer.Typer(
        name="worldtune",
        help="Post-train video world foundation models on your own clips.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name, function in COMMANDS.items():
        grammar = OWN_GRAMMAR if name in WITH_OWN_GRAMMAR else None
        app.command(name, context_settings=grammar)(function)
    app.add_typer(lora_app())
    app.add_typer(scenes_app())
    return app


def _root() -> None:
    """Post-train video world foundation models on your own clips."""


def run(words: Sequence[str]) -> int:
    """Run one command in this process and give its exit status; messages go to stderr."""
    command = typer.main.get_command(build_app())
    try:
        status = command.main(args=list(words), prog_name="worldtune", standalone_mode=False)
    except _UsageError as mistake:
        mistake.show()
        return ExitStatus.MISTAKE
    except WorldtuneError as error:
        return tell(error)
    except typer.Abort:
        return ExitStatus.STOPPED
    return status if isinstance(status, int) else ExitStatus.DONE


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

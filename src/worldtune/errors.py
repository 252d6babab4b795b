"""The errors that a user can meet, and the exit status of each.

A message says what was found, what was expected and what to do next. Everything that is
not one of these is a fault of the program and shows a traceback.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of every command."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    STOPPED = 3


class WorldtuneError(Exception):
    """Something that ends a command with a message and no traceback."""

    exit_status = ExitStatus.FAILED
    # Of several processes that fail, which one says why: None where it is the first one's turn.
    speaks: bool | None = None


class QuietError(WorldtuneError):
    """The end of a process whose run another process has ended and told of."""

    speaks = False

    def __init__(self, exit_status: ExitStatus, *, agreed: bool = False) -> None:
        """`agreed` as of the StoppedEarlyError that it stands for."""
        super().__init__("another process of the run said why")
        self.exit_status = exit_status
        self.agreed = agreed


class RunError(WorldtuneError):
    """A run that cannot go on, through no mistake in what was written."""


def first_line(fault: BaseException) -> str:
    """What a fault says, in its first line; its kind where it says nothing."""
    return (str(fault).splitlines() or [type(fault).__name__])[0]


class UserMistakeError(WorldtuneError):
    """Something that the user wrote or supplied and can put right."""

    exit_status = ExitStatus.MISTAKE


class RecipeError(UserMistakeError):
    """A setting, an experiment or a word on the command line."""


class DataError(UserMistakeError):
    """A clip, a caption, an embedding or the folder they lie in."""


class CheckpointError(UserMistakeError):
    """A file of weights or a training state."""


class StoppedEarlyError(WorldtuneError):
    """A run that was asked to stop, after its state was saved."""

    exit_status = ExitStatus.STOPPED

    def __init__(self, message: str, *, agreed: bool = False) -> None:
        """`agreed` where all processes of the run stop at the same step."""
        super().__init__(message)
        self.agreed = agreed

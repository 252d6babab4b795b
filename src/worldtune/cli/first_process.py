"""Which of several processes speaks for all of them."""

import os
import sys

from worldtune.errors import WorldtuneError


def is_first_process() -> bool:
    """Whether this is the first process under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def tell(error: WorldtuneError) -> int:
    """Print what ended a command, in the process whose turn it is; give the exit status."""
    if is_first_process() if error.speaks is None else error.speaks:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - the one place
    return error.exit_status

"""Which of several processes speaks for all of them."""

import os
import sys
import time

from worldtune.errors import WorldtuneError

# Long enough for a process that starts late; a launcher cuts it short.
WAIT_S = 20.0


def is_first_process() -> bool:
    """Whether this is the first process under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def tell(error: WorldtuneError) -> int:
    """Print what ended a command, in the process whose turn it is; give the exit status.

    The others wait: a launcher ends all processes with the first that ends, and the one that
    speaks may not have spoken yet.
    """
    if is_first_process() if error.speaks is None else error.speaks:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
    else:
        time.sleep(WAIT_S)
    return error.exit_status

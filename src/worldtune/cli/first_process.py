"""Which of several processes speaks for all of them."""

import os


def is_first_process() -> bool:
    """Whether this is the first process under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"

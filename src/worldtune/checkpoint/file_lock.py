"""One writer of a file: the system's lock, which ends with the process, in whatever way."""

import errno
import sys
from collections.abc import Callable

from worldtune.errors import CheckpointError

# What a network file system says that keeps no locks; such a file is written without one.
NOT_SUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def take_lock(handle: int, held_by_another: Callable[[], str]) -> None:
    """Lock an open file; CheckpointError with that message where another process holds it."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(held_by_another()) from None
    except OSError as fault:
        if fault.errno not in NOT_SUPPORTED:
            raise

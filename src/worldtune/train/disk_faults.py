"""A disk that is full or forbidden, told as what it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldtune.checkpoint.disk import FULL, save_failed


@contextmanager
def explain_disk_faults(folder: Path) -> Iterator[None]:
    """Turn a fault of the disk under the run's folder into an error that says what to do.

    States and published files explain their own; this is for all the rest of a run's folder.
    Raises RunError where the disk is full, CheckpointError where the folder is forbidden.
    """
    try:
        yield
    except OSError as fault:
        if not (fault.errno in FULL or _lies_in(fault.filename, folder)):
            raise
        raise save_failed("The run's log, metrics or pictures", folder, None, fault) from fault


def _lies_in(filename: object, folder: Path) -> bool:
    if not isinstance(filename, str | Path):
        return False
    path = Path(filename)
    return path.is_relative_to(folder) or folder.is_relative_to(path)

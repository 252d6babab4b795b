"""Being asked to stop: once saves and stops, twice stops now."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from worldtune.checkpoint.state_folder import find_latest
from worldtune.errors import StoppedEarlyError

PASSED_ON_WITHIN_S = 3.0


class StopRequest:
    """Whether the run was asked to stop, and by which signal."""

    def __init__(self, processes: int = 1) -> None:
        self.by: str | None = None
        self._at = 0.0
        self._processes = processes

    def __bool__(self) -> bool:
        return self.by is not None

    def __str__(self) -> str:
        return self.by or "a signal to another process"

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; the second raises KeyboardInterrupt at once.

        With several processes it has to be the same one, some seconds later: what reaches all
        processes of a launch is passed on to them once more by their launcher, and Ctrl-C then
        as SIGTERM.
        """
        name = signal.Signals(number).name
        if self.by is not None and self._processes == 1:
            raise KeyboardInterrupt
        if self.by == name and time.monotonic() - self._at > PASSED_ON_WITHIN_S:
            raise KeyboardInterrupt
        if self.by is None:
            self._at = time.monotonic()
        self.by = self.by or name


@contextmanager
def stop_on_signals(processes: int = 1) -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the body runs, then give them back."""
    request = StopRequest(processes)
    before = {n: signal.signal(n, request.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def explain_interruption(states: Path) -> Iterator[None]:
    """Turn the second signal into StoppedEarlyError, which says what is saved in `states`."""
    try:
        yield
    except KeyboardInterrupt:
        found = find_latest(states, verify=False).state
        kept = (
            f"the state of iteration {found.iteration} is the last that was saved, and the same "
            "command goes on from it"
            if found is not None
            else "nothing was saved yet, and the same command starts it anew"
        )
        raise StoppedEarlyError(f"stopped at once by a second signal; {kept}") from None

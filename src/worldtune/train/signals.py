"""Being asked to stop: once saves and stops, twice stops now."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the run was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.by: str | None = None

    def __bool__(self) -> bool:
        return self.by is not None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; the second raises KeyboardInterrupt at once."""
        if self.by is not None:
            raise KeyboardInterrupt
        self.by = signal.Signals(number).name


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the body runs, then give them back."""
    request = StopRequest()
    before = {n: signal.signal(n, request.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""How far a command is: a bar on a terminal, now and then a line elsewhere."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger("worldtune")

LINES = 5  # of one clip, where there is no bar


class _ConsoleHandler(logging.Handler):
    """Prints above a bar where there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def told_on(console: Console) -> Iterator[None]:
    """Send `[LEVEL] message` lines to the console."""
    handler = _ConsoleHandler(console)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


class SamplingProgress:
    """Counts the sampling steps of one clip, of all its chunks."""

    def __init__(self, name: str, steps: int, console: Console) -> None:
        """Begin at nothing; steps are those of all chunks together."""
        self._name, self._steps, self._done = name, steps, 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._with_lines = not console.is_terminal
        self._task = self._bar.add_task(name, total=steps)

    def __enter__(self) -> "SamplingProgress":
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def advance(self) -> None:
        """Count one step."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        every = -(-self._steps // LINES)
        if self._with_lines and (self._done % every == 0 or self._done == self._steps):
            log.info(f"{self._name}: step {self._done} of {self._steps}")

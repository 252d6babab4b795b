"""How far the demo is: a bar with the time left on a terminal, now and then a line elsewhere."""

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

# Lines of the commands that tell how far they are: scenes, train, generate.
_COUNTS = (
    re.compile(r"^(?P<done>\d+) of (?P<total>\d+) clips"),
    re.compile(r"Iteration (?P<done>\d+)/(?P<total>\d+)"),
)
_WRITTEN = re.compile(r"\] Written: ")
_PLAIN_EVERY = 0.2  # of a stage, between lines where there is no terminal


@dataclass(frozen=True)
class Stage:
    """A step of the demo: its name, and how many seconds it takes on two idle cores, about."""

    title: str
    expected_s: float


class Stages:
    """Shows which stage runs, and about how much time is left in all.

    What is left follows from the stages' expected seconds and from how much slower or faster
    than expected the demo has been so far.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        console: Console | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._stages = stages
        # On the stream of now: while commands run, what they print goes elsewhere.
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._clock = clock
        self._number, self._fraction, self._told = -1, 0.0, 0.0
        self._before_s = 0.0  # expected seconds of the stages that are done
        self._skipped_s = 0.0  # expected seconds of stages that were done at the start
        self._started = self._stage_started = clock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def left_s(self) -> float:
        """Seconds that are left, about."""
        done = self._before_s + self._fraction * self._current_s
        worked = done - self._skipped_s
        all_of_it = sum(stage.expected_s for stage in self._stages)
        # The first seconds say little about the pace.
        pace = (self.elapsed_s + 10.0) / (worked + 10.0)
        return max(all_of_it - done, 0.0) * pace

    @contextmanager
    def shown(self) -> Iterator["Stages"]:
        """Show the bar as long as the body runs."""
        total = sum(stage.expected_s for stage in self._stages)
        self._task = self._bar.add_task("", total=total, left="")
        with self._bar:
            yield self

    @contextmanager
    def stage(self, number: int, *, skipped: bool = False) -> Iterator[None]:
        """Run one stage, counted from 0; a skipped one was done before."""
        self._number, self._fraction, self._told = number, 0.0, 0.0
        self._stage_started = self._clock()
        self._show(plain=not skipped)
        yield
        if skipped:
            self._skipped_s += self._current_s
        self._before_s += self._current_s
        self._fraction = 0.0
        took = "done before" if skipped else _spelled(self._clock() - self._stage_started)
        self._console.print(f"{self._name} [dim]({took})[/dim]")
        self._number = -1

    def reach(self, fraction: float) -> None:
        """Say how much of the running stage is done, 0 to 1."""
        self._fraction = min(max(fraction, 0.0), 1.0)
        due = self._fraction - self._told >= _PLAIN_EVERY
        self._show(plain=due)
        if due:
            self._told = self._fraction

    def say(self, text: str) -> None:
        """Print lines above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    @property
    def _current_s(self) -> float:
        return self._stages[self._number].expected_s if self._number >= 0 else 0.0

    @property
    def _name(self) -> str:
        return f"{self._number + 1}/{len(self._stages)} {self._stages[self._number].title}"

    def _show(self, *, plain: bool) -> None:
        left = f"about {_spelled(self.left_s())} left"
        done = self._before_s + self._fraction * self._current_s
        self._bar.update(self._task, description=self._name, completed=done, left=left)
        if plain and not self._console.is_terminal:
            share = f", {self._fraction:.0%}" if self._fraction else ""
            self._console.print(f"{self._name}{share}; {left}", soft_wrap=True)


def _spelled(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class Listener(io.TextIOBase):
    """Takes what a command prints: into a log, and to whoever follows how far it is."""

    def __init__(self, log: TextIO, files: int, reach: Callable[[float], None]) -> None:
        self._log, self._files, self._reach = log, files, reach
        self._line, self._written = "", 0
        self.lines: list[str] = []

    def writable(self) -> bool:
        """Say that it takes text."""
        return True

    def write(self, text: str, /) -> int:
        """Take some text; what is whole lines is read."""
        self._log.write(text)
        self._log.flush()
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self.lines.append(line)
            self._read(line)
        return len(text)

    def _read(self, line: str) -> None:
        for pattern in _COUNTS:
            found = pattern.search(line)
            if found:
                self._reach(int(found["done"]) / max(int(found["total"]), 1))
        if _WRITTEN.search(line):
            self._written += 1
            self._reach(self._written / max(self._files, 1))


@contextmanager
def listening(log: Path, reach: Callable[[float], None], files: int = 1) -> Iterator[Listener]:
    """Send what the body prints into a log instead, and follow it; files: to be written."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        listener = Listener(file, files, reach)
        with redirect_stdout(listener), redirect_stderr(listener):
            yield listener

"""What a run says and writes: log lines, metrics, TensorBoard, the progress bar, the curve."""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worldtune.train.report import Every, Rate, StepReport

log = logging.getLogger("worldtune")


class _Terminal(Console):
    """Falls silent where what read it is gone, and lets the run go on: its log file has it all."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # What is still buffered must go somewhere, or Python fails on it at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


CONSOLE = _Terminal(highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Prints above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        CONSOLE.print(self.format(record), markup=False)


class _FileHandler(logging.FileHandler):
    """Lets a full disk end the run, where logging would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        raise


@contextmanager
def log_lines(file: Path) -> Iterator[None]:
    """Send `[LEVEL] message` lines to the terminal, and to a file that is added to."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handlers = [_ConsoleHandler(), _FileHandler(file, encoding="utf-8")]
    propagated = log.propagate
    for handler in handlers:
        handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            # What a full disk did not take is told already.
            with suppress(OSError):
                handler.close()
        log.propagate = propagated


class LogLine:
    """The documents' line, every `every` steps."""

    def __init__(self, every: int) -> None:
        self._due = Every(every)
        self._rate = Rate()

    def start(self, first_iteration: int) -> None:
        """Nothing to do."""

    def after_step(self, report: StepReport) -> None:
        """Print `Iteration 500/2000, Loss: 0.245, Speed: 2.3 it/s` where it is due."""
        self._rate.add(report.step_s)
        if self._due(report.iteration) or report.iteration == report.max_iter:
            log.info(
                f"Iteration {report.iteration}/{report.max_iter}, "
                f"Loss: {report.printed_loss:.3f}, Speed: {_speed(self._rate.take())}"
            )

    def end(self) -> None:
        """Nothing to do."""


def _speed(steps_per_second: float) -> str:
    digits = 1 if steps_per_second >= 0.95 else 3
    return f"{steps_per_second:.{digits}f} it/s"


class Metrics:
    """`metrics.jsonl`, one line a step and one a validation, and the same for TensorBoard.

    A number that is not finite is null in the file, which stays JSON.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._board_folder = folder / "tensorboard"
        self._file: TextIO | None = None

    def start(self, first_iteration: int) -> None:
        """Drop the lines of steps that a resumed run takes again."""
        from torch.utils.tensorboard import SummaryWriter

        # A run that starts anew also measures again what it measured before its first step.
        first_again = first_iteration + 1 if first_iteration > 0 else 0
        _keep_lines_before(first_again, self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._board_folder), purge_step=first_again)

    def after_step(self, report: StepReport) -> None:
        """Write one step."""
        values = asdict(report)
        for apart in ("iteration", "max_iter", "over_ranks"):
            del values[apart]
        values |= report.over_ranks
        values["clips_per_s"] = report.clips / report.step_s if report.step_s > 0 else 0.0
        self.write("step", report.iteration, values)

    def write(self, kind: str, iteration: int, values: Mapping[str, float | bool]) -> None:
        """Write one line of any kind, flushed so that a killed run keeps it."""
        assert self._file is not None
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        line = {"kind": kind, "iteration": iteration, **finite}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", float(value), iteration)

    def end(self) -> None:
        """Close both."""
        if self._file is None:
            return
        try:
            self._file.close()
        finally:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def _keep_lines_before(iteration: int, path: Path) -> None:
    kept = [line for line in read_metrics(path) if line["iteration"] < iteration]
    beside = path.with_suffix(".tmp")
    beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(beside, path)


class ProgressBar:
    """A bar with the time left, on a terminal only."""

    def __init__(self, max_iter: int) -> None:
        self._max_iter = max_iter
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}, loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=CONSOLE,
            transient=True,
            disable=not sys.stdout.isatty(),
        )

    def start(self, first_iteration: int) -> None:
        """Show the bar."""
        self._task = self._bar.add_task(
            "train", total=self._max_iter, completed=first_iteration, loss="-"
        )
        self._bar.start()

    def after_step(self, report: StepReport) -> None:
        """Move it."""
        loss = f"{report.printed_loss:.3f}"
        self._bar.update(self._task, completed=report.iteration, loss=loss)

    def end(self) -> None:
        """Take it away."""
        self._bar.stop()

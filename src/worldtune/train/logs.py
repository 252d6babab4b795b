"""What a run says and writes: log lines, metrics, TensorBoard, the progress bar, the curve."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worldtune.train.report import Every, Rate, StepReport

log = logging.getLogger("worldtune")
CONSOLE = Console(highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Prints above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        CONSOLE.print(self.format(record), markup=False)


@contextmanager
def log_lines(file: Path | None) -> Iterator[None]:
    """Send `[LEVEL] message` lines to the terminal, and to a file that is added to."""
    handlers: list[logging.Handler] = [_ConsoleHandler()]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
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
            handler.close()


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
        if report.skipped:
            log.warning(
                f"Iteration {report.iteration}: the loss ({report.loss}) or the gradient norm "
                f"({report.gradient_norm}) is not finite; the step is skipped "
                f"({report.skipped_in_all} so far)"
            )
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
    """`metrics.jsonl`, one line a step and one a validation, and the same for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._board_folder = folder / "tensorboard"
        self._file: TextIO | None = None

    def start(self, first_iteration: int) -> None:
        """Drop the lines of steps that a resumed run takes again."""
        from torch.utils.tensorboard import SummaryWriter

        _keep_lines_up_to(first_iteration, self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._board_folder), purge_step=first_iteration + 1)

    def after_step(self, report: StepReport) -> None:
        """Write one step."""
        values = {k: v for k, v in asdict(report).items() if k not in ("iteration", "max_iter")}
        values["clips_per_s"] = report.clips / report.step_s if report.step_s > 0 else 0.0
        self.write("step", report.iteration, values)

    def write(self, kind: str, iteration: int, values: Mapping[str, float | bool]) -> None:
        """Write one line of any kind, flushed so that a killed run keeps it."""
        assert self._file is not None
        line = {"kind": kind, "iteration": iteration, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", float(value), iteration)

    def end(self) -> None:
        """Close both."""
        if self._file is not None:
            self._file.close()
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Lines of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def _keep_lines_up_to(iteration: int, path: Path) -> None:
    kept = [line for line in read_metrics(path) if line["iteration"] <= iteration]
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

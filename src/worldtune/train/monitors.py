"""Watchers of the steps and the machine: skipped steps, memory, waiting, garbage collection."""

import gc

from worldtune.train.logs import log
from worldtune.train.report import Every, StepReport


class SkippedSteps:
    """A warning for each step that was not taken."""

    def start(self, first_iteration: int) -> None:
        """Nothing to do."""

    def after_step(self, report: StepReport) -> None:
        """Say what was not finite."""
        if report.skipped:
            log.warning(
                f"Iteration {report.iteration}: the loss ({report.loss}) or the gradient norm "
                f"({report.gradient_norm}) is not finite; the step is skipped "
                f"({report.skipped_in_all} so far)"
            )

    def end(self) -> None:
        """Nothing to do."""


class DeviceMonitor:
    """A line on memory and on waiting for data, every `every` steps."""

    def __init__(self, every: int) -> None:
        self._due = Every(every)
        self._wait_s = self._step_s = 0.0

    def start(self, first_iteration: int) -> None:
        """Nothing to do."""

    def after_step(self, report: StepReport) -> None:
        """Print where it is due; the share of waiting is that since the last line."""
        self._wait_s += report.wait_s
        self._step_s += report.step_s
        if not self._due(report.iteration):
            return
        share = self._wait_s / self._step_s if self._step_s > 0 else 0.0
        peak = f"{report.memory_gib:.2f} GiB"
        log.info(f"Memory: peak {peak}; waiting for data: {share:.1%} of the time{_spans(report)}")
        self._wait_s = self._step_s = 0.0

    def end(self) -> None:
        """Nothing to do."""


def _spans(report: StepReport) -> str:
    """Smallest and largest over ranks, where there are several."""
    told = []
    for what, name, unit in (
        ("memory", "memory_gib", "GiB"),
        ("last step", "step_s", "s"),
        ("waiting in it", "wait_s", "s"),
    ):
        span = report.span(name)
        if span is not None:
            told.append(f"{what} {span[0]:.2f} to {span[1]:.2f} {unit}")
    return f"; over ranks: {', '.join(told)}" if told else ""


class ManualGc:
    """Collects garbage at chosen steps and at no others, so that ranks pause together."""

    def __init__(self, every: int, warm_up: int) -> None:
        self._due = Every(every)
        self._warm_up = warm_up
        self._was_enabled = False

    def start(self, first_iteration: int) -> None:
        """Nothing to do: the first steps are left to Python."""
        self._was_enabled = gc.isenabled()

    def after_step(self, report: StepReport) -> None:
        """Collect the youngest objects where it is due."""
        if report.iteration >= self._warm_up:
            gc.disable()
            if self._due(report.iteration):
                gc.collect(1)

    def end(self) -> None:
        """Give collecting back to Python."""
        if self._was_enabled:
            gc.enable()

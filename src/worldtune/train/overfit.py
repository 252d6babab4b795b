"""A trial on a few clips: a pipeline that is right learns them by heart.

Wrong targets, frozen blocks, a rate of 0, or data that does not reach the network all show
here within minutes, before a long run hides them.
"""

from collections.abc import Sequence
from dataclasses import replace

from worldtune.errors import RunError, StoppedEarlyError
from worldtune.objectives.schedule import constant
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.logs import log
from worldtune.train.loop import Training, train
from worldtune.train.report import Every, StepReport, Watcher
from worldtune.train.signals import StopRequest
from worldtune.train.validation import HeldOut, band_losses

MOST_STEPS = 300
WANTED_SHARE = 0.5
MEASURE_EVERY = 25


class _HalvedError(Exception):
    """The loss has fallen far enough."""


class OverfitCheck:
    """Measures the loss of the very clips that are trained on, on fixed noise."""

    def __init__(self, clip_loss: ClipLoss, clips: tuple[HeldOut, ...]) -> None:
        self._clip_loss = clip_loss
        self._clips = clips
        self._due = Every(MEASURE_EVERY)
        self.first = self.last = float("nan")

    def start(self, first_iteration: int) -> None:
        """Measure before the first step."""
        self.first = self.last = self._measure()
        log.info(f"Overfit: loss on fixed noise {self.first:.4f} before the first step")

    def after_step(self, report: StepReport) -> None:
        """Measure now and then; raise once the loss has halved."""
        if not (self._due(report.iteration) or report.iteration == report.max_iter):
            return
        self.last = self._measure()
        share = self.last / self.first
        log.info(
            f"Overfit: loss on fixed noise {self.last:.4f} after {report.iteration} steps, "
            f"{share:.0%} of the first"
        )
        if share <= WANTED_SHARE:
            raise _HalvedError

    def end(self) -> None:
        """Nothing to do."""

    def _measure(self) -> float:
        return band_losses(self._clip_loss, self._clips)["mean"]


def train_by_heart(
    training: Training,
    clips: tuple[HeldOut, ...],
    watchers: Sequence[Watcher],
    stop: StopRequest,
) -> None:
    """Train on the given clips until their loss on fixed noise has halved.

    At most 300 steps are taken, at the full learning rate from the first one (a warm-up meant
    for a long run would use them up). Raises RunError where the loss does not halve.
    """
    most = min(MOST_STEPS, training.max_iter)
    check = OverfitCheck(training.clip_loss, clips)
    trial = replace(training, max_iter=most, schedule=constant)
    try:
        train(trial, [*watchers, check], stop)
    except _HalvedError:
        log.info(
            f"Overfit passed: the loss fell from {check.first:.4f} to {check.last:.4f} "
            f"in {training.progress.iteration} steps"
        )
        return
    except StoppedEarlyError:
        steps = training.progress.iteration
        raise StoppedEarlyError(
            f"the trial was stopped by {stop.by} after {steps} steps; nothing of it is saved"
        ) from None
    raise RunError(
        f"overfit failed: after {most} steps on {sum(len(c.batch) for c in clips)} clips their "
        f"loss on fixed noise went from {check.first:.4f} to {check.last:.4f}, and a pipeline "
        f"that is right halves it. Look at the learning rate ({training.base_learning_rate:g}), "
        "at what is frozen, and at whether the clips and captions are what they should be"
    )

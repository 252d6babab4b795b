"""A trial on a few clips: a pipeline that is right learns them by heart.

Wrong targets, frozen blocks, a rate of 0, or data that does not reach the network all show
here within minutes, before a long run hides them. Two things are asked for: that the loss of
the clips falls, and that every weight that trains is reached by its gradient. The first alone
is not enough: with all blocks frozen the layers around them still learn a few clips.
"""

from collections.abc import Sequence
from dataclasses import replace

from worldtune.checkpoint.sections import SECOND_MOMENTS
from worldtune.errors import RunError, StoppedEarlyError
from worldtune.objectives.schedule import constant
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.logs import log
from worldtune.train.loop import Training, train
from worldtune.train.report import Every, StepReport, Watcher
from worldtune.train.signals import StopRequest
from worldtune.train.validation import HeldOut, band_losses, loss_of_predicting_nothing

MOST_STEPS = 300
WANTED_OF_FIRST = 0.5
# Random weights begin above predicting nothing, and come down to it without learning anything
# of the clips; so a halved loss alone tells little.
WANTED_OF_NOTHING = 0.75
MEASURE_EVERY = 25


class _LearnedError(Exception):
    """The loss has fallen far enough."""


class OverfitCheck:
    """Measures the loss of the very clips that are trained on, on fixed noise."""

    def __init__(self, clip_loss: ClipLoss, clips: tuple[HeldOut, ...]) -> None:
        self._clip_loss = clip_loss
        self._clips = clips
        self._due = Every(MEASURE_EVERY)
        self.first = self.last = self.wanted = float("nan")

    def start(self, first_iteration: int) -> None:
        """Measure before the first step."""
        self.first = self.last = self._measure()
        nothing = loss_of_predicting_nothing(self._clip_loss, self._clips)
        self.wanted = min(WANTED_OF_FIRST * self.first, WANTED_OF_NOTHING * nothing)
        log.info(
            f"Overfit: loss on fixed noise {self.first:.4f} before the first step, "
            f"{nothing:.4f} for predicting nothing; wanted: {self.wanted:.4f}"
        )

    def after_step(self, report: StepReport) -> None:
        """Measure now and then; raise once the loss is as low as wanted."""
        if not (self._due(report.iteration) or report.iteration == report.max_iter):
            return
        self.last = self._measure()
        log.info(f"Overfit: loss on fixed noise {self.last:.4f} after {report.iteration} steps")
        if self.last <= self.wanted:
            raise _LearnedError

    def end(self) -> None:
        """Nothing to do."""

    def _measure(self) -> float:
        return band_losses(self._clip_loss, self._clips)["mean"]


def train_by_heart(
    training: Training,
    clips: tuple[HeldOut, ...],
    watchers: Sequence[Watcher],
    stop: StopRequest,
    *,
    all_weights_train: bool,
) -> None:
    """Train on the given clips until their loss on fixed noise has halved.

    At most 300 steps are taken, at the full learning rate from the first one (a warm-up meant
    for a long run would use them up). Nothing is saved. Raises RunError where the loss does not
    fall so far, where weights are frozen, or where no gradient reaches them.
    """
    if all_weights_train:
        _refuse_frozen(training)
    most = min(MOST_STEPS, training.max_iter)
    check = OverfitCheck(training.clip_loss, clips)
    trial = replace(training, max_iter=most, schedule=constant, save=lambda: None)
    try:
        train(trial, [*watchers, check], stop)
    except _LearnedError:
        _refuse_unreached(training)
        log.info(
            f"Overfit passed: the loss fell from {check.first:.4f} to {check.last:.4f} "
            f"in {training.progress.iteration} steps"
        )
        return
    except StoppedEarlyError:
        steps = training.progress.iteration
        raise StoppedEarlyError(
            f"the trial was stopped by {stop} after {steps} steps; nothing of it is saved"
        ) from None
    raise RunError(
        f"overfit failed: after {most} steps on {sum(len(c.batch) for c in clips)} clips their "
        f"loss on fixed noise went from {check.first:.4f} to {check.last:.4f}, and a pipeline "
        f"that is right reaches {check.wanted:.4f}. Look at the learning rate "
        f"({training.base_learning_rate:g}), at what is frozen, and at whether the clips and "
        "captions are what they should be"
    )


def _refuse_frozen(training: Training) -> None:
    trained = training.optimizer.parameters
    names = [name for name, _ in training.clip_loss.network.named_parameters()]
    frozen = [name for name in names if name not in trained]
    if frozen:
        raise RunError(
            f"overfit failed: {len(frozen)} of {len(names)} weights are frozen, first "
            f"{frozen[0]!r}; with model.config.train_architecture=base all of them train"
        )


def _refuse_unreached(training: Training) -> None:
    moments = training.optimizer.moments()[SECOND_MOMENTS]
    unreached = [name for name, moment in moments.items() if not moment.any()]
    if unreached:
        raise RunError(
            f"overfit failed: the loss fell, but no gradient reaches {len(unreached)} of "
            f"{len(moments)} weights, first {unreached[0]!r}; look at what cuts them off from "
            "the loss"
        )

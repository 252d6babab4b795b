"""The training loop. Whatever changes the weights is a line here; whatever looks is a watcher."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

from worldtune.data.batch import Batch
from worldtune.errors import RunError, StoppedEarlyError
from worldtune.objectives.clip import scale_to_norm
from worldtune.parallel.gradients import norm_over_ranks, settle_over_tensor_ranks
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.memory import peak_memory_gib
from worldtune.train.optimizer import MasterAdamW
from worldtune.train.report import StepReport, Watcher, over_ranks
from worldtune.train.signals import StopRequest

# Ten in a row are no accident of one batch.
MOST_SKIPPED_IN_A_ROW = 10


@dataclass
class Progress:
    """Where a run is; part of its state."""

    iteration: int = 0  # steps done, skipped ones included
    schedule_step: int = 0  # the same, unless the schedule was started anew
    next_index: int = 0  # first place of the global order that was not trained on
    skipped: int = 0
    skipped_in_a_row: int = 0


@dataclass(frozen=True)
class TimedBatch:
    """A batch, and how long the loop waited for it."""

    batch: Batch
    wait_s: float


@dataclass(frozen=True)
class Training:
    """Everything that the loop moves."""

    clip_loss: ClipLoss
    optimizer: MasterAdamW
    average: WeightAverage | None
    schedule: Callable[[int], float]
    base_learning_rate: float
    clip_norm: float | None
    grad_accum_iter: int
    max_iter: int
    save_iter: int
    progress: Progress
    batches: Iterator[TimedBatch]
    save: Callable[[], None]
    mesh: ProcessMesh = ALONE


def train(training: Training, watchers: Sequence[Watcher], stop: StopRequest) -> None:
    """Run to max_iter, saving every save_iter steps and at the end.

    Raises StoppedEarlyError when asked to stop, with a state saved, and RunError where ten
    steps in a row are not finite.
    """
    progress = training.progress
    saved_at = progress.iteration
    with _looked_on_by(watchers, progress.iteration):
        while progress.iteration < training.max_iter and not training.mesh.any(bool(stop)):
            report = _step(training)
            for watcher in watchers:
                watcher.after_step(report)
            _end_where_nothing_is_finite(progress)
            if progress.iteration % training.save_iter == 0:
                training.save()
                saved_at = progress.iteration
        if saved_at != progress.iteration:
            training.save()
    if progress.iteration < training.max_iter:
        told = _how_it_stopped(progress.iteration, training.max_iter, stop)
        raise StoppedEarlyError(told, agreed=True)


@contextmanager
def _looked_on_by(watchers: Sequence[Watcher], first_iteration: int) -> Iterator[None]:
    """Start the watchers, and end each of them however the body ends."""
    try:
        for watcher in watchers:
            watcher.start(first_iteration)
        yield
    except BaseException:
        # What ended the run is told, not that its last picture could not be drawn.
        _end_each(watchers)
        raise
    fault = _end_each(watchers)
    if fault is not None:
        raise fault


def _end_each(watchers: Sequence[Watcher]) -> OSError | None:
    """End all watchers; give the first fault of the disk."""
    first = None
    for watcher in watchers:
        try:
            watcher.end()
        except OSError as fault:
            first = first or fault
    return first


def _how_it_stopped(iteration: int, max_iter: int, stop: StopRequest) -> str:
    if iteration == 0:
        return f"stopped by {stop} before the first step; the same command starts it anew"
    return (
        f"stopped by {stop} after iteration {iteration}/{max_iter}; the state is saved, and "
        "the same command goes on from it"
    )


def _step(training: Training) -> StepReport:
    """Take one optimiser step, or skip it where loss or gradient is not finite."""
    started = perf_counter()
    progress, optimizer, mesh = training.progress, training.optimizer, training.mesh
    rule = training.clip_loss.settings.rule
    own_loss = own_printed = wait_s = 0.0
    clips = 0
    for _ in range(training.grad_accum_iter):
        timed = next(training.batches)
        sums = training.clip_loss(timed.batch)
        step_elements = sums.elements * training.grad_accum_iter * mesh.layout.data
        rule.backward(sums, step_elements).backward()
        own_loss += rule.plain(sums, step_elements).item()
        own_printed += rule.printed(sums, step_elements).item()
        wait_s += timed.wait_s
        clips += len(timed.batch) * mesh.layout.data

    loss, printed = mesh.over_clips([own_loss, own_printed])
    gradients = optimizer.gradients()
    settle_over_tensor_ranks(gradients, mesh)
    norm = norm_over_ranks(gradients, mesh)
    clipped = scale_to_norm(list(gradients.values()), norm, training.clip_norm or math.inf)
    skipped = not (clipped.finite and math.isfinite(loss))
    learning_rate = training.base_learning_rate * training.schedule(progress.schedule_step)
    if not skipped:
        optimizer.step(learning_rate)
        if training.average is not None:
            training.average.update(progress.iteration)
    optimizer.forget_gradients()
    progress.iteration += 1
    progress.schedule_step += 1
    progress.next_index += clips
    progress.skipped += skipped
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if skipped else 0

    own = (perf_counter() - started, wait_s, peak_memory_gib(optimizer_device(optimizer)))
    figures = mesh.gather(own)
    step_s, waited, memory = figures.mean(0).tolist()
    return StepReport(
        iteration=progress.iteration,
        max_iter=training.max_iter,
        loss=loss,
        printed_loss=printed,
        gradient_norm=clipped.norm,
        learning_rate=learning_rate,
        step_s=step_s,
        wait_s=waited,
        clips=clips,
        memory_gib=memory,
        skipped=skipped,
        skipped_in_all=progress.skipped,
        over_ranks=over_ranks(figures),
    )


def optimizer_device(optimizer: MasterAdamW) -> torch.device:
    """Where the trained weights lie."""
    return next(iter(optimizer.masters.values())).device


def _end_where_nothing_is_finite(progress: Progress) -> None:
    if progress.skipped_in_a_row < MOST_SKIPPED_IN_A_ROW:
        return
    raise RunError(
        f"the last {progress.skipped_in_a_row} steps, up to iteration {progress.iteration}, had a "
        "loss or gradient that is not finite; the weights have not moved since. Lower "
        "optimizer.lr, check the clips, or resume from an earlier state"
    )

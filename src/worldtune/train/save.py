"""Saving a run: its own state first, then the published files made from it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import JsonValue

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.disk import free_space, gib
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import (
    NativeModel,
    NativeOptimizer,
    native_name,
    native_size,
    write_native,
)
from worldtune.checkpoint.run_lock import RunLock
from worldtune.checkpoint.state import Sections, save_size, write_state
from worldtune.config.predict2 import Predict2Recipe
from worldtune.train.logs import log
from worldtune.train.loop import Progress
from worldtune.train.setup import Learner, learning_rate_schedule
from worldtune.train.start import CHECKPOINTS, STATES
from worldtune.train.state import gather_info, gather_sections

EVERYTHING = ("model", "optim", "scheduler", "trainer")  # the published layout's folders


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        learner: Learner,
        progress: Progress,
        facts: Mapping[str, JsonValue],
        recipe: Predict2Recipe,
        folder: Path,
        lock: RunLock,
    ) -> None:
        self._learner = learner
        self._progress = progress
        self._facts = facts
        self._recipe = recipe
        self._settings = recipe.checkpoint
        self._schedule: Callable[[int], float] = learning_rate_schedule(recipe.scheduler)
        self._folder = folder
        self._lock = lock

    def __call__(self) -> None:
        """Save each file whole or not at all; what was saved before stays whole."""
        iteration = self._progress.iteration
        state = write_state(
            self._folder / STATES,
            iteration,
            gather_sections(self._learner),
            gather_info(self._learner, self._progress, self._facts),
            keep_last=self._settings.keep_last,
            lock=self._lock,
        )
        written = self._write_published()
        log.info(f"Checkpoint saved: {written[0] if written else state.path}")

    def complete(self) -> None:
        """Write the published files of the state resumed from, where a kill came before them."""
        if self._progress.iteration == 0:
            return
        kinds = {"none": (), "model": ("model",), "all": EVERYTHING}[self._settings.native]
        name = native_name(self._progress.iteration)
        if any(not (self._folder / CHECKPOINTS / kind / name).exists() for kind in kinds):
            log.info(f"Checkpoint saved: {self._write_published()[0]}")

    def _write_published(self) -> tuple[Path, ...]:
        everything = self._settings.native == "all"
        return write_native(
            self._folder / CHECKPOINTS,
            self._progress.iteration,
            self._settings.native,
            self._native_model(),
            self._native_optimizer() if everything else None,
            keep_last=self._settings.keep_last,
        )

    def tell_size(self) -> None:
        """One line before the first step: what a save takes, and what is free."""
        takes = save_size(self._full_sections())
        if self._settings.native != "none":
            takes += native_size(self._native_model())
        if self._settings.native == "all":
            takes += sum(2 * m.nbytes for m in self._learner.optimizer.masters.values())
        free = free_space(self._folder)
        log.info(f"A save takes {gib(takes)}; {gib(free)} are free in {self._folder}")
        if free < 2 * takes:
            log.warning(
                "The disk has room for fewer than two saves; free space, or lower "
                "checkpoint.keep_last or checkpoint.native"
            )

    def _full_sections(self) -> Sections:
        """A state as it is after the first step, with masters standing for the moments."""
        masters = self._learner.optimizer.masters
        moments = {named.FIRST_MOMENTS: masters, named.SECOND_MOMENTS: masters}
        return {**moments, **gather_sections(self._learner)}

    def _native_model(self) -> NativeModel:
        learner = self._learner
        return NativeModel(
            table=PREDICT2,
            config=learner.network.config,
            weights=dict(learner.network.named_parameters()),
            average=learner.average.values if learner.average is not None else None,
        )

    def _native_optimizer(self) -> NativeOptimizer:
        settings, optimizer = self._recipe.optimizer, self._learner.optimizer
        last_step = max(0, self._progress.schedule_step - 1)
        return NativeOptimizer(
            moments=optimizer.moments(),
            steps_taken=optimizer.steps_taken(),
            learning_rate=settings.lr * self._schedule(last_step),
            base_learning_rate=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )

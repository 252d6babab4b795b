"""Saving a run: its own state first, then the published files made from it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.disk import free_space
from worldtune.checkpoint.run_lock import RunLock
from worldtune.checkpoint.state import Sections, save_size, write_state
from worldtune.config.settings import CheckpointSettings
from worldtune.train.logs import log
from worldtune.train.loop import Progress
from worldtune.train.setup import Learner
from worldtune.train.start import STATES
from worldtune.train.state import gather_info, gather_sections


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        learner: Learner,
        progress: Progress,
        facts: Mapping[str, JsonValue],
        settings: CheckpointSettings,
        folder: Path,
        lock: RunLock,
    ) -> None:
        self._learner = learner
        self._progress = progress
        self._facts = facts
        self._settings = settings
        self._folder = folder
        self._lock = lock

    def __call__(self) -> None:
        """Save whole or not at all; what was saved before stays whole."""
        ref = write_state(
            self._folder / STATES,
            self._progress.iteration,
            gather_sections(self._learner),
            gather_info(self._learner, self._progress, self._facts),
            keep_last=self._settings.keep_last,
            lock=self._lock,
        )
        log.info(f"Checkpoint saved: {ref.path}")

    def tell_size(self) -> None:
        """One line before the first step: what a save takes, and what is free."""
        takes = save_size(self._full_sections()) / 2**30
        free = free_space(self._folder) / 2**30
        log.info(f"A save takes {takes:.2f} GiB; {free:.1f} GiB are free in {self._folder}")
        if free < 2 * takes:
            log.warning("The disk has room for fewer than two saves; see checkpoint.keep_last")

    def _full_sections(self) -> Sections:
        """A state as it is after the first step, with masters standing for the moments."""
        masters = self._learner.optimizer.masters
        moments = {named.FIRST_MOMENTS: masters, named.SECOND_MOMENTS: masters}
        return {**moments, **gather_sections(self._learner)}

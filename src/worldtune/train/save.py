"""Saving a run: its own state first, then the published files made from it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.disk import free_space, gib
from worldtune.checkpoint.run_lock import RunLock
from worldtune.checkpoint.state import Sections, save_size, write_state
from worldtune.config.predict2 import Predict2Recipe
from worldtune.train.logs import log
from worldtune.train.loop import Progress
from worldtune.train.publish import published
from worldtune.train.setup import Learner
from worldtune.train.start import CHECKPOINTS, STATES
from worldtune.train.state import gather_info, sections_to_save


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        learner: Learner,
        progress: Progress,
        facts: Mapping[str, JsonValue],
        recipe: Predict2Recipe,
        folder: Path,
        lock: RunLock | None,
    ) -> None:
        """The first process holds the lock of the run's folder."""
        self._learner = learner
        self._progress = progress
        self._facts = facts
        self._settings = recipe.checkpoint
        self._folder = folder
        self._lock = lock
        self._published = published(recipe, learner, facts, folder / CHECKPOINTS)

    def __call__(self) -> None:
        """Save each file whole or not at all; what was saved before stays whole."""
        iteration, mesh = self._progress.iteration, self._learner.pieces.mesh
        sections, slices = sections_to_save(self._learner)
        state = write_state(
            self._folder / STATES,
            iteration,
            sections,
            gather_info(self._learner, self._progress, self._facts),
            rank=mesh.rank,
            world=mesh.layout.world,
            barrier=mesh.barrier,
            slices=slices,
            keep_last=self._settings.keep_last,
            lock=self._lock,
        )
        written = self._write_published()
        log.info(f"Checkpoint saved: {written[0] if written else state.path}")

    def complete(self) -> None:
        """Write the published files of the state resumed from, where a kill came before them."""
        iteration = self._progress.iteration
        if iteration == 0:
            return
        paths = [path for kind in self._published for path in kind.paths(iteration)]
        if self._learner.pieces.mesh.any(not all(path.exists() for path in paths)):
            log.info(f"Checkpoint saved: {self._write_published()[0]}")

    def _write_published(self) -> tuple[Path, ...]:
        iteration, schedule_step = self._progress.iteration, self._progress.schedule_step
        for kind in self._published:
            kind.write(iteration, schedule_step)
        return tuple(path for kind in self._published for path in kind.paths(iteration))

    def tell_size(self) -> None:
        """One line before the first step: what a save takes, and what is free."""
        mesh = self._learner.pieces.mesh
        takes = int(mesh.add_up([float(save_size(self._full_sections()))])[0])
        takes += sum(kind.nbytes() for kind in self._published)
        free = free_space(self._folder)
        log.info(f"A save takes {gib(takes)}; {gib(free)} are free in {self._folder}")
        if free < 2 * takes:
            log.warning(
                "The disk has room for fewer than two saves; free space, or lower "
                "checkpoint.keep_last or checkpoint.native"
            )

    def _full_sections(self) -> Sections:
        """A state as it is after the first step, with masters standing for the moments."""
        sections = sections_to_save(self._learner)[0]
        masters = sections.get(named.MASTERS, {})
        return {named.FIRST_MOMENTS: masters, named.SECOND_MOMENTS: masters, **sections}

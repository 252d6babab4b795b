"""Batches ready before the step asks for them."""

import atexit
import os
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from time import perf_counter
from typing import Any, cast
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Sampler

from worldtune.data.batch import Batch
from worldtune.data.dataset import ClipSource
from worldtune.data.order import Place
from worldtune.data.workers import Board, Failure, Reading, as_read, set_up_worker
from worldtune.errors import DataError, RunError

_SHARED_MEMORY = Path("/dev/shm")
_AHEAD = 2  # batches each worker keeps ready
_MOST_THREADS = 4  # ffmpeg gains little from more
_NOTICED_S = 2.0  # time for the system to note that a process has ended


class Loader:
    """Batches of one data rank, decoded by worker processes while the model computes.

    wait_s is how long the last batch was waited for. Workers start at iter(loader), ahead of the
    first batch. close() ends them; so does leaving a with block, and the end of the process,
    however it ends.
    """

    def __init__(
        self,
        source: ClipSource,
        batches: Sampler[list[Place]],
        *,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        loaders_here: int = 1,
    ) -> None:
        """Check that the workers' batches fit in shared memory, else raise DataError.

        loaders_here counts the loaders of the run on this machine, which share it.
        """
        self.source = source
        self.wait_s = 0.0
        self._board = Board(num_workers)
        threads = min(_MOST_THREADS, max(1, _cores() // (max(num_workers, 1) * loaders_here)))
        workers_here = num_workers * loaders_here
        ahead = _batches_ahead(source, batch_size, workers_here) if num_workers else None
        self._loader: DataLoader[Batch | Failure] | None = DataLoader(
            Reading(source, self._board, threads),
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=cast(Any, as_read),  # typed as if it were always given a list
            pin_memory=pin_memory,
            prefetch_factor=ahead,
            persistent_workers=num_workers > 0,
            worker_init_fn=set_up_worker,
            multiprocessing_context=_workers_context() if num_workers else None,
            # Else torch draws from the run's own generator, once more for every resume.
            generator=torch.Generator(),
        )
        # Held here alone: torch ends its workers when the last reference goes, and a traceback
        # may hold a caller's frame for long.
        self._running: Iterator[Batch | Failure] | None = None
        self._turn = 0
        _OPEN.add(self)

    def __iter__(self) -> Iterator[Batch]:
        """Start the workers and return their batches; an earlier iterator ends."""
        assert self._loader is not None, "the loader was closed"
        self._running = iter(self._loader)
        self._turn += 1
        return self._batches(self._turn)

    def _batches(self, turn: int) -> Iterator[Batch]:
        while self._running is not None and self._turn == turn:
            asked = perf_counter()
            try:
                got = next(self._running, None)
            # A worker that dies may take a batch with it that was on its way: then the socket to
            # it breaks before torch has seen its end.
            except (RuntimeError, OSError, EOFError) as error:
                raise self._death(error) from error
            self.wait_s = perf_counter() - asked
            if got is None:
                return
            if isinstance(got, Failure):
                raise DataError(got.message)
            yield got

    def _death(self, error: Exception) -> Exception:
        """Turn the sight of a dead worker into an error that names the clip."""
        dead = self._board.wait_for_dead(_NOTICED_S)
        if not dead:
            return error
        names = [self.source.name_of(clip) for clip in self._board.clips_of(dead)]
        if not names:
            return RunError(f"loader workers ended between two clips: {error}")
        return DataError(
            f"a loader worker died while it read {' and '.join(names)}: memory ran out, or the "
            "file makes the decoder crash; lower num_workers, or remove the clip"
        )

    def close(self) -> None:
        """End the workers."""
        self._running = self._loader = None

    def __enter__(self) -> "Loader":
        """Return the loader, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        self.close()


_OPEN: WeakSet[Loader] = WeakSet()


@atexit.register
def _close_all() -> None:
    """End the workers of a run that failed, before multiprocessing waits for them."""
    for loader in list(_OPEN):
        loader.close()


def _cores() -> int:
    """Return the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _workers_context() -> ForkServerContext:
    """Return a fork server that has imported what workers need.

    A forked copy of the main process would carry its CUDA context and the locks that its threads
    held at that moment; a spawned one takes seconds to import torch for each worker.
    """
    context = cast(ForkServerContext, get_context("forkserver"))
    context.set_forkserver_preload(["worldtune.data.server"])
    return context


def _batches_ahead(source: ClipSource, batch_size: int, num_workers: int) -> int:
    """Return how many batches each worker may keep ready in shared memory.

    A process that writes past the end of shared memory is killed by SIGBUS, with no message.
    """
    if not _SHARED_MEMORY.is_dir():
        return _AHEAD
    status = os.statvfs(_SHARED_MEMORY)
    free = status.f_bavail * status.f_frsize
    batch = source.item_bytes * batch_size
    fitting = (free // batch - 1) // num_workers  # one more is with the step
    if fitting < 1:
        needed = batch * (num_workers + 1)
        raise DataError(
            f"{num_workers} loader workers need {needed / 2**20:.0f} MiB of shared memory and "
            f"{_SHARED_MEMORY} has {free / 2**20:.0f} MiB free; lower num_workers, or give the "
            "container more (docker run --shm-size)"
        )
    return min(_AHEAD, fitting)

"""What runs inside a loader's worker process."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from time import monotonic, sleep
from types import FrameType

import torch
from torch.utils.data import Dataset, get_worker_info

from worldtune.data.batch import Batch, collate
from worldtune.data.dataset import ClipSource
from worldtune.data.order import Place
from worldtune.errors import DataError

# How long a worker goes on after SIGTERM: the main process finishes its step and saves first.
GRACE_S = 60.0
_IDLE = -1


@dataclass(frozen=True)
class Failure:
    """A DataError on its way to the main process, as a message without a traceback."""

    message: str


class Board:
    """Which clip each worker reads, in shared memory: what to name when a worker dies."""

    def __init__(self, workers: int) -> None:
        """Lay out a row for each worker."""
        self._rows = torch.full((max(workers, 1), 2), _IDLE, dtype=torch.int64)
        if workers:
            self._rows.share_memory_()

    def note(self, worker: int, clip: int) -> None:
        """Write down what a worker is about to read."""
        self._rows[worker, 0] = os.getpid()
        self._rows[worker, 1] = clip

    def wait_for_dead(self, within_s: float) -> list[int]:
        """Return the workers that have ended, waiting a little for the first of them."""
        pids = [int(pid) for pid, _ in self._rows if int(pid) not in (_IDLE, os.getpid())]
        until = monotonic() + within_s
        while pids:
            dead = [pid for pid in pids if not _lives(pid)]
            if dead or monotonic() > until:
                return dead
            sleep(0.02)
        return []

    def clips_of(self, pids: Sequence[int]) -> list[int]:
        """Return the clips that these processes were reading."""
        return [int(clip) for pid, clip in self._rows if int(pid) in pids and int(clip) != _IDLE]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Reading(Dataset[Batch | Failure]):
    """Lists of places to batches; torch's loader calls it in the workers."""

    def __init__(self, source: ClipSource, board: Board, threads: int) -> None:
        """Take the source, and ffmpeg's threads per worker."""
        self.source, self.board, self.threads = source, board, threads

    def __getitems__(self, places: Sequence[Place]) -> Batch | Failure:
        """Read one batch; a DataError comes back as a value."""
        info = get_worker_info()
        worker = info.id if info else 0
        items = []
        try:
            for place in places:
                self.board.note(worker, place.clip)
                items.append(self.source.read(place, self.threads))
            self.board.note(worker, _IDLE)
        except DataError as error:
            return Failure(str(error))
        return collate(items)


def as_read(batch: Batch | Failure) -> Batch | Failure:
    """Take a batch as it was read; it is laid together already."""
    return batch


def set_up_worker(_worker: int) -> None:
    """Leave signals to the main process, and end when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_later(_number: int, _frame: FrameType | None) -> None:
    timer = threading.Timer(GRACE_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    # A killed main process cannot stop its workers, and under a fork server torch's own watch for
    # it looks at the server, which lives on.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(0)

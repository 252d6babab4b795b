"""Processes that work together on the CPU, forked from this one, which has torch already.

    with Pool(4) as pool:
        answers = pool.run(function, "an argument")

Every process calls the function with the arguments and answers; answers travel as bytes.
Forking takes a tenth of a second for a process, starting Python anew three.
"""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from tests.multi.forked import WAIT_S, answer, fork, hear


class Pool:
    """`world` processes in one gloo group, one thread each."""

    def __init__(self, world: int) -> None:
        self.world = world
        self._store = Path(tempfile.mkdtemp()) / "store"
        forked = [fork(_serve, rank, world, self._store) for rank in range(world)]
        self._processes = [process for process, _ in forked]
        self._lines = [line for _, line in forked]

    def run(self, function: Callable[..., Any], *words: Any) -> list[Any]:
        """Call a function in every process; give the answers by rank."""
        for line in self._lines:
            line.send((function, words))
        answers, faults = [], []
        for rank, line in enumerate(self._lines):
            try:
                done, given = hear(line)
            except EOFError:
                raise AssertionError(f"rank {rank} is gone") from None
            answers.append(given)
            if not done:
                faults.append(f"rank {rank} failed:\n{given}")
        telling = [fault for fault in faults if "QuietError" not in fault] or faults
        assert not faults, "\n".join(telling)
        return answers

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _serve(rank: int, world: int, store: Path, line: Connection) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_WORLD_SIZE"] = str(world)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=WAIT_S),
    )
    while True:
        function, words = line.recv()
        answer(line, function, words)

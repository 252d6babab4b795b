"""Several processes that are one run: one speaks, one holds the folder, all fail together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from worldtune.checkpoint.run_lock import RunLock, lock_run
from worldtune.errors import (
    ExitStatus,
    QuietError,
    RunError,
    StoppedEarlyError,
    WorldtuneError,
    first_line,
)
from worldtune.parallel.layout import Layout
from worldtune.parallel.mesh import (
    ProcessMesh,
    launched_processes,
    processes_here,
    speaks_first_of_failure,
)
from worldtune.train.logs import log, log_lines


def launch_lines(layout: Layout, device: torch.device) -> list[str]:
    """What is said of a launch, as the documents say it."""
    nodes = max(1, layout.world // processes_here(layout.world))
    where = "single node" if nodes == 1 else f"{nodes} nodes"
    kind = "GPU" if device.type == "cuda" else "CPU process"
    plural = "" if layout.world == 1 else "s" if kind == "GPU" else "es"
    sizes = f"Context parallel size: {layout.context}, Data parallel size: {layout.data}"
    if layout.tensor > 1:
        sizes += f", Tensor parallel size: {layout.tensor}"
        sizes += " with sequence parallelism" if layout.sequence else ""
    lines = [f"Starting training on {where} with {layout.world} {kind}{plural}...", sizes]
    if layout.shard > 1:
        mesh = f"{layout.replicate} x {layout.shard} x {layout.tensor}"
        lines.append(
            f"Using FSDP with shard size {layout.shard} | device mesh: {mesh} "
            "(replicate x shard x tensor)"
        )
    return lines


@contextmanager
def speak(file: Path, *, first: bool) -> Iterator[None]:
    """Let the first process tell and log; the others are silent."""
    if first:
        with log_lines(file):
            yield
        return
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


@contextmanager
def hold_folder(states: Path, mesh: ProcessMesh) -> Iterator[RunLock | None]:
    """Hold the run's folder in the first process; where that fails, all fail."""
    with ExitStack() as held:
        locks: list[RunLock] = []
        mesh.from_first(lambda: locks.append(held.enter_context(lock_run(states))))
        yield locks[0] if locks else None


@contextmanager
def fail_together() -> Iterator[None]:
    """Let the first process that fails say why, and the others end without a word.

    A process that only sees that another one is gone says so, where that one could not.
    """
    if launched_processes() == 1:
        yield
        return
    try:
        yield
    except Exception as fault:
        known = isinstance(fault, WorldtuneError)
        if not speaks_first_of_failure():
            status = fault.exit_status if known else ExitStatus.FAILED
            agreed = isinstance(fault, StoppedEarlyError) and fault.agreed
            raise QuietError(status, agreed=agreed) from None
        if known:
            fault.speaks = True
        elif isinstance(fault, RuntimeError) and _lost_contact(fault):
            lost = RunError(
                f"another process of the run ended or stopped answering ({first_line(fault)}); "
                "the launcher's summary names it"
            )
            lost.speaks = True
            raise lost from fault
        raise


def _lost_contact(fault: RuntimeError) -> bool:
    """Whether an error of a collective is about another process, and not about this one."""
    if isinstance(fault, torch.distributed.DistBackendError | torch.distributed.DistNetworkError):
        return True
    words = ("Connection closed", "Connection reset", "Timed out", "Broken pipe", "gloo")
    return any(word in str(fault) for word in words)

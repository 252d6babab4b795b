"""Holding the files of a conversion against their source, tensor by tensor."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from worldtune.checkpoint.bits import SideBySide
from worldtune.checkpoint.conversion_job import Job
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.checkpoint.trees import flatten
from worldtune.errors import CheckpointError


def find_differences(
    job: Job, files: Mapping[int, Path], tell: Callable[[int, int], None]
) -> dict[int, str]:
    """In which of these files, one for each output, something is not as it should be."""
    reasons: dict[int, str] = {}
    opened: dict[int, WeightsFile] = {}
    names: dict[int, list[str]] = {}
    with contextlib.ExitStack() as held:
        for number, path in files.items():
            expected = flatten(job.outputs[number].layout.placed, path)
            names[number] = list(expected.tensors)
            try:
                opened[number] = held.enter_context(open_weights(path))
            except CheckpointError as fault:
                reasons[number] = str(fault)
                continue
            if opened[number].entries != {n: p.entry for n, p in expected.tensors.items()}:
                reasons[number] = "its list of tensors is another"
            elif opened[number].others != expected.others:
                reasons[number] = "what it holds beside tensors is another"
        _compare(job, opened, names, reasons, tell)
    return reasons


def _compare(
    job: Job,
    opened: Mapping[int, WeightsFile],
    names: Mapping[int, Sequence[str]],
    reasons: dict[int, str],
    tell: Callable[[int, int], None],
) -> None:
    """Compare the tensors of files whose lists are right; note the first that differs."""
    order = {number: iter(names[number]) for number in opened}
    done, total = 0, sum(step.nbytes for step in job.steps)
    for step in job.steps:
        turn = {n: next(order[n]) for n in step.targets if n in order}
        done += step.nbytes
        if turn.keys() - reasons.keys():
            for target, tensor in zip(step.targets, step.read(True), strict=True):
                if target in turn and target not in reasons:
                    reason = _difference(opened[target], turn[target], tensor)
                    if reason:
                        reasons[target] = reason
            step.release()
            tell(done, total)


def _difference(file: WeightsFile, name: str, expected: SideBySide) -> str | None:
    try:
        same = expected.equals(file.read(name))
    except CheckpointError as fault:
        return str(fault)
    file.forget(name)
    return None if same else f"{name} differs"


def leave_memory(path: Path) -> None:
    """Let a file be read from the disk, not from what the system still holds of it."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)

"""Joining the tensor-parallel parts of a training checkpoint into files that are read whole.

    join_parts(Path(".../EXPERIMENT/checkpoints/iter_000000100.pt"))

writes, into `.../EXPERIMENT/fsdp_checkpoints/`, `iter_000000100_reg_model.pt` (the weights)
and `iter_000000100_ema_model.pt` (their average): flat dicts of tensors, as the published
converter writes them. Without the frozen base the average is also called
`..._ema_model_only.pt`, its name there. No network is built, no GPU is needed, every dtype
stays what it is.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.bits import SideBySide
from worldtune.checkpoint.conversion import Converted, convert
from worldtune.checkpoint.conversion_job import Job, Output, Progress, Step
from worldtune.checkpoint.cuts import BASE, Named, joined_entry
from worldtune.checkpoint.disk import Disk
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.names import Kind
from worldtune.checkpoint.parts import (
    Parts,
    Unlike,
    check_parts,
    find_parts,
    unlike_replicas,
)
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.torch_layout import TorchLayout
from worldtune.errors import CheckpointError

CHECKPOINTS, JOINED = "checkpoints", "fsdp_checkpoints"
# Buffers beside the network: no average of them exists, and a reader wants them. The
# log-variance's weight is no buffer, and the published converter leaves it away too.
BUFFERS_BESIDE = ("logvar.0.freqs", "logvar.0.phases")


@dataclass(frozen=True)
class JoinReport:
    """What was joined, and the files; `average` is None where the parts hold none."""

    checkpoint: Path
    size: int
    tensors: int
    weights: Path
    average: Path | None
    also: Path | None
    converted: Converted
    notices: tuple[str, ...]


def join_parts(
    path: Path,
    folder: Path | None = None,
    *,
    experiment: str | None = None,
    include_base_model: bool = False,
    allow_different_replicas: bool = False,
    force: bool = False,
    verify: bool = True,
    disk: Disk | None = None,
    progress: Progress | None = None,
) -> JoinReport:
    """Join the parts that `path` (a part, or the master) belongs to.

    `folder` is where None the one that `output_folder` gives. With include_base_model the
    frozen base goes into both files. A weight that every part holds whole must be the same in
    all; with allow_different_replicas that of part 0 is taken, and a notice says so.

    Errors are those of `convert`, and CheckpointError where the parts do not belong together.
    """
    stem, paths = find_parts(path)
    folder, notices = _choose_folder(path, experiment, folder)
    with contextlib.ExitStack() as opened:
        files = tuple(opened.enter_context(open_weights(part)) for part in paths)
        parts = check_parts(stem, files)
        joining = _Joining(parts, include_base_model)
        notices += _check_replicas(joining, allow_different_replicas)
        job = joining.job(folder)
        converted = convert(job, force=force, verify=verify, disk=disk, progress=progress)
    average = next((output for output in job.outputs if "_ema_" in output.path.name), None)
    if average is None:
        notices.append("The parts hold no average: only the weights were joined.")
    return JoinReport(
        checkpoint=parts.folder / f"{stem}.pt",
        size=parts.size,
        tensors=len(job.steps),
        weights=job.outputs[-1].path,
        average=average.path if average else None,
        also=average.also if average else None,
        converted=converted,
        notices=tuple(notices),
    )


def _check_replicas(joining: "_Joining", allow_unlike: bool) -> list[str]:
    """Raise CheckpointError where copies differ, or give the line that says so."""
    unlike = unlike_replicas(joining.parts, (*joining.averages, *joining.weights))
    if unlike and not allow_unlike:
        raise _replicas_differ(joining.parts, unlike)
    if unlike:
        return [f"{len(unlike)} weights differ between parts; those of part 0 were taken."]
    return []


def _choose_folder(
    path: Path, experiment: str | None, folder: Path | None
) -> tuple[Path, list[str]]:
    """Where the files go, and a line where the experiment is not in the path."""
    if folder is None:
        return output_folder(path, experiment), []
    if experiment and experiment not in path.absolute().parts:
        return folder, [f"The path has no folder {experiment}; the parts at {path} were joined."]
    return folder, []


def output_folder(path: Path, experiment: str | None) -> Path:
    """`EXPERIMENT/fsdp_checkpoints` for a path in `EXPERIMENT/checkpoints`.

    Without an experiment's name, the folder beside the one of the parts. CheckpointError
    where the path is of another experiment.
    """
    if experiment is None:
        return _as_written(path.absolute().parent.parent / JOINED, path)
    parts = path.absolute().parts
    for at, word in enumerate(parts[:-1]):
        if word == experiment and parts[at + 1] == CHECKPOINTS:
            return _as_written(Path(*parts[: at + 1], JOINED, *parts[at + 2 : -1]), path)
    raise CheckpointError(
        f"{path} is no checkpoint of experiment {experiment}: there is no folder "
        f"{experiment}/{CHECKPOINTS} in it. Give the path or the name that belong together, or "
        "say where the files go with --output-directory."
    )


def _as_written(folder: Path, path: Path) -> Path:
    """A folder, from here if the path was written from here."""
    return folder if path.is_absolute() else Path(os.path.relpath(folder))


def _replicas_differ(parts: Parts, unlike: Sequence[Unlike]) -> CheckpointError:
    listed = "\n  ".join(map(str, unlike))
    return CheckpointError(
        f"The {parts.size} parts of {parts.stem} in {parts.folder} differ in weights that each "
        f"of them holds whole ({len(unlike)}):\n  {listed}\nEither they are not of one save, or "
        "they were trained by a program that lets the processes drift apart; the published one "
        "does when a control branch starts fresh. Then no joined file computes quite what was "
        "trained. To take the copies of part 0, as the published converter does, add "
        "--allow-different-replicas."
    )


class _Joining:
    """The steps of one join: averages first, then the weights, into one or both files."""

    def __init__(self, parts: Parts, with_base: bool) -> None:
        self.parts = parts
        every = parts.names.kept
        if with_base and not any(named.name.startswith(BASE) for named in every):
            raise CheckpointError(
                f"{parts.files[0].path} holds no frozen base: no name begins with {BASE!r}. "
                "Leave out --include-base-model; the base is in a file of its own."
            )
        kept = [n for n in every if with_base or not n.name.startswith(BASE)]
        self.averages = [named for named in kept if named.average]
        self.weights = [named for named in kept if not named.average]

    def job(self, folder: Path) -> Job:
        """The files and the steps."""
        stem, with_average = self.parts.stem, bool(self.averages)
        averaged = {named.name for named in self.averages}
        copied = [n for n in self.weights if with_average and self._beside_average(n, averaged)]
        steps = [(named, (0,)) for named in self.averages]
        last = int(with_average)  # the weights' file is the last of one or two
        steps += [(named, (0, last) if named in copied else (last,)) for named in self.weights]
        trees: list[dict[str, TensorEntry]] = [{} for _ in range(last + 1)]
        for named, targets in steps:
            for target in targets:
                trees[target][named.name] = self._entry(named)
        outputs = [Output(folder / f"{stem}_reg_model.pt", TorchLayout(trees[last]))]
        if with_average:
            has_base = any(named.name.startswith(BASE) for named in self.weights)
            also = None if has_base else folder / f"{stem}_ema_model_only.pt"
            ema = Output(folder / f"{stem}_ema_model.pt", TorchLayout(trees[0]), also)
            outputs.insert(0, ema)
        return Job(
            what=f"The files joined from {stem}",
            journal=f"{stem}.join.journal",
            sources=self.parts.files,
            outputs=tuple(outputs),
            steps=tuple(self._step(named, targets) for named, targets in steps),
        )

    def _beside_average(self, named: Named, averaged: set[str]) -> bool:
        """Whether a weight goes beside the average: the base, and buffers without one."""
        if named.name in averaged:
            return False
        rebuilt = named.kind is Kind.REBUILT
        return named.name.startswith(BASE) or named.name in BUFFERS_BESIDE or rebuilt

    def _entry(self, named: Named) -> TensorEntry:
        entry = self.parts.files[0].entries[named.flat]
        return joined_entry(entry, named.cut, self.parts.size)

    def _step(self, named: Named, targets: tuple[int, ...]) -> Step:
        return Step(
            targets=targets,
            nbytes=self._entry(named).nbytes,
            read=lambda verify: [self._read(named, verify)] * len(targets),
            release=lambda: self._release(named),
        )

    def _read(self, named: Named, verify: bool) -> SideBySide:
        files, cut = self.parts.files, named.cut
        if cut is None:
            return SideBySide((files[0].read(named.flat, verify=verify),))
        pieces = (file.read(named.flat, verify=verify) for file in files)
        return SideBySide(tuple(pieces), cut.value)

    def _release(self, named: Named) -> None:
        for file in self.parts.files:
            file.forget(named.flat)

"""Cutting a file of weights into tensor-parallel parts, in the published layout.

    split_weights(Path("Cosmos-Transfer1-7B-Sample-AV/base_model.pt"), size=8)

writes `checkpoints_tp/base_model_model_mp_0.pt` to `..._7.pt` beside the file, each
`{"model": {name: part}, "ema": None}`, and `checkpoints_tp/base_model.pt`, a marker that a
training run asks for. No network is built, and in memory is one tensor at a time.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldtune.checkpoint.conversion import Converted, convert
from worldtune.checkpoint.conversion_job import Job, Output, Progress, Step
from worldtune.checkpoint.cuts import (
    Named,
    Names,
    check_size,
    cut_entry,
    cut_tensor,
    parts_in_all,
    read_names,
    some,
)
from worldtune.checkpoint.disk import Disk
from worldtune.checkpoint.entries import PlacedTensor, TensorEntry
from worldtune.checkpoint.layout import PART_FILE
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.checkpoint.torch_layout import TorchLayout
from worldtune.checkpoint.trees import AVERAGE_WRAPPER
from worldtune.errors import CheckpointError

PUBLISHED_SIZE = 8
PARTS_FOLDER = "checkpoints_tp"
# In this repository the files have plain names; the published page says t2w_ before them,
# as in the repository of several cameras.
PLAIN_NAMES = "Cosmos-Transfer1-7B-Sample-AV"
SLIP = "t2w_"
ITERATION = re.compile(r"iter_(\d+)")
RECORD = "trained_data_record"  # counters that a trainer keeps in every part


@dataclass(frozen=True)
class SplitReport:
    """What was cut: tensors, how many of them are divided, and the files."""

    source: Path
    size: int
    tensors: int
    divided: int
    parts: tuple[Path, ...]
    marker: Path
    converted: Converted
    notices: tuple[str, ...]


def part_name(stem: str, rank: int) -> str:
    """Name of a rank's part."""
    return f"{stem}_model_mp_{rank}.pt"


def split_weights(
    path: Path,
    size: int = PUBLISHED_SIZE,
    folder: Path | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    disk: Disk | None = None,
    progress: Progress | None = None,
) -> SplitReport:
    """Cut a file into `size` parts; averages beside the weights are cut with them.

    `folder` is `checkpoints_tp` beside the file where None. `verify` reads every part again
    and compares it with the file. Errors are those of `convert`, and CheckpointError where
    the file is not there, is itself a part, or does not divide.
    """
    path, notices = _find_source(path)
    with open_weights(path) as file:
        names = read_names(file)
        in_all = parts_in_all(file, names)
        if in_all > 1:
            raise CheckpointError(
                f"{file.path} is already split: it is one of {in_all} parts. Join them first "
                f"with:\n  worldtune join {file.path}"
            )
        check_size(file, names, size)
        stem, iteration = _stem_and_iteration(file)
        folder = folder or file.path.parent / PARTS_FOLDER
        job = _job(file, names, size, folder, stem, iteration)
        converted = convert(job, force=force, verify=verify, disk=disk, progress=progress)
    *parts, marker = (output.path for output in job.outputs)
    return SplitReport(
        source=file.path,
        size=size,
        tensors=len(names.kept),
        divided=sum(named.cut is not None for named in names.kept),
        parts=tuple(parts),
        marker=marker,
        converted=converted,
        notices=(*notices, *_left_out(file, names)),
    )


def _find_source(path: Path) -> tuple[Path, list[str]]:
    """The file that is meant, and a line where it is not the one that was written."""
    plain = path.with_name(path.name.removeprefix(SLIP))
    if path.exists() or plain == path or path.absolute().parent.name != PLAIN_NAMES:
        return path, []
    if not plain.exists():
        raise weights_not_found(plain)
    return plain, [
        f"{path.name} is not in {path.parent}: the published page means {plain.name}, which "
        "is what recipes look for, and was taken."
    ]


def _stem_and_iteration(file: WeightsFile) -> tuple[str, int]:
    """Stem of the parts' names and the iteration for the marker: 0 for published weights.

    A run of one process saves the only part of its weights, with a master beside it.
    """
    part = PART_FILE.fullmatch(file.path.name)
    if part:
        stem = part["stem"]
        told = read_iteration(file.path.with_name(f"{stem}.pt"))
    else:
        stem = file.path.name.removesuffix(".index.json").removesuffix(file.path.suffix)
        told = None
    named = ITERATION.fullmatch(stem)
    return stem, told if told is not None else int(named[1]) if named else 0


def read_iteration(master: Path) -> int | None:
    """The iteration that a master file tells; None where there is none."""
    if not master.is_file():
        return None
    with open_weights(master) as file:
        iteration = file.others.get("iteration")
    return iteration if isinstance(iteration, int) else None


def _job(
    file: WeightsFile, names: Names, size: int, folder: Path, stem: str, iteration: int
) -> Job:
    layout = TorchLayout(part_tree(file, names, size))
    outputs = [Output(folder / part_name(stem, rank), layout) for rank in range(size)]
    marker = TorchLayout({"grad_scaler": {}, "iteration": iteration})
    return Job(
        what=f"The {size} parts of {file.path.name}",
        journal=f"{stem}.split.journal",
        sources=(file,),
        outputs=(*outputs, Output(folder / f"{stem}.pt", marker)),
        steps=tuple(_step(file, named, size) for named in _in_order(names)),
    )


def _in_order(names: Names) -> list[Named]:
    """The weights, then their averages."""
    return sorted(names.kept, key=lambda named: named.average)


def part_tree(file: WeightsFile, names: Names, size: int) -> dict[str, Any]:
    """What a part holds, with TensorEntry for tensors; all parts hold the same."""
    sections: dict[bool, dict[str, TensorEntry]] = {False: {}, True: {}}
    for named in _in_order(names):
        entry = cut_entry(file.entries[named.flat], named.cut, size)
        sections[named.average][named.in_part] = entry
    tree: dict[str, Any] = {"model": sections[False], AVERAGE_WRAPPER: sections[True] or None}
    record = file.tree.get(RECORD) if isinstance(file.tree, dict) else None
    if isinstance(record, dict) and not any(isinstance(v, PlacedTensor) for v in record.values()):
        tree[RECORD] = record
    return tree


def _step(file: WeightsFile, named: Named, size: int) -> Step:
    return Step(
        targets=tuple(range(size)),
        nbytes=file.entries[named.flat].nbytes,
        read=lambda verify: cut_tensor(file.read(named.flat, verify=verify), named.cut, size),
        release=lambda: file.forget(named.flat),
    )


def _left_out(file: WeightsFile, names: Names) -> list[str]:
    """A line on everything that the parts do not hold."""
    known = (f"{RECORD}/", AVERAGE_WRAPPER, "iteration", "grad_scaler")
    others = [
        name for name in file.others if name not in names.dropped and not name.startswith(known)
    ]
    lines = []
    if names.dropped:
        lines.append(f"Left out {len(names.dropped)} entries of a kernel library: no weights.")
    if others:
        lines.append(f"Left out what is no tensor: {some(others)}.")
    return lines

"""The published layout of a Predict2 run: written for the publishers' tools, and read.

    checkpoints/
      model/iter_000000500.pt       net.* in bfloat16, net_ema.* in float32
      optim/ scheduler/ trainer/    the same file name; only with `all`
      latest_checkpoint.txt         only with `all`, when all four files are whole

These files carry no float32 masters, random states or data position: a run resumes from
its own training state (`state.py`), and from these only where there is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from worldtune.checkpoint.disk import Disk, save_failed, write_file
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.layout import (
    NATIVE_FILE,
    NATIVE_KINDS,
    NATIVE_POINTER,
    native_name,
)
from worldtune.checkpoint.names import NameTable
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.shards import dtype_name
from worldtune.checkpoint.torch_pickle import Planned, planned
from worldtune.checkpoint.torch_writer import torch_file_size, write_torch_file
from worldtune.checkpoint.trees import AVERAGE, NETWORK
from worldtune.errors import CheckpointError
from worldtune.models.config import TransformerConfig

NativeFiles = Literal["model", "all", "none"]

# The publishers' trainer names the network's parameters from its model object on.
OPTIMIZER_PREFIX = "pipe.dit."
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class NativeOptimizer:
    """What the files beside the weights hold; parameters by the network's names."""

    moments: Mapping[str, Mapping[str, Tensor]]  # exp_avg and exp_avg_sq, by parameter
    steps_taken: int
    learning_rate: float  # of the last step
    base_learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float


@dataclass(frozen=True)
class NativeModel:
    """A network to write: names are the modules', averages those of what trains."""

    table: NameTable
    config: TransformerConfig
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class NativeRun:
    """What a run of the publishers' trainer left to go on from."""

    model: Path
    iteration: int
    has_average: bool
    not_carried: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def native_entries(model: NativeModel) -> dict[str, Planned]:
    """Every entry of a model file: weights, average, and what is rebuilt, under both.

    A weight that does not train is its own average. CheckpointError where a weight has no
    published name.
    """
    average = model.average
    entries = _entries(model, NETWORK, model.weights, torch.bfloat16)
    if average is not None:
        strange = sorted(average.keys() - model.weights.keys())
        if strange:
            raise CheckpointError(
                f"an average of {strange[0]!r}, which is no weight, is not saved."
            )
        entries |= _entries(model, AVERAGE, {**model.weights, **average}, torch.float32)
    return entries


def _entries(
    model: NativeModel, prefix: str, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Planned]:
    named: dict[str, Tensor] = {}
    for module, tensor in weights.items():
        name = model.table.to_file(module)
        if name is None:
            raise CheckpointError(
                f"{module!r} has no published name in {model.table.family} and cannot be saved in "
                "the published layout; set checkpoint.native=none to keep the training state only."
            )
        named[name] = tensor
    named |= model.table.rebuilt(model.config)
    return {
        prefix + name: planned(tensor, dtype if tensor.is_floating_point() else None)
        for name, tensor in named.items()
    }


def native_size(model: NativeModel, optimizer: NativeOptimizer | None = None) -> int:
    """Bytes that a save in the published layout takes."""
    entries = [entry.entry for entry in native_entries(model).values()]
    if optimizer is not None:
        entries += [_entry(t) for kind in MOMENTS for t in optimizer.moments.get(kind, {}).values()]
    return torch_file_size(entries)


def _entry(tensor: Tensor) -> TensorEntry:
    return TensorEntry(tuple(tensor.shape), dtype_name(tensor.dtype))


def write_native(
    checkpoints: Path,
    iteration: int,
    files: NativeFiles,
    model: NativeModel,
    optimizer: NativeOptimizer | None = None,
    *,
    keep_last: int | None = None,
    disk: Disk | None = None,
) -> tuple[Path, ...]:
    """Write the files that are asked for, each whole or not at all; give their paths.

    `all` needs the optimizer. The pointer moves when all four are whole, and never with
    `model` alone: the publishers' trainer would go on from files that are not there.
    `keep_last` counts the iterations that stay; the one pointed at always does.

    RunError or CheckpointError where the disk refuses; older files are then untouched.
    """
    if files == "none":
        return ()
    if files == "all" and optimizer is None:
        raise ValueError("all four files need the optimizer's state")
    disk = disk or Disk()
    contents: dict[str, Any] = {"model": native_entries(model)}
    if files == "all" and optimizer is not None:
        contents |= _beside(optimizer, iteration)
    written: list[Path] = []
    try:
        for kind, content in contents.items():
            path = checkpoints / kind / native_name(iteration)
            disk.make_folder(path.parent)
            write_torch_file(path, content, disk)
            written.append(path)
        if files == "all":
            write_file(checkpoints / NATIVE_POINTER, [f"{native_name(iteration)}\n".encode()], disk)
        if keep_last is not None:
            _remove_old(checkpoints, keep_last, disk)
    except OSError as fault:
        what = f"The published files of iteration {iteration}"
        raise save_failed(what, checkpoints, native_size(model, optimizer), fault) from fault
    return tuple(written)


def _beside(optimizer: NativeOptimizer, iteration: int) -> dict[str, Any]:
    """Content of the files for optimizer, scheduler and trainer."""
    first = optimizer.moments.get(MOMENTS[0], {})
    state = {
        OPTIMIZER_PREFIX + name: {kind: optimizer.moments[kind][name] for kind in MOMENTS}
        for name in first
    }
    group = {
        "params": list(state),
        "lr": optimizer.learning_rate,
        "initial_lr": optimizer.base_learning_rate,
        "bias_correction": True,
        "betas": tuple(optimizer.betas),
        "eps": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "step": optimizer.steps_taken,
    }
    scheduler = {
        "base_lrs": [optimizer.base_learning_rate],
        "last_epoch": iteration,
        "_step_count": iteration + 1,
        "_last_lr": [optimizer.learning_rate],
        "lr_lambdas": [None],
    }
    return {
        "optim": {"state": state, "param_groups": [group]},
        "scheduler": scheduler,
        "trainer": {"grad_scaler": {}, "iteration": iteration},
    }


def _remove_old(checkpoints: Path, keep_last: int, disk: Disk) -> None:
    """Remove all iterations but the newest, and never the one that is pointed at."""
    pointed = _pointed(checkpoints)
    iterations = sorted(
        {int(m["iteration"]) for m in _files(checkpoints, NATIVE_KINDS)}, reverse=True
    )
    for iteration in iterations[max(keep_last, 1) :]:
        if native_name(iteration) != pointed:
            for kind in NATIVE_KINDS:
                disk.remove(checkpoints / kind / native_name(iteration))


def _files(checkpoints: Path, kinds: tuple[str, ...]) -> list[re.Match[str]]:
    found = [
        NATIVE_FILE.fullmatch(p.name) for kind in kinds for p in (checkpoints / kind).glob("iter_*")
    ]
    return [match for match in found if match is not None]


def _pointed(checkpoints: Path) -> str | None:
    try:
        return (checkpoints / NATIVE_POINTER).read_text(errors="replace").strip()
    except OSError:
        return None


def find_native(checkpoints: Path) -> NativeRun | None:
    """Find the newest whole model file of a run in the published layout; None without one.

    The pointer is where the search begins, not what is believed: the publishers' trainer
    moves it before all files are written. What these files cannot carry into a run here is
    named in `not_carried`.
    """
    names = {match[0]: int(match["iteration"]) for match in _files(checkpoints, ("model",))}
    order = sorted(names, key=names.__getitem__, reverse=True)
    pointed = _pointed(checkpoints)
    warnings: list[str] = []
    if pointed is not None and pointed in names:
        order = [name for name in order if names[name] <= names[pointed]]
    elif pointed is not None:
        warnings.append(
            f"{checkpoints / NATIVE_POINTER} names {pointed[:60]!r}, which is not in model/."
        )
    for name in order:
        path = checkpoints / "model" / name
        try:
            return _native_run(checkpoints, path, names[name], warnings)
        except CheckpointError as fault:
            warnings.append(f"{name} is passed over: {fault}")
    if order or warnings:
        raise CheckpointError("\n".join([f"No model file in {checkpoints} is whole.", *warnings]))
    return None


def _native_run(checkpoints: Path, path: Path, iteration: int, warnings: list[str]) -> NativeRun:
    with open_weights(path) as file:
        if not any(name.startswith(NETWORK) for name in file.entries):
            raise CheckpointError(f"{path} holds no network: no name begins with {NETWORK!r}.")
        has_average = any(name.startswith(AVERAGE) for name in file.entries)
    trainer = checkpoints / "trainer" / path.name
    if trainer.exists():
        with open_weights(trainer) as file:
            told = file.others.get("iteration")
        if told != iteration:
            raise CheckpointError(f"{trainer} is of iteration {told!r}, its name of {iteration}.")
    lost = [
        "float32 masters (weights were rounded to bfloat16 when they were saved)",
        "random states and the data position (clips are drawn from the start of that iteration)",
    ]
    if (checkpoints / "optim" / path.name).exists():
        lost.append(
            f"optimizer moments (optim/{path.name} may hold one process's part of them, and is "
            "not read)"
        )
    else:
        lost.append("optimizer moments (they start from zero)")
    if not has_average:
        lost.append("the average (it starts as a copy of the weights)")
    return NativeRun(path, iteration, has_average, tuple(lost), tuple(warnings))

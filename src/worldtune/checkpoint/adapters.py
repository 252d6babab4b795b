"""Files that hold adapters alone: written, and read in every form they come in.

    write_adapter(path, adapter, notes, dtype=torch.bfloat16)
    saved = read_adapter(path)

The own form is safetensors under the network's names, with `adapter_notes` in the header.
Read are also the forms of `adapter_forms` and the publishers' LoRA files, which hold the
base too and say no alpha.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worldtune.checkpoint.adapter_forms import FORMS, Form, find_form
from worldtune.checkpoint.adapter_notes import AdapterNotes, is_own, read_notes
from worldtune.checkpoint.disk import Disk, replaced_file, save_failed
from worldtune.checkpoint.layout import ADAPTER_FILE, ADAPTERS, adapter_name
from worldtune.checkpoint.matching import PREFIX_OF, Which, find_prefix
from worldtune.checkpoint.names import NameTable
from worldtune.checkpoint.networks import adapter_targets, find_table
from worldtune.checkpoint.peft_names import from_peft
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.checkpoint.shards import file_size, write_tensors
from worldtune.errors import CheckpointError
from worldtune.models.lora import Adapter
from worldtune.models.lora_config import DOWN, MAGNITUDE, LoraConfig, is_adapter, part_of


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter that was read; `warnings` are for the user."""

    path: Path
    notes: AdapterNotes
    adapter: Adapter
    warnings: tuple[str, ...] = ()


# --- writing ---


def write_adapter(
    path: Path,
    adapter: Adapter,
    notes: AdapterNotes,
    *,
    dtype: torch.dtype | None = None,
    disk: Disk | None = None,
) -> int:
    """Write one file whole or not at all, weights in a dtype (None: their own); yield its bytes.

    RunError or CheckpointError where the disk refuses; a file that was there then stays.
    """
    return write_tensors_file(path, cast(adapter.weights, dtype), notes.to_header(), disk)


def cast(weights: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The weights in a dtype."""
    return {name: w.detach().to(dtype or w.dtype) for name, w in weights.items()}


def write_tensors_file(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str], disk: Disk | None = None
) -> int:
    """Write a safetensors file, whole or not at all, and yield its bytes."""
    disk = disk or Disk()
    try:
        disk.make_folder(path.parent)
        with replaced_file(path, disk) as writer:
            return write_tensors(writer, tensors, header).nbytes
    except OSError as fault:
        needed = file_size(tensors, header)
        raise save_failed(f"The adapter {path.name}", path.parent, needed, fault) from fault


def write_adapters(
    checkpoints: Path,
    iteration: int,
    adapters: Mapping[Which, tuple[Adapter, AdapterNotes]],
    *,
    dtype: torch.dtype,
    keep_last: int | None = None,
    disk: Disk | None = None,
) -> tuple[Path, ...]:
    """Write a run's adapters, and their average in a file of its own; yield the paths.

    `keep_last` counts the iterations that stay. Errors are those of `write_adapter`.
    """
    disk, folder = disk or Disk(), checkpoints / ADAPTERS
    written = []
    for which, (adapter, notes) in adapters.items():
        path = folder / adapter_name(iteration, which)
        write_adapter(path, adapter, notes, dtype=dtype, disk=disk)
        written.append(path)
    if keep_last is not None:
        _remove_old(folder, keep_last, disk)
    return tuple(written)


def _remove_old(folder: Path, keep_last: int, disk: Disk) -> None:
    files = _files(folder)
    going = sorted(set(files.values()))[:-keep_last]
    for file, iteration in files.items():
        if iteration in going:
            disk.remove(file)


def adapter_size(adapter: Adapter, notes: AdapterNotes, dtype: torch.dtype) -> int:
    """Bytes that its file takes."""
    return file_size(cast(adapter.weights, dtype), notes.to_header())


# --- reading ---


def find_adapter(path: Path, average: bool | None = None) -> Path:
    """The adapter's file that is meant: the path itself, or the newest of a run's folder.

    average None takes the average where there is one. CheckpointError where there is none.
    """
    if not path.is_dir():
        return path
    folders = (path, path / ADAPTERS, path / "checkpoints" / ADAPTERS)
    folder = next((each for each in folders if any(_files(each))), path)
    files = _files(folder)
    if not files:
        raise CheckpointError(
            f"{path} holds no adapters; expected a file, or the folder of a LoRA run with "
            f"checkpoints/{ADAPTERS}/ in it"
        )
    newest = max(files.values())
    kinds: tuple[Which, ...] = ("average", "network")
    if average is not None:
        kinds = ("average",) if average else ("network",)
    for which in kinds:
        if (found := folder / adapter_name(newest, which)).exists():
            return found
    raise CheckpointError(
        f"{folder} holds no {'average of adapters' if average else 'adapters'} of iteration "
        f"{newest}; leave out --ema and --no-ema to take what there is"
    )


def _files(folder: Path) -> dict[Path, int]:
    """Files of adapters in a run's folder of them, and their iterations."""
    found = {file: ADAPTER_FILE.fullmatch(file.name) for file in folder.glob("iter_*")}
    return {file: int(match["iteration"]) for file, match in found.items() if match}


def read_adapter(
    path: Path, *, alpha: float | None = None, which: Which = "network"
) -> SavedAdapter:
    """Read an adapter's file of any form.

    Where a file does not say its alpha, `alpha` does; where it says it, `alpha` must agree.
    `which` chooses in a file that holds both network and average. CheckpointError where the
    file holds no adapters, or not the whole of one.
    """
    with open_weights(path) as file:
        if is_own(file.metadata):
            notes, warnings = read_notes(file.metadata, path), ()
            weights = {name: file.read(name).clone() for name in file.entries}
        elif (form := find_form(file.entries)) is not None:
            notes, weights, warnings = _from_form(file, form, alpha)
        else:
            notes, weights, warnings = _beside_its_base(file, alpha, which)
    if alpha is not None and alpha != notes.config.alpha:
        raise CheckpointError(f"{path} says alpha {notes.config.alpha:g}, and {alpha:g} was given.")
    adapter = Adapter(notes.config, weights)
    try:
        adapter.layers()
    except CheckpointError as fault:
        raise CheckpointError(f"{path}: {fault}") from None
    return SavedAdapter(path, notes, adapter, warnings)


Read = tuple[AdapterNotes, dict[str, Tensor], tuple[str, ...]]


def _from_form(file: WeightsFile, form: Form, alpha: float | None) -> Read:
    """From another program's names."""
    named = {name: file.read(name).clone() for name in file.entries}
    told = form.read(named, file.metadata, file.path)
    warnings: tuple[str, ...] = ()
    if told.alpha is None and alpha is None:
        warnings = (
            f"{file.path} does not say its alpha; it is taken to be the rank, {told.rank}, as "
            "other programs take it",
        )
    given = float(told.rank) if alpha is None else alpha
    config = LoraConfig(
        rank=told.rank,
        alpha=given if told.alpha is None else told.alpha,
        targets=adapter_targets(told.weights),
        rslora=told.rslora,
        dora=_has_magnitudes(told.weights),
    )
    return AdapterNotes(config=config, family=form.table.family), told.weights, warnings


def _beside_its_base(file: WeightsFile, alpha: float | None, which: Which) -> Read:
    """From a file of the publishers' trainer, which holds the frozen base too."""
    weights, family = adapters_beside_base(file, which)
    if alpha is None:
        raise CheckpointError(
            f"{file.path} holds adapters beside their base and does not say their alpha, which is "
            "lora_alpha of the run's settings. Take them out with\n  worldtune lora export "
            f"{file.path} --to worldtune --alpha ALPHA --out adapters.safetensors"
        )
    ranks = {w.shape[0] for name, w in weights.items() if part_of(name) == DOWN}
    if len(ranks) != 1:
        raise CheckpointError(
            f"{file.path} holds adapters of ranks {', '.join(map(str, sorted(ranks)))}; expected "
            "one rank for all layers."
        )
    config = LoraConfig(
        rank=ranks.pop(),
        alpha=alpha,
        targets=adapter_targets(weights),
        dora=_has_magnitudes(weights),
    )
    return AdapterNotes(config=config, family=family, which=which), weights, ()


def adapters_beside_base(file: WeightsFile, which: Which) -> tuple[dict[str, Tensor], str]:
    """Adapters out of a file that holds their base too, by the network's names, and the family.

    CheckpointError where it holds none.
    """
    prefix = find_prefix(file, which) if _has_role(file) else ""
    inside = [name.removeprefix(prefix) for name in file.entries if name.startswith(prefix)]
    table = find_table(inside)
    named = {} if table is None else _adapter_names(inside, table)
    if table is None or not named:
        raise CheckpointError(
            f"{file.path} holds no adapters (no name has {DOWN} in it). Expected a file of "
            "adapters, such as checkpoints/adapters/iter_000000500.safetensors of a LoRA run."
        )
    return {ours: file.read(prefix + name).clone() for ours, name in named.items()}, table.family


def _has_role(file: WeightsFile) -> bool:
    return any(name.startswith(tuple(PREFIX_OF.values())) for name in file.entries)


def _adapter_names(names: list[str], table: NameTable) -> dict[str, str]:
    """Names of adapters' weights: in the network, and in the file without its prefix."""
    modules = {name: table.to_module(name) for name in names}
    ours = {name: from_peft(module) for name, module in modules.items() if module is not None}
    return {module: name for name, module in ours.items() if is_adapter(module)}


def _has_magnitudes(weights: Mapping[str, Tensor]) -> bool:
    return any(part_of(name) == MAGNITUDE for name in weights)


# --- other programs' forms ---


def export_adapter(
    saved: SavedAdapter, form_name: str, path: Path, *, disk: Disk | None = None
) -> int:
    """Write an adapter in another program's names, weights in the dtype of the file read.

    CheckpointError where that program has no names for it.
    """
    if saved.notes.family != FORMS[form_name].table.family:
        raise CheckpointError(
            f"{saved.path} is for {saved.notes.family}, whose layers {form_name} has no names for."
        )
    tensors, header = FORMS[form_name].written(saved.adapter)
    return write_tensors_file(path, tensors, header, disk)

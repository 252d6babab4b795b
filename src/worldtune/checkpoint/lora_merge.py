"""Merging adapters into the weights that they were trained on.

    merge([(adapter, 1.0)], base, Path("merged.safetensors"))

One tensor at a time is in memory beside the adapters. The product is made in float32 and
rounded once, to the dtype of the file that is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worldtune.checkpoint.disk import Disk, check_space, replaced_file, save_failed
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.shards import dtype_name, header_of, in_file_order, pieces_of
from worldtune.checkpoint.torch_pickle import Planned, planned
from worldtune.checkpoint.torch_writer import torch_file_size, write_torch_file
from worldtune.checkpoint.whole_weights import WholeWeights
from worldtune.errors import CheckpointError
from worldtune.models.lora import Adapter, LayerAdapter

TORCH, SAFETENSORS = (".pt", ".pth"), (".safetensors",)
# A layer's adapters: matrices, the factor on B A, and the weight at which all of it is added.
Parts = Sequence[tuple[LayerAdapter, float, float]]


@dataclass(frozen=True)
class Merged:
    """What was merged."""

    path: Path
    tensors: int
    changed: int
    nbytes: int


def merge(
    adapters: Sequence[tuple[Adapter, float]],
    base: WholeWeights,
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    disk: Disk | None = None,
) -> Merged:
    """Write the base with adapters in it, each times its weight, under the published names.

    dtype None keeps the base's. CheckpointError where an adapter does not fit the base, where
    there is no room, or for a name that ends in no known way.
    """
    check_suffix(path)
    layers: dict[str, list[tuple[LayerAdapter, float, float]]] = {}
    for adapter, factor in adapters:
        for layer, held in adapter.layers().items():
            layers.setdefault(layer, []).append((held, adapter.config.scale, factor))
    _check_fit(layers, base)
    content: dict[str, Planned] = {
        base.published_name(name): _planned(base, name, layers, dtype) for name in base.entries
    }
    content |= {name: planned(tensor) for name, tensor in base.beside.items()}
    disk = disk or Disk()
    needed = torch_file_size([one.entry for one in content.values()])
    try:
        disk.make_folder(path.parent)
        check_space(path.parent, needed)
        write_weights(path, content, disk)
    except OSError as fault:
        raise save_failed(f"The merged file {path.name}", path.parent, needed, fault) from fault
    return Merged(path, len(base.entries), len(layers), path.stat().st_size)


def check_suffix(path: Path) -> None:
    """Raise CheckpointError where a name does not say which kind of file is meant."""
    if path.suffix not in (*TORCH, *SAFETENSORS):
        raise CheckpointError(
            f"{path}: expected a name that ends in {', '.join((*TORCH, *SAFETENSORS))}"
        )


def merge_layer(weight: Tensor, parts: Parts) -> Tensor:
    """A layer's weight with adapters in it, in float32."""
    merged = weight.float()
    for held, scale, factor in parts:
        if held.magnitude is None:
            merged = torch.addmm(merged, held.up.float(), held.down.float(), alpha=scale * factor)
        else:
            merged = merged + factor * (held.merged(weight, scale) - weight.float())
    return merged


def _planned(
    base: WholeWeights, name: str, layers: Mapping[str, Parts], dtype: torch.dtype | None
) -> Planned:
    """One weight, made when its turn comes."""
    entry = base.entries[name]
    target = dtype or getattr(torch, entry.dtype)
    parts = layers.get(name.removesuffix(".weight"), ()) if name.endswith(".weight") else ()

    def make() -> Tensor:
        weight = base.read(name)
        made = merge_layer(weight, parts) if parts else weight
        made = made.to(target, copy=True)
        base.forget(name)
        return made

    return Planned(TensorEntry(entry.shape, dtype_name(target)), make)


def _check_fit(layers: Mapping[str, Parts], base: WholeWeights) -> None:
    lines = []
    for layer, parts in layers.items():
        entry = base.entries.get(f"{layer}.weight")
        if entry is None:
            lines.append(f"{layer} is not in it")
            continue
        for held, _, _ in parts:
            shape = (held.up.shape[0], held.down.shape[1])
            if shape != entry.shape:
                lines.append(f"{layer} is {list(entry.shape)}, the adapter is for {list(shape)}")
    if lines:
        more = f"\n  and {len(lines) - 6} more" if len(lines) > 6 else ""
        raise CheckpointError(
            f"the adapter does not fit {base.path}:\n  " + "\n  ".join(lines[:6]) + more
        )


def write_weights(path: Path, content: Mapping[str, Planned], disk: Disk) -> None:
    """Write tensors as the file's name says, one at a time, whole or not at all."""
    if path.suffix in TORCH:
        write_torch_file(path, dict(content), disk)
        return
    outlines = {
        name: torch.empty(one.entry.shape, dtype=getattr(torch, one.entry.dtype), device="meta")
        for name, one in content.items()
    }
    with replaced_file(path, disk) as writer:
        writer.write(header_of(outlines, {"format": "pt"}))
        for name in in_file_order(outlines):
            for piece in pieces_of(content[name].make()):
                writer.write(piece)

"""Cutting a file into tensor-parallel parts by the ends of its names, as the publishers tell it.

Columns: N equal chunks of dim 0. Rows: N equal chunks of dim 1. Everything else is whole on
every rank, and what ends in `_extra_state` is dropped.
"""

from torch import Tensor

COLUMN = ("to_q.0.weight", "to_k.0.weight", "to_v.0.weight", "block.layer1.weight")
ROW = ("to_out.0.weight", "block.layer2.weight")


def part_of(entries: dict[str, Tensor], rank: int, size: int) -> dict[str, Tensor]:
    """What the rank of this number holds; the averages' `-` stand for dots."""
    part: dict[str, Tensor] = {}
    for name, tensor in entries.items():
        dotted = name.replace("-", ".")
        if dotted.endswith("_extra_state"):
            continue
        if dotted.endswith(COLUMN):
            rows = tensor.shape[0] // size
            part[name] = tensor[rank * rows : (rank + 1) * rows].clone()
        elif dotted.endswith(ROW):
            columns = tensor.shape[1] // size
            part[name] = tensor[:, rank * columns : (rank + 1) * columns].clone()
        else:
            part[name] = tensor.clone()
    return part

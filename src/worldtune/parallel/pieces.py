"""Which part of every weight a process holds, and how it is cut out of the whole.

A part is always a box: tensor ranks cut rows or columns by the plan, and shards are ranges
of the rows of what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from worldtune.models.plan import PLAN
from worldtune.parallel.mesh import ALONE, ProcessMesh

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """A box of a tensor."""

    whole: Shape
    offsets: Shape
    sizes: Shape

    def cut(self, tensor: Tensor) -> Tensor:
        """This part of the whole tensor, as a view."""
        spans = zip(self.offsets, self.sizes, strict=True)
        return tensor[tuple(slice(first, first + size) for first, size in spans)]


class Pieces:
    """The parts of one network's weights on this process, by name."""

    def __init__(self, network: nn.Module, mesh: ProcessMesh = ALONE) -> None:
        """Look at what is held. The network has its memory, and is not at work."""
        self.mesh = mesh
        self.held = {name: local(weight) for name, weight in network.named_parameters()}
        self._pieces = {
            name: _piece(name, weight, mesh) for name, weight in network.named_parameters()
        }

    def __getitem__(self, name: str) -> Piece:
        """The part of one weight."""
        return self._pieces[name]

    def __contains__(self, name: str) -> bool:
        return name in self._pieces

    def cut(self, wholes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's parts of whole tensors."""
        return {name: self[name].cut(whole) for name, whole in wholes.items()}

    def shapes(self) -> dict[str, Shape]:
        """Whole shapes by name."""
        return {name: piece.whole for name, piece in self._pieces.items()}

    def is_ours_to_save(self, name: str) -> bool:
        """Whether this process, of all that hold the same part, is the one that writes it."""
        first_of_tensor = PLAN.cut_of(name) is not None or self.mesh.tensor_rank == 0
        return self.mesh.replica == 0 and first_of_tensor and 0 not in self[name].sizes

    def sizes_only(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole tensors of these parts on the meta device: shapes and dtypes."""
        return {
            name: torch.empty(self[name].whole, dtype=part.dtype, device="meta")
            for name, part in parts.items()
        }

    def whole(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put the parts of all processes together, on the first one's CPU; others get nothing.

        All processes call it, with parts of the same names in the same order. One process by
        itself gets its own tensors back.
        """
        if self.mesh.alone:
            return dict(parts)
        held = {name: self[name] for name in parts if self.is_ours_to_save(name)}
        by_rank = self.mesh.gather_things(held)
        wholes = {}
        for name, part in parts.items():
            mine = part.detach().cpu().contiguous()
            if not self.mesh.first:
                if name in held:
                    dist.send(mine, 0)
                continue
            wholes[name] = whole = mine.new_empty(self[name].whole)
            for rank, theirs in enumerate(by_rank):
                if name not in theirs:
                    continue
                got = mine
                if rank:
                    got = mine.new_empty(theirs[name].sizes)
                    dist.recv(got, rank)
                theirs[name].cut(whole).copy_(got)
        return wholes


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, on the same memory."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _piece(name: str, weight: Tensor, mesh: ProcessMesh) -> Piece:
    whole, sizes = list(weight.shape), list(local(weight).shape)
    offsets = [0] * len(whole)
    if isinstance(weight, DTensor):
        # As FSDP cuts rows: equal parts, the last ones shorter or empty.
        rows = -(-whole[0] // mesh.layout.shard)
        offsets[0] = min(mesh.shard_rank * rows, whole[0])
    cut = PLAN.cut_of(name)
    if cut is not None and mesh.layout.tensor > 1:
        offsets[cut.value] += mesh.tensor_rank * whole[cut.value]
        whole[cut.value] *= mesh.layout.tensor
    return Piece(tuple(whole), tuple(offsets), tuple(sizes))

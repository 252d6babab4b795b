"""What is left to do with gradients after the backward passes of a step, over all ranks."""

import math
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from worldtune.models.plan import PLAN
from worldtune.objectives.clip import total_norm
from worldtune.parallel.mesh import ProcessMesh
from worldtune.parallel.tensor import gradient_is_partial


@torch.no_grad()
def settle_over_tensor_ranks(gradients: Mapping[str, Tensor], mesh: ProcessMesh) -> None:
    """Make the gradients of weights that tensor ranks all have whole the same on each.

    Parts are summed; what is whole already is averaged, so that the weights stay equal in
    every bit whatever the kernels do.
    """
    if mesh.layout.tensor == 1:
        return
    shared = {name: g for name, g in gradients.items() if PLAN.cut_of(name) is None and g.numel()}
    if not shared:
        return
    share = 1 / mesh.layout.tensor
    for name, gradient in shared.items():
        if not gradient_is_partial(name, sequence=mesh.layout.sequence):
            gradient.mul_(share)
    flat = torch.cat([gradient.reshape(-1) for gradient in shared.values()])
    dist.all_reduce(flat, group=mesh.tensor_group)
    for gradient, summed in zip(
        shared.values(), flat.split([g.numel() for g in shared.values()]), strict=True
    ):
        gradient.copy_(summed.view_as(gradient))


@torch.no_grad()
def norm_over_ranks(gradients: Mapping[str, Tensor], mesh: ProcessMesh) -> float:
    """Return the L2 norm of all gradients of the network as one vector."""
    if mesh.alone:
        return total_norm(list(gradients.values())).item()
    # What several ranks hold alike counts once.
    copies = mesh.layout.replicate
    cut = [g for name, g in gradients.items() if PLAN.cut_of(name) is not None]
    whole = [g for name, g in gradients.items() if PLAN.cut_of(name) is None]
    squares = total_norm(cut).item() ** 2 + total_norm(whole).item() ** 2 / mesh.layout.tensor
    return math.sqrt(mesh.add_up([squares / copies])[0])

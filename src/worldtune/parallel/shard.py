"""Weights, gradients and optimiser shared out over data and context ranks (FSDP2).

A unit (a block, the layers that the plan names, the rest) is gathered when it is computed
and let go after. Gradients are summed in float32: whoever computes the loss has divided it
by the count of the whole step. A shard size of 1 keeps everything on every rank.

Sources: Zhao et al. 2023 (arXiv 2304.11277); hybrid sharding, section 3.2.2 there.
"""

import warnings

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from worldtune.models.plan import PLAN
from worldtune.models.transformer import Trunk
from worldtune.parallel.mesh import ProcessMesh


def shard_weights(network: Trunk, mesh: ProcessMesh, compute: torch.dtype | None) -> None:
    """Share out a network's weights; each unit is computed in `compute` (None: as it is)."""
    assert mesh.weights is not None
    policy = MixedPrecisionPolicy(
        param_dtype=compute,
        reduce_dtype=torch.float32,
        # Times and angles stay float32; the network casts its inputs itself.
        cast_forward_inputs=False,
    )
    units: list[nn.Module] = [network.get_submodule(name) for name in PLAN.other_units]
    for unit in [*network.blocks, *units, network]:
        # The root too: kept after a forward pass without a backward one, its weights would be
        # old ones in the next step.
        fully_shard(unit, mesh=mesh.weights, reshard_after_forward=True, mp_policy=policy)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # gloo cannot divide while it sums.
            module.set_force_sum_reduction_for_comms(True)
    # The network gives a view of its last product, which nobody changes in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")

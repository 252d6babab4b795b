"""Everything that spreads a network over processes, in its one order.

Adapters first (they are layers of the network), then tensor parallelism, the cut of the
frames, compilation, recompute, and at last the sharing out of the weights: each step wraps
what the earlier ones made.
"""

from dataclasses import dataclass

import torch

from worldtune.config.network import RecomputeMode
from worldtune.models.transformer import Transformer
from worldtune.parallel.frames import FrameCut, cut_frames, spread_attention
from worldtune.parallel.mesh import ProcessMesh
from worldtune.parallel.recompute import recompute_blocks
from worldtune.parallel.shard import shard_weights
from worldtune.parallel.tensor import connect, cut_weights


@dataclass(frozen=True)
class HowToRun:
    """What of a recipe says how, and not what, a network computes."""

    recompute: RecomputeMode = "none"
    every_n_blocks: int = 1
    compile_blocks: bool = False


def spread(
    network: Transformer,
    mesh: ProcessMesh,
    how: HowToRun,
    *,
    compute: torch.dtype | None = None,
) -> None:
    """Spread a network over the processes of a mesh; all of them call it alike.

    The network may be on the meta device, then allocate it (`to_empty`) and fill the pieces.
    `compute` is the dtype of the computation where the weights are kept in another. One
    process by itself compiles and recomputes only.
    """
    layout = mesh.layout
    frames = FrameCut(layout.context, layout.frame_pieces // layout.context, _piece_of(mesh))
    if layout.tensor > 1:
        cut_weights(network, mesh.tensor_rank, layout.tensor)
        assert mesh.tensor_group is not None
        connect(network, mesh.tensor_group, frames if layout.sequence else None)
    if layout.context > 1:
        assert mesh.context_group is not None
        spread_attention(network, mesh.context_group, frames)
    if layout.frame_pieces > 1:
        group = mesh.clip_group if layout.sequence else mesh.context_group
        assert group is not None
        cut_frames(network, group, frames, mesh.tensor_group if layout.sequence else None)
    if how.compile_blocks:
        for block in network.blocks:
            block.forward = torch.compile(block.forward)
    recompute_blocks(network, how.recompute, how.every_n_blocks)
    if not mesh.alone:
        shard_weights(network, mesh, compute)
        network.compute_dtype = compute


def _piece_of(mesh: ProcessMesh) -> int:
    if mesh.layout.sequence:
        return mesh.context_rank * mesh.layout.tensor + mesh.tensor_rank
    return mesh.context_rank

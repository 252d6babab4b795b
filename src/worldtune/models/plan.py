"""How a network divides, as plain data: read by whatever shards it and whatever cuts its files.

Tensor parallelism cuts q, k, v and layer1 by output (rows of the matrix, whole heads) and
the output projections and layer2 by input; every other weight is whole on every rank. This
is the cut of the published files, so a rank's live weights are its file.

What moves through a network is [B,T,h,w,D]: samples, frames (of all cameras, the first
camera's first), rows, columns, width. Frames may be cut over processes if every process
gets the same piece of each camera; `Trunk.frame_share` then says which. Only
`Attention.attend` of the self attention, on [B, tokens, heads, channels], sees more than
one token at a time, so only there tokens meet those of other processes.
"""

from dataclasses import dataclass
from enum import Enum


class Cut(Enum):
    """The dim of a weight matrix [outputs, inputs] that is divided among ranks."""

    COLUMN = 0  # each rank has some of the outputs
    ROW = 1  # each rank has some of the inputs; the ranks' results are summed


@dataclass(frozen=True)
class NetworkPlan:
    """The parts of a transformer, or of a control branch, by the names of their modules."""

    # The list of blocks: each is one unit for sharding, recompute and compilation.
    block_list: str
    # Units of their own beside the blocks; the root takes what is left.
    other_units: tuple[str, ...]
    # Within a block: linear layers that are cut.
    cuts: tuple[tuple[str, Cut], ...]
    # Within a block: norms whose weight is whole but whose input is cut by heads, at dim 2.
    # Their gradient is the sum over ranks.
    norms_of_heads: tuple[str, ...]
    # Within a block: where the tokens of a sample meet.
    token_mixers: tuple[str, ...]

    def cut_of(self, weight_name: str) -> Cut | None:
        """How the weight of this name is cut; None where every rank has it whole.

        Names are those of the network's modules, or peft's, with `.base_layer` where an
        adapter wraps the layer. Adapters' own matrices follow the layer: of a COLUMN layer
        `lora_B` is cut (and `lora_A` whole), of a ROW layer `lora_A`.
        """
        words = weight_name.split(".")
        if words[0] != self.block_list or len(words) < 3:
            return None
        inside = ".".join(words[2:])
        for layer, cut in self.cuts:
            if inside in (f"{layer}.weight", f"{layer}.base_layer.weight"):
                return cut
            adapter = "lora_B" if cut is Cut.COLUMN else "lora_A"
            if inside.startswith(f"{layer}.{adapter}.") and inside.endswith(".weight"):
                return cut
        return None


_ATTENTION_CUTS = {
    "q_proj": Cut.COLUMN,
    "k_proj": Cut.COLUMN,
    "v_proj": Cut.COLUMN,
    "output_proj": Cut.ROW,
}

PLAN = NetworkPlan(
    block_list="blocks",
    other_units=("t_embedder", "final_layer"),
    cuts=(
        *((f"self_attn.{layer}", cut) for layer, cut in _ATTENTION_CUTS.items()),
        *((f"cross_attn.{layer}", cut) for layer, cut in _ATTENTION_CUTS.items()),
        ("mlp.layer1", Cut.COLUMN),
        ("mlp.layer2", Cut.ROW),
    ),
    norms_of_heads=(
        "self_attn.q_norm",
        "self_attn.k_norm",
        "cross_attn.q_norm",
        "cross_attn.k_norm",
    ),
    token_mixers=("self_attn",),
)

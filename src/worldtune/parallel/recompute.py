"""Computing activations again in the backward pass instead of keeping them.

Modes carry the published names. What each keeps is said by module, not by counting calls, so
adapters beside a layer change nothing. Memory and time change; numbers do not.

Source: Chen et al. 2016 (arXiv 1604.06174); the modes' choice as in Cosmos-Predict2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from worldtune.config.network import RecomputeMode
from worldtune.models.plan import PLAN

MATRIX_PRODUCTS = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.linear.default,
}
ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


@dataclass(frozen=True)
class Kept:
    """Modules of a block whose matrix products, or attention, are kept; None means all."""

    products: frozenset[str] | None = frozenset()
    attention: frozenset[str] | None = frozenset()


SELF_ATTENTION = frozenset({"self_attn"})
KEPT: dict[RecomputeMode, Kept] = {
    "block_wise": Kept(),
    "mm_only": Kept(None, None),
    "linear_selfattn": Kept(None, SELF_ATTENTION),
    "predict2_2b_720": Kept(
        frozenset(
            {"self_attn.v_proj", "self_attn.output_proj", "mlp.layer1"}
            | {f"cross_attn.{part}_proj" for part in ("q", "k", "v", "output")}
        ),
        SELF_ATTENTION,
    ),
}
KEPT["predict2_14b_720"] = KEPT["predict2_2b_720"]


def recompute_blocks(network: nn.Module, mode: RecomputeMode, every_n_blocks: int = 1) -> None:
    """Make every n-th block of a network compute its activations again as the mode says."""
    if mode == "none":
        return
    blocks = network.get_submodule(PLAN.block_list)
    assert isinstance(blocks, nn.ModuleList)
    for number, block in enumerate(blocks):
        if number % every_n_blocks == 0:
            # On the instance, so that the block's place and its weights' names stay.
            block.forward = _recomputed(block, KEPT[mode])


def _recomputed(block: nn.Module, kept: Kept) -> Callable[..., Tensor]:
    forward = block.forward
    if kept == Kept():
        return partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
    inside = _Inside(block)

    def contexts() -> tuple[TorchDispatchMode, TorchDispatchMode]:
        return create_selective_checkpoint_contexts(partial(_policy, kept, inside))

    return partial(
        checkpoint,
        forward,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=contexts,
    )


class _Inside:
    """Knows which module of a block is at work."""

    def __init__(self, block: nn.Module) -> None:
        self._names: list[str] = []
        for name, module in block.named_modules():
            if name:
                module.register_forward_pre_hook(partial(self._enter, name))
                module.register_forward_hook(self._leave, always_call=True)

    def of(self, names: frozenset[str] | None, *, whole: bool) -> bool:
        """Whether the module at work is one of these, or (unless whole) lies within one."""
        if names is None:
            return True
        return any(name in names for name in (self._names[-1:] if whole else self._names))

    def _enter(self, name: str, module: nn.Module, inputs: object) -> None:
        self._names.append(name)

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        self._names.pop()


def _policy(
    kept: Kept, inside: _Inside, context: object, op: object, *inputs: object, **named: object
) -> CheckpointPolicy:
    products = op in MATRIX_PRODUCTS and inside.of(kept.products, whole=False)
    attention = op in ATTENTION and inside.of(kept.attention, whole=True)
    keep = products or attention
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

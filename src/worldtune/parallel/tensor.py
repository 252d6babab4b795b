"""Tensor and sequence parallelism: a network's large matrices cut over processes by its plan.

A rank holds its own rows or columns as plain tensors, the very ones that its part of the
published files holds. Column-wise layers take the whole input and yield some of the
outputs; row-wise layers take those and yield a part of the sum. With sequence parallelism,
ranks also share the frames outside these layers: what enters is gathered, what leaves is
summed and cut again.

Adapters follow their layer. So the gradient of a weight that every rank has whole may be a
part of a sum: `gradient_is_partial` says where.

Sources: Shoeybi et al. 2019 (arXiv 1909.08053); Korthikanti et al. 2022 (arXiv 2205.05198).
"""

from typing import Any

from torch import Tensor, nn

from worldtune.models.lora_config import MAGNITUDE, split_name
from worldtune.models.plan import PLAN
from worldtune.models.transformer import Trunk
from worldtune.parallel.collectives import Group, gather, sum_gradients, sum_results, sum_scattered
from worldtune.parallel.frames import FrameCut

# Within a block: what begins with layers cut by columns and ends with one cut by rows.
MODULES = tuple(dict.fromkeys(name.partition(".")[0] for name, _ in PLAN.cuts))


def cut_weights(network: Trunk, index: int, count: int) -> None:
    """Keep of every weight that the plan cuts the piece number `index` of `count`.

    Works on real weights and on the meta device. Not for DoRA, whose row lengths are of whole
    matrices.
    """
    for name, weight in list(network.named_parameters()):
        found = split_name(name)
        assert found is None or found[1] != MAGNITUDE, "DoRA on parts of matrices"
        cut = PLAN.cut_of(name)
        if cut is None:
            continue
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        held, left = divmod(weight.shape[cut.value], count)
        assert not left, f"{name} does not divide by {count}"
        piece = weight.detach().narrow(cut.value, index * held, held).clone()
        setattr(module, leaf, nn.Parameter(piece, requires_grad=weight.requires_grad))
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = piece.shape


def connect(network: Trunk, group: Group, frames: FrameCut | None) -> None:
    """Let the pieces of each block's layers work together.

    `frames` is given where the ranks also share the frames (sequence parallelism).
    """
    for block in network.blocks:
        if frames is None:
            _connect_whole(block, group)
        else:
            _connect_cut(block, group, frames)


def gradient_is_partial(name: str, *, sequence: bool) -> bool:
    """Whether a rank's gradient of a weight that it has whole is only a part of the sum.

    It is where a rank sees some heads (norms of heads, the whole half of an adapter) or,
    with sequence parallelism, some frames.
    """
    if PLAN.cut_of(name) is not None:
        return False
    if sequence:
        return True
    inside = ".".join(name.split(".")[2:])
    in_norm = any(inside == f"{norm}.weight" for norm in PLAN.norms_of_heads)
    return in_norm or (split_name(name) is not None and _layer_is_cut(name))


def _layer_is_cut(adapter_name: str) -> bool:
    found = split_name(adapter_name)
    return found is not None and PLAN.cut_of(f"{found[0]}.weight") is not None


def _connect_whole(block: nn.Module, group: Group) -> None:
    """Every rank has all frames: inputs are shared, results are summed."""

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        # Once for all that the layers share, so that gradients are summed once.
        shared = {id(x): sum_gradients(x, group) for x in inputs if isinstance(x, Tensor)}
        return tuple(shared.get(id(x), x) for x in inputs)

    def leave(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return sum_results(output, group)

    for name in MODULES:
        module = block.get_submodule(name)
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)


def _connect_cut(block: nn.Module, group: Group, frames: FrameCut) -> None:
    """Every rank has some frames: what enters is gathered, what leaves is cut again."""

    def gathered(x: Tensor) -> Tensor:
        return gather(x, 1, frames.lengths_beside(x.shape[1]), group)

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        tokens = gathered(inputs[0])
        # Self attention is given its tokens twice.
        return (tokens, *(tokens if other is inputs[0] else other for other in inputs[1:]))

    def leave(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return sum_scattered(output, 1, frames.lengths_of(output.shape[1]), group)

    for name in MODULES:
        module = block.get_submodule(name)
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

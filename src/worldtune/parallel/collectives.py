"""What processes tell each other in the middle of a network, with its gradients.

Pieces may be of unequal lengths along the dim that is cut: `lengths` counts those of all
ranks of a group, in their order. All are torch's functional collectives, so that they work
on the CPU (gloo), on GPUs (NCCL) and under torch.compile.

Sources: Korthikanti et al. 2022 (arXiv 2205.05198) for the pairs of the tensor group;
Jacobs et al. 2023 (arXiv 2309.14509) for the exchange of heads and tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch import Tensor
from torch.autograd import Function

Group = dist.ProcessGroup
Lengths = tuple[int, ...]


def cut_lengths(total: int, count: int) -> Lengths:
    """Lengths of `count` pieces of a whole, as equal as can be, longer ones first."""
    short, longer = divmod(total, count)
    return tuple(short + (index < longer) for index in range(count))


def sum_results(x: Tensor, group: Group) -> Tensor:
    """Add up the results of all ranks; each rank's gradient is that of the sum."""
    return _SumResults.apply(x, group)


def sum_gradients(x: Tensor, group: Group) -> Tensor:
    """Change nothing; the gradient is the sum of those of all ranks."""
    return _SumGradients.apply(x, group)


def gather(x: Tensor, dim: int, lengths: Sequence[int], group: Group) -> Tensor:
    """Put all ranks' pieces together; a piece's gradient is the sum of all ranks'.

    For what each rank then uses in a way of its own.
    """
    return _Gather.apply(x, dim, tuple(lengths), group, True)


def gather_alike(x: Tensor, dim: int, lengths: Sequence[int], group: Group) -> Tensor:
    """Put all ranks' pieces together; a piece's gradient is its part of the whole's.

    For what all ranks then use alike, so that each has the same gradient of the whole.
    """
    return _Gather.apply(x, dim, tuple(lengths), group, False)


def sum_scattered(x: Tensor, dim: int, lengths: Sequence[int], group: Group) -> Tensor:
    """Add up the results of all ranks and keep this rank's piece of the sum."""
    return _SumScattered.apply(x, dim, tuple(lengths), group)


def heads_for_tokens(
    x_BLSD: Tensor, lengths: Sequence[int], group: Group, *, back: bool = False
) -> Tensor:
    """Give away heads for tokens: [B, own tokens, S, D] to [B, all tokens, S / ranks, D].

    With `back` the other way round. The heads must divide by the group's size.
    """
    ranks = len(lengths)
    own = [lengths[group.rank()]] * ranks
    if back:
        sent = x_BLSD.transpose(0, 1)
        got = _exchange(sent, own, list(lengths), group)
        return got.unflatten(0, (ranks, -1)).permute(2, 1, 0, 3, 4).flatten(2, 3)
    sent = x_BLSD.unflatten(2, (ranks, -1)).permute(2, 1, 0, 3, 4).flatten(0, 1)
    return _exchange(sent, list(lengths), own, group).transpose(0, 1)


def _exchange(x: Tensor, received: list[int], sent: list[int], group: Group) -> Tensor:
    """Send rows of the first dim to each rank, and get rows from each."""
    return funcol.all_to_all_single_autograd(x.contiguous(), received, sent, group)


def _reduce(x: Tensor, group: Group) -> Tensor:
    return funcol.wait_tensor(funcol.all_reduce(x.contiguous(), "sum", group))


def _gathered(x: Tensor, dim: int, lengths: Lengths, group: Group) -> Tensor:
    longest = max(lengths)
    padded = _padded(x, dim, longest).contiguous()
    whole = funcol.wait_tensor(funcol.all_gather_single(padded[None], 0, group))
    pieces = [whole[rank].narrow(dim, 0, length) for rank, length in enumerate(lengths)]
    return torch.cat(pieces, dim)


def _scattered_sum(x: Tensor, dim: int, lengths: Lengths, group: Group) -> Tensor:
    longest = max(lengths)
    stacked = torch.stack([_padded(part, dim, longest) for part in x.split(list(lengths), dim)])
    mine = funcol.wait_tensor(funcol.reduce_scatter_single(stacked, "sum", 0, group))
    return mine[0].narrow(dim, 0, lengths[group.rank()])


def _padded(x: Tensor, dim: int, length: int) -> Tensor:
    missing = length - x.shape[dim]
    if not missing:
        return x
    shape = [missing if d == dim % x.ndim else size for d, size in enumerate(x.shape)]
    return torch.cat([x, x.new_zeros(shape)], dim)


def _mine(x: Tensor, dim: int, lengths: Lengths, group: Group) -> Tensor:
    return x.split(list(lengths), dim)[group.rank()].contiguous()


# The types of what autograd passes are its own.
class _SumResults(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        return _reduce(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _SumGradients(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _reduce(gradients[0], ctx.group), None


class _Gather(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dim: int, lengths: Lengths, group: Group, summed: bool
    ) -> Tensor:
        ctx.cut, ctx.summed = (dim, lengths, group), summed
        return _gathered(x, dim, lengths, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        piece = (_scattered_sum if ctx.summed else _mine)(gradients[0], *ctx.cut)
        return piece, None, None, None, None


class _SumScattered(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, lengths: Lengths, group: Group) -> Tensor:
        ctx.cut = (dim, lengths, group)
        return _scattered_sum(x, dim, lengths, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _gathered(gradients[0], *ctx.cut), None, None, None

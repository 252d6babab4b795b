"""Which places of the global order one data rank takes, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from torch.utils.data import Sampler

from worldtune.data.order import ClipOrder, Place


@dataclass(frozen=True)
class Shares:
    """How a step's clips are shared out.

    A step takes batch_size * data_ranks * grad_accum consecutive places, micro-batch after
    micro-batch and rank after rank; so N ranks, a batch of N and N accumulated micro-batches
    take the same clips.
    """

    batch_size: int = 1
    data_rank: int = 0
    data_ranks: int = 1

    @property
    def micro_batch(self) -> int:
        """Places that all ranks together take at once."""
        return self.batch_size * self.data_ranks


class EndlessBatches(Sampler[list[Place]]):
    """This rank's batches for ever, from a place of the global order on.

    first_index is the first place that no rank has seen yet, a whole number of micro-batches.
    """

    def __init__(self, order: ClipOrder, shares: Shares, first_index: int = 0) -> None:
        """Start at a place."""
        self.order, self.shares, self.first_index = order, shares, first_index

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield batches without end."""
        shares = self.shares
        start = self.first_index + shares.data_rank * shares.batch_size
        for first in count(start, shares.micro_batch):
            yield [self.order.at(first + i) for i in range(shares.batch_size)]


class OnePass(Sampler[list[Place]]):
    """This rank's batches of one epoch, for validation: every rank has as many batches.

    The places left over after whole micro-batches are dropped with drop_last; without it they
    make a smaller last batch, filled up from the start where the ranks would not get equal shares.
    """

    def __init__(self, order: ClipOrder, shares: Shares, *, drop_last: bool) -> None:
        """Take the order's first epoch."""
        self.order, self.shares, self.drop_last = order, shares, drop_last

    def __len__(self) -> int:
        """Return the number of batches."""
        length, micro_batch = self.order.epoch_length, self.shares.micro_batch
        return length // micro_batch if self.drop_last else -(-length // micro_batch)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield the batches of the first epoch."""
        shares, length = self.shares, self.order.epoch_length
        for first in range(0, len(self) * shares.micro_batch, shares.micro_batch):
            left = min(shares.micro_batch, length - first)
            size = -(-left // shares.data_ranks)
            start = first + shares.data_rank * size
            yield [self.order.at((start + i) % length) for i in range(size)]

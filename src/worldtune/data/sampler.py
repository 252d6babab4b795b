"""Which places of the global order one data rank takes, batch by batch."""

from collections.abc import Iterator, Sequence
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
    """Batches of one epoch, in order.

    The places left over after whole batches are dropped with drop_last; without it they make a
    smaller last batch.
    """

    def __init__(self, order: ClipOrder, batch_size: int, *, drop_last: bool) -> None:
        """Take the order's first epoch."""
        self.order, self.batch_size, self.drop_last = order, batch_size, drop_last

    def __len__(self) -> int:
        """Return the number of batches."""
        length = self.order.epoch_length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield the batches of the first epoch."""
        length = self.order.epoch_length
        for first in range(0, len(self) * self.batch_size, self.batch_size):
            last = min(first + self.batch_size, length)
            yield [self.order.at(place) for place in range(first, last)]


class Dealt(Sampler[list[Place]]):
    """One data rank's share of batches, dealt out in turn; every rank has as many.

    Where they do not come out even, a rank gets a batch of another once more; counts says of
    each whether it is this rank's own.
    """

    def __init__(self, batches: Sequence[list[Place]], data_rank: int, data_ranks: int) -> None:
        """Deal them out."""
        total = len(batches)
        numbers = range(data_rank, -(-total // data_ranks) * data_ranks, data_ranks)
        self.batches = [batches[number % total] for number in numbers]
        self.counts = [number < total for number in numbers]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield them."""
        yield from self.batches

"""Which clip stands at which place of a run's endless global order.

A pure function of (seed, place): a resumed run only needs to know its next place, and any
number of data ranks walks the same order. Every clip of a folder comes once before any comes
again, in a new order each pass. Folders mixed by ratio are drawn in blocks that hold the ratio
exactly, so a batch that is a whole number of blocks holds it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd, isfinite

import numpy as np

# 64-bit streams of PCG64 are frozen by numpy's compatibility rules, those of its shuffles are not;
# sorting raw bits gives the same order in every version.
_PASS, _BLOCK = 0, 1
_LONGEST_BLOCK = 1000


@dataclass(frozen=True)
class Place:
    """One place of the global order."""

    index: int  # the place itself, from 0
    epoch: int  # from 0
    clip: int  # position in the flat list of clips, folder after folder


def shuffled(count: int, seed: int, *purpose: int) -> np.ndarray:
    """Return the numbers 0 to count-1 in an order that depends on seed and purpose alone."""
    entropy = [seed & 0xFFFF_FFFF_FFFF_FFFF, *purpose]
    bits = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)
    return np.argsort(bits, kind="stable")


def whole_ratio(weights: Sequence[float]) -> tuple[int, ...]:
    """Turn weights into the smallest whole numbers of the same ratio.

    Their sum is at most 1000; a ratio that needs more is rounded to parts of 1000, each folder
    keeping one part at least.
    """
    if not weights or any(not isfinite(w) or w <= 0 for w in weights):
        raise ValueError(f"weights must be above 0: {list(weights)}")
    total = sum(weights)
    for length in range(len(weights), _LONGEST_BLOCK + 1):
        parts = [weight / total * length for weight in weights]
        if all(abs(part - round(part)) < 1e-6 and round(part) for part in parts):
            counts = [round(part) for part in parts]
            shared = gcd(*counts)
            return tuple(count // shared for count in counts)
    return tuple(max(1, round(weight / total * _LONGEST_BLOCK)) for weight in weights)


@dataclass(frozen=True)
class ClipOrder:
    """The global order over folders of clips, drawn by ratio.

    sizes are the clips per folder; weights their shares, of any scale; without shuffle each
    folder comes in its own order and the folders alternate evenly.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...] = (1.0,)
    seed: int = 0
    shuffle: bool = True
    _orders: dict[tuple[int, int], np.ndarray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _ratio: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _even: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the block from the weights."""
        if len(self.sizes) != len(self.weights) or any(size < 1 for size in self.sizes):
            raise ValueError(f"every folder needs clips and a weight: {self.sizes}, {self.weights}")
        ratio = whole_ratio(self.weights)
        owners = np.repeat(np.arange(len(ratio)), ratio)
        when = np.concatenate([(np.arange(n) + 0.5) / n for n in ratio])
        object.__setattr__(self, "_ratio", ratio)
        object.__setattr__(self, "_even", owners[np.argsort(when, kind="stable")])

    @property
    def block(self) -> int:
        """Places in one block: 2 for 1:1, 4 for 3:1."""
        return len(self._even)

    @property
    def epoch_length(self) -> int:
        """Places after which every clip has come at least once: the clips, for one folder."""
        passes = max(-(-size // n) for size, n in zip(self.sizes, self._ratio, strict=True))
        return passes * self.block

    def at(self, index: int) -> Place:
        """Return what stands at a place, 0 or more; as quick at 10^9 as at 0."""
        block, offset = divmod(index, self.block)
        owners = self._owners(block)
        folder = int(owners[offset])
        drawn = block * self._ratio[folder] + int(np.count_nonzero(owners[:offset] == folder))
        turn, position = divmod(drawn, self.sizes[folder])
        clip = sum(self.sizes[:folder]) + self._clip(folder, turn, position)
        return Place(index, index // self.epoch_length, clip)

    def _owners(self, block: int) -> np.ndarray:
        """Return the folder of each place of a block."""
        if not self.shuffle or len(self.sizes) == 1:
            return self._even
        key = (-1, block)
        if key not in self._orders:
            self._keep(key, self._even[shuffled(self.block, self.seed, _BLOCK, block)])
        return self._orders[key]

    def _clip(self, folder: int, turn: int, position: int) -> int:
        if not self.shuffle:
            return position
        key = (folder, turn)
        if key not in self._orders:
            # int32 halves what a million clips cost; two passes of each folder stay.
            order = shuffled(self.sizes[folder], self.seed, _PASS, folder, turn)
            self._keep(key, order.astype(np.int32))
        return int(self._orders[key][position])

    def _keep(self, key: tuple[int, int], order: np.ndarray) -> None:
        same = [other for other in self._orders if other[0] == key[0]]
        if len(same) > 1:
            del self._orders[same[0]]
        self._orders[key] = order

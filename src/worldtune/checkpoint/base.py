"""Knowing the frozen weights under adapters again.

Adapters mean nothing without the weights that they were trained on. So whatever holds
adapters alone says where their base came from, and carries its fingerprint.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from worldtune.checkpoint.matching import Which
from worldtune.models.lora_config import is_adapter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Base:
    """Where weights are from: a file, a training state's folder, or the seed they are drawn from.

    `which` says whether the network or its average was taken.
    """

    fingerprint: str
    path: str | None = None
    which: Which = "network"
    seed: int | None = None

    def __str__(self) -> str:
        """As messages name it."""
        if self.path is None:
            return f"random weights of seed {self.seed}"
        return self.path if self.which == "network" else f"the average in {self.path}"

    def to_json(self) -> dict[str, Any]:
        """As a file keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Base":
        """From what `to_json` gives; KeyError or ValueError where it is not that."""
        path, seed = told["path"], told["seed"]
        return cls(
            fingerprint=str(told["fingerprint"]),
            path=None if path is None else str(path),
            which="average" if told["which"] == "average" else "network",
            seed=None if seed is None else int(seed),
        )


def fingerprint(weights: Iterable[tuple[str, "Tensor"]]) -> str:
    """16 hex digits that change with any weight of a network; adapters do not count.

    Weights are taken by name, in any order, and rounded to bfloat16: a file in float32, the
    same in bfloat16 and a network filled from either have one fingerprint. It takes 2 s for
    2B on a CPU. It finds mix-ups; it is no protection against people.
    """
    import torch

    from worldtune.checkpoint.shards import pieces_of

    rows = []
    for name, weight in weights:
        if is_adapter(name):
            continue
        checksum = 0
        for piece in pieces_of(weight.to(torch.bfloat16)):
            checksum = zlib.crc32(piece, checksum)
        rows.append(f"{name} {list(weight.shape)} {checksum:08x}")
    return hashlib.blake2b("\n".join(sorted(rows)).encode(), digest_size=8).hexdigest()

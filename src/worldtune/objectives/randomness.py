"""Random draws as a function of the seed, the purpose and the clip's place in the run's order.

A clip meets the same noise whichever rank it falls to and whatever else is in its batch. So N
data ranks, one rank with a batch of N, and N accumulated steps train on the same numbers, a
resumed run needs no saved generator, and the ranks that share one clip agree by construction.

Source: the counter-based generators of Salmon et al. 2011, in the idea; the stream here is
PyTorch's own, seeded anew for every draw by BLAKE2b.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Purpose = Literal[
    "noise",  # eps of x_sigma = x0 + sigma * eps
    "noise_level",  # the uniform behind the log-normal sigma
    "high_noise_chance",  # whether the sample's sigma is replaced by a high one
    "high_noise_level",  # and by which
    "augment_level",  # the extra noise level of given frames
    "augment_noise",  # and its noise
    "given_frames",  # how many first frames are given
    "given_views",  # which whole views are given
    "text_dropout",
    "frames_dropout",  # hiding the given frames from the network
    "control_dropout",
    "window",  # where in a clip the training window starts
    "validation_noise",
    "initial_weights",
    "test",
]


def seed_for(seed: int, purpose: Purpose, index: int) -> int:
    """Return the 64-bit seed of one draw: a hash of the three, the same on every machine.

    PyTorch's CPU generator uses the low 32 bits. Two draws of a long run may therefore share a
    stream (one pair in four thousand million), which harms nothing: they belong to other clips.
    """
    digest = blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(seed: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Return a CPU generator for one purpose and one clip.

    seed is the run's; index is the clip's place in the run's global order, from 0. Draw on the
    CPU and move: a CUDA generator gives other numbers on other cards.
    """
    return torch.Generator().manual_seed(seed_for(seed, purpose, index))


def _places(indices: Tensor | Sequence[int]) -> list[int]:
    return [int(index) for index in indices]


def _per_clip(
    seed: int,
    purpose: Purpose,
    indices: Tensor | Sequence[int],
    draw: Callable[[torch.Generator], Tensor],
) -> Tensor:
    return torch.stack([draw(generator(seed, purpose, place)) for place in _places(indices)])


def normal(
    seed: int, purpose: Purpose, indices: Tensor | Sequence[int], shape: Sequence[int]
) -> Float[Tensor, "b ..."]:
    """Draw standard normal numbers of the given shape for each clip, float32 on the CPU.

    indices are the clips' places in the run's global order, [B]; shape is one clip's, without
    the batch. Ranks that hold a slice of a clip draw the whole and cut it.
    """
    return _per_clip(seed, purpose, indices, lambda g: torch.randn(tuple(shape), generator=g))


def uniform(
    seed: int, purpose: Purpose, indices: Tensor | Sequence[int], shape: Sequence[int] = ()
) -> Float[Tensor, "b ..."]:
    """Draw uniform numbers from [0, 1) for each clip, float64 on the CPU."""
    return _per_clip(
        seed,
        purpose,
        indices,
        lambda g: torch.rand(tuple(shape), generator=g, dtype=torch.float64),
    )


def integers(
    seed: int, purpose: Purpose, indices: Tensor | Sequence[int], lowest: int, highest: int
) -> Tensor:
    """Draw one whole number per clip, uniform over lowest..highest, both ends included; [B]."""
    return _per_clip(
        seed, purpose, indices, lambda g: torch.randint(lowest, highest + 1, (), generator=g)
    )

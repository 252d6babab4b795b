"""Ranks that should have the same have the same, in every bit; else the run stops."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from worldtune.errors import RunError
from worldtune.parallel.mesh import ProcessMesh

MOST_TOLD = 3


def check_agreement(named: Mapping[str, Tensor], mesh: ProcessMesh) -> None:
    """Compare what ranks call by one name.

    Ranks that have no tensor of a name are not asked. RunError, on every rank, with the ranks
    and the names that differ.
    """
    if mesh.alone:
        return
    sums = mesh.gather_things({name: _checksum(tensor) for name, tensor in named.items()})
    first: dict[str, tuple[int, int]] = {}
    told = []
    for rank, theirs in enumerate(sums):
        for name, checksum in theirs.items():
            by, expected = first.setdefault(name, (rank, checksum))
            if checksum != expected:
                told.append(f"rank {rank} has another {name} than rank {by}")
    if told:
        more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
        raise RunError(
            f"the processes disagree: {'; '.join(told[:MOST_TOLD])}{more}. They must have the "
            "same in every bit; look at whether all machines run the same version on the same "
            "files. Nothing was trained"
        )


def _checksum(tensor: Tensor) -> int:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    # numpy arrays are buffers; its stubs say so from Python 3.12 on only.
    octets = flat.view(torch.uint8).numpy()
    return zlib.crc32(octets) if flat.numel() else 0  # pyright: ignore[reportArgumentType]

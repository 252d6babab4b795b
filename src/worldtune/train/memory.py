"""How much memory a run takes, and what to say when there is not enough."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from worldtune.checkpoint.disk import gib
from worldtune.errors import RunError, first_line

GIB = 2**30


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory so far: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    import resource

    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


@contextmanager
def explain_out_of_memory(remedies: Sequence[str]) -> Iterator[dict[str, int]]:
    """Turn running out of memory into a RunError that says what was held and what lowers it.

    The body fills what is given to it: bytes, by what they are for. remedies are settings, the
    most useful first.
    """
    held: dict[str, int] = {}
    try:
        yield held
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        told = ", ".join(f"{what} {gib(size)}" for what, size in held.items())
        when = f"Held beside activations: {told}" if held else "The run was still being set up"
        raise RunError(
            f"out of memory ({first_line(error)}). {when}. "
            f"What lowers it: {'; '.join(remedies[:3])}"
        ) from None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError.
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)

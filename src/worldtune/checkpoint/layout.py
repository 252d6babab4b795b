"""Names of files and folders below a run's `checkpoints/`, in one place."""

import re

STATES = "state"  # the project's own training states
ADAPTERS = "adapters"  # files of adapters alone
NATIVE_KINDS = ("model", "optim", "scheduler", "trainer")  # the published layout's folders
NATIVE_POINTER = "latest_checkpoint.txt"
NATIVE_FILE = re.compile(r"iter_(?P<iteration>\d+)\.pt")
ADAPTER_FILE = re.compile(r"iter_(?P<iteration>\d+)(?P<average>_average)?\.safetensors")
# A tensor-parallel part: `STEM_model_mp_3.pt`; `*` stands for any number.
PART_FILE = re.compile(r"(?P<stem>.+)_model_mp_(?P<part>\d+|\*)\.pt")


def native_name(iteration: int) -> str:
    """Name of the published files of an iteration, the same in every folder."""
    return f"iter_{iteration:09d}.pt"


def adapter_name(iteration: int, which: str) -> str:
    """Name of an adapter's file of an iteration; the average's is told by it."""
    return f"iter_{iteration:09d}{'_average' if which == 'average' else ''}.safetensors"

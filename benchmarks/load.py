"""How long it takes to describe and load a 2B file, and to save and read a state.

python benchmarks/load.py [FOLDER]

Writes about 8 GB into FOLDER (default: the system's temporary folder) and removes them.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from worldtune.checkpoint.inspect import describe
from worldtune.checkpoint.load import load_weights
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import NativeModel, write_native
from worldtune.checkpoint.state import read_state, write_state
from worldtune.checkpoint.state_folder import find_latest
from worldtune.config.network import NetworkSettings
from worldtune.models.build import build, transformer_config
from worldtune.recipes.networks import VIDEO2WORLD_2B

GB = 1e9


def timed(what: str, nbytes: float, call: Callable[[], Any]) -> Any:
    """Run a call and print how long it took, how fast that is, and the peak of memory."""
    start = perf_counter()
    result = call()
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speed = f"{nbytes / GB / seconds:6.2f} GB/s" if nbytes else " " * 11
    print(f"{what:42} {seconds:7.2f} s {speed}  peak {peak:5.2f} GiB")
    return result


def main(folder: Path) -> None:
    """Measure one file and one state of a 2B network."""
    config = transformer_config(NetworkSettings(**VIDEO2WORLD_2B))
    network = build(config, device="cpu", dtype=torch.bfloat16, seed=0)
    weights = dict(network.named_parameters())
    size = sum(weight.nbytes for weight in weights.values())
    model = NativeModel(PREDICT2, config, weights)
    (path,) = timed("write model/iter_N.pt", size, lambda: write_native(folder, 1, "model", model))
    timed("describe", 0, lambda: describe(path))
    empty = build(config, device="meta", dtype=torch.bfloat16)
    timed("load, with checksums", size, lambda: load_weights(empty, path, PREDICT2, dtype=None))
    timed("torch.load, for comparison", size, lambda: torch.load(path, weights_only=True))

    states, parts = folder / "state", {"weights": weights}
    timed("write a state", size, lambda: write_state(states, 1, parts, {}))
    latest = timed("find and verify the state", size, lambda: find_latest(states))
    sections, _ = timed("read the state", 0, lambda: read_state(latest.state))
    assert all(torch.equal(sections["weights"][name], weights[name]) for name in weights)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        main(Path(made))

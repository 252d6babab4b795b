"""Where the golden vectors lie, and how closely they must be met."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor


class GoldenFolder:
    """One family's folder of golden vectors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())


def _folder(family: str) -> GoldenFolder:
    beside = Path(__file__).parent / "data"
    return GoldenFolder(Path(os.environ.get("WORLDTUNE_GOLDEN", beside)) / family)


@pytest.fixture(scope="session")
def predict2() -> GoldenFolder:
    return _folder("predict2")


@pytest.fixture(scope="session")
def transfer1() -> GoldenFolder:
    return _folder("transfer1")


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference as a share of the largest value, both taken in float64."""
    ours, theirs = ours.double(), theirs.double()
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300)).item()


@pytest.fixture(scope="session")
def close():
    """Assert that two tensors agree within a share of the largest value."""

    def check(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
        assert ours.shape == theirs.shape
        assert torch.isfinite(ours.double()).all()
        assert relative_error(ours, theirs) <= tolerance

    return check

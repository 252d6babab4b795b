"""Clips and one finished run, shared by the tests of this room."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train.tiny import WITHOUT_VALIDATION, Tiny, draw_clips, tiny
from worldtune.checkpoint.disk import Disk
from worldtune.train.curve import LossCurve
from worldtune.train.run import run_training


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they gain at this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the picture and the waiting for the disk, which take longer than all steps."""
    monkeypatch.setattr(LossCurve, "draw", lambda curve: None)
    monkeypatch.setattr(Disk, "sync", lambda disk, handle: None)


@pytest.fixture
def runs(tmp_path: Path, clips: Path, quick: None) -> Tiny:
    return Tiny(tmp_path, clips)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A run of four steps that nothing broke, with validation and picture. Copy it to change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_training(tiny(clips), folder)
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """The same run without validation."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    run_training(tiny(clips, *WITHOUT_VALIDATION), folder)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """The published file of a run long enough to do better than predicting nothing."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    words = ("trainer.max_iter=40", "checkpoint.save_iter=40", "optimizer.lr=5e-3")
    run_training(tiny(clips, *WITHOUT_VALIDATION, *words), folder)
    return folder / "checkpoints" / "model" / "iter_000000040.pt"

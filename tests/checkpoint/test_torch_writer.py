"""Files for torch.load, written one tensor at a time."""

import errno
import io
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checkpoint.disks import QuickDisk, TracingDisk, fails_at
from worldtune.checkpoint.entries import ITEM_BYTES, TensorEntry
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.torch_pickle import Planned, planned
from worldtune.checkpoint.torch_writer import torch_file_size, write_torch_file

DTYPES = [getattr(torch, name) for name in ITEM_BYTES]
TENSORS = st.builds(
    lambda dtype, shape: torch.randint(0, 2, shape).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 5), max_size=3),
)
VALUES = TENSORS | st.integers() | st.text() | st.none() | st.floats(allow_nan=False)
TREES = st.dictionaries(
    st.text(min_size=1, max_size=5), VALUES | st.lists(VALUES, max_size=3), max_size=5
)


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        bits = [t.reshape(-1).view(torch.uint8) for t in (one, other)]
        return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(*bits)
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        assert isinstance(other, list)
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES, mmap=st.booleans())
def test_torch_load_gives_back_what_was_written(tmp_path: Path, tree: dict, mmap: bool):
    path = tmp_path / "a.pt"
    write_torch_file(path, tree, QuickDisk())
    assert same(torch.load(path, weights_only=True, mmap=mmap), tree)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tensors=st.dictionaries(st.text(min_size=1), TENSORS, max_size=5))
def test_our_reader_gives_back_what_was_written(tmp_path: Path, tensors: dict):
    path = tmp_path / "a.pt"
    write_torch_file(path, tensors, QuickDisk())
    with open_weights(path) as file:
        assert list(file.entries) == list(tensors)
        assert all(same(file.read(name), tensor) for name, tensor in tensors.items())
    assert path.stat().st_size <= torch_file_size(list(file.entries.values()))


def test_a_tensor_is_cast_and_made_only_when_its_turn_comes(tmp_path: Path):
    made: list[str] = []

    def make(name: str) -> torch.Tensor:
        made.append(name)
        return torch.full((3,), float(len(made)))

    entry = TensorEntry((3,), "float32")
    tree = {name: Planned(entry, lambda name=name: make(name)) for name in "abc"}
    disk = TracingDisk()
    write_torch_file(tmp_path / "a.pt", tree | {"h": planned(torch.ones(2), torch.bfloat16)}, disk)
    assert made == ["a", "b", "c"]
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    assert [loaded[name][0].item() for name in "abc"] == [1.0, 2.0, 3.0]
    assert loaded["h"].dtype == torch.bfloat16


def test_data_lies_on_the_boundaries_of_torch(tmp_path: Path):
    write_torch_file(tmp_path / "a.pt", {str(n): torch.ones(n) for n in range(1, 9)}, QuickDisk())
    tree = open_weights(tmp_path / "a.pt").tree
    assert all(placed.record.offset % 64 == 0 for placed in tree.values())


def test_the_file_is_as_large_as_that_of_torch(tmp_path: Path):
    tree = {f"blocks.{n}.weight": torch.randn(20, 20) for n in range(50)}
    write_torch_file(tmp_path / "a.pt", tree, QuickDisk())
    theirs = io.BytesIO()
    torch.save(tree, theirs)
    assert (tmp_path / "a.pt").stat().st_size == pytest.approx(theirs.tell(), rel=0.05)


def test_the_old_file_stays_when_the_disk_fails_at_any_call(tmp_path: Path):
    path, old = tmp_path / "a.pt", {"w": torch.zeros(3)}
    disk = TracingDisk()
    write_torch_file(path, old, disk)
    for number in range(len(disk.trace)):
        with pytest.raises(OSError, match="ENOSPC"):
            write_torch_file(
                path, {"w": torch.ones(3)}, TracingDisk(fails_at(number, errno.ENOSPC))
            )
        assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
        if number < len(disk.trace) - 1:  # the last call waits for a rename that is done
            assert same(torch.load(path, weights_only=True), old)


@pytest.mark.slow
def test_a_file_of_more_than_four_gibibytes_is_read_by_torch(tmp_path: Path):
    """Written as a file with holes: each piece of zeros is skipped over."""

    class Holes(QuickDisk):
        def write(self, handle: int, piece: memoryview) -> int:
            if len(piece) < 1 << 20:
                return super().write(handle, piece)
            os.lseek(handle, len(piece), os.SEEK_CUR)
            return len(piece)

    entry = TensorEntry((1 << 20, 1100), "float32")
    assert entry.nbytes > 1 << 32
    # Untouched memory takes none.
    tree = {"big": Planned(entry, lambda: torch.zeros(entry.shape)), "after": torch.ones(2)}
    write_torch_file(tmp_path / "a.pt", tree, Holes())
    loaded = torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)
    assert loaded["after"].tolist() == [1.0, 1.0]
    assert loaded["big"].shape == entry.shape
    with open_weights(tmp_path / "a.pt") as file:
        assert file.read("after").tolist() == [1.0, 1.0]
        assert file.entries["big"] == entry

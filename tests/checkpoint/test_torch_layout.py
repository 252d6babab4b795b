"""Files for torch.load whose every offset is known before they are written."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldtune.checkpoint import torch_layout
from worldtune.checkpoint.bits import bytes_of, same_bits
from worldtune.checkpoint.entries import ITEM_BYTES, TensorEntry
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.shards import dtype_name
from worldtune.checkpoint.torch_layout import TorchLayout

TENSORS = st.builds(
    lambda dtype, shape: torch.randint(0, 2, shape).to(getattr(torch, dtype)),
    st.sampled_from(list(ITEM_BYTES)),
    st.lists(st.integers(0, 5), max_size=3),
)
TREES = st.dictionaries(
    st.text(min_size=1, max_size=5), TENSORS | st.integers() | st.none(), max_size=5
)


def entry_of(tensor: Tensor) -> TensorEntry:
    return TensorEntry(tuple(tensor.shape), dtype_name(tensor.dtype))


def lay_out(tree: Mapping[str, Any]) -> TorchLayout:
    return TorchLayout({k: entry_of(v) if isinstance(v, Tensor) else v for k, v in tree.items()})


def write(path: Path, tree: Mapping[str, Any]) -> TorchLayout:
    layout = lay_out(tree)
    tensors = [value for value in tree.values() if isinstance(value, Tensor)]
    sums = [zlib.crc32(bytes_of(tensor)) for tensor in tensors]
    with path.open("wb") as stream:
        stream.write(layout.head)
        for number, tensor in enumerate(tensors):
            assert stream.tell() == layout.start(number)
            stream.write(layout.header(number, sums[number]))
            stream.write(bytes_of(tensor))
        assert stream.tell() == layout.start(len(tensors))
        stream.write(layout.tail(sums))
    return layout


def check(path: Path, tree: Mapping[str, Any], layout: TorchLayout) -> None:
    assert path.stat().st_size == layout.nbytes
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    for mmap in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        assert list(loaded) == list(tree)
        for name, value in tree.items():
            if isinstance(value, Tensor):
                assert same_bits(loaded[name], value)
            else:
                assert loaded[name] == value
    with open_weights(path) as file:
        for name, entry in file.entries.items():
            assert same_bits(file.read(name), tree[name])
            placed, found = layout.placed[name], file.tree[name]
            assert (placed.entry, placed.record.offset) == (entry, found.record.offset)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES)
def test_zipfile_torch_and_our_reader_accept_what_is_laid_out(tmp_path: Path, tree: dict):
    path = tmp_path / "a.pt"
    check(path, tree, write(path, tree))


@pytest.mark.parametrize(("large", "many"), [(700, 0xFFFF), (1500, 3), (3000, 0xFFFF)])
def test_numbers_that_need_eight_bytes_are_read_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, many: int
):
    """As beyond 4 GiB: some tensors are large, some only lie far behind."""
    monkeypatch.setattr(torch_layout, "LARGE_FROM", large)
    monkeypatch.setattr(torch_layout, "MANY_FROM", many)
    tree = {str(n): torch.randn(n) for n in (3, 400, 7, 800, 1)}
    check(tmp_path / "a.pt", tree, write(tmp_path / "a.pt", tree))


def test_the_size_of_a_base_is_known_without_its_data():
    tree = {f"w{n}": TensorEntry((1 << 14, 1 << 12), "bfloat16") for n in range(108)}
    layout = TorchLayout(tree)
    assert 108 << 27 < layout.nbytes < (108 << 27) + 100_000


def test_equal_weights_make_equal_files(tmp_path: Path):
    tree = {"a": torch.arange(9.0), "b": None}
    for name in ("1.pt", "2.pt"):
        write(tmp_path / name, tree)
    assert (tmp_path / "1.pt").read_bytes() == (tmp_path / "2.pt").read_bytes()

"""The published tensor-parallel parts: what the original cut, and what we cut and join.

Of each split the parts hold the divided weights; the first part of one split may hold the
whole ones too, which are then equal to those of the whole file on every rank.
"""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.golden.conftest import GoldenFolder
from worldtune.checkpoint.join import join_parts
from worldtune.checkpoint.split import split_weights

PART = re.compile(r"(?P<stem>.+)_tp(?P<size>\d+)_mp_(?P<rank>\d+)\.safetensors")


def splits(golden: GoldenFolder) -> dict[tuple[str, int], list[dict[str, Tensor]]]:
    """The original's parts, by the whole file's name and the size, in the order of ranks."""
    found: dict[tuple[str, int], dict[int, dict[str, Tensor]]] = {}
    for path in golden.folder.glob("*_mp_*.safetensors"):
        match = PART.fullmatch(path.name)
        assert match
        ranks = found.setdefault((match["stem"], int(match["size"])), {})
        ranks[int(match["rank"])] = golden.tensors(path.stem)
    assert found
    for (_, size), ranks in found.items():
        assert sorted(ranks) == list(range(size))
    return {key: [ranks[rank] for rank in sorted(ranks)] for key, ranks in found.items()}


def assert_equal(found: Tensor, expected: Tensor, name: str) -> None:
    assert found.dtype == expected.dtype, name
    assert torch.equal(found, expected), name


def test_every_part_is_cut_as_the_original_cuts_it(transfer1: GoldenFolder, tmp_path: Path):
    for (stem, size), parts in splits(transfer1).items():
        whole = transfer1.tensors(stem)
        kinds = transfer1.json("manifest")["tp"][str(size)]
        torch.save(whole, tmp_path / f"{stem}.pt")
        report = split_weights(tmp_path / f"{stem}.pt", size, tmp_path / str(size))

        for path, theirs in zip(report.parts, parts, strict=True):
            ours = torch.load(path, weights_only=True)["model"]
            assert set(ours) == set(whole)
            for name, tensor in theirs.items():
                assert_equal(ours[name], tensor, name)
            for name in ours.keys() - theirs.keys():
                assert_equal(ours[name], whole[name], name)
        divided = {name for name, w in ours.items() if w.shape != whole[name].shape}
        assert divided == original_cuts(kinds)


def original_cuts(kinds: dict[str, list[str]]) -> set[str]:
    """Names that the manifest says are cut along a dim."""
    return {name for kind, names in kinds.items() if kind != "replicated" for name in names}


def test_the_original_s_parts_join_into_the_whole_file(transfer1: GoldenFolder, tmp_path: Path):
    for (stem, size), parts in splits(transfer1).items():
        whole = transfer1.tensors(stem)
        folder = tmp_path / str(size) / "parts"
        folder.mkdir(parents=True)
        for rank, theirs in enumerate(parts):
            model = {name: theirs.get(name, tensor) for name, tensor in whole.items()}
            torch.save({"model": model, "ema": None}, folder / f"{stem}_model_mp_{rank}.pt")
        joined = torch.load(join_parts(folder / f"{stem}.pt").weights, weights_only=True)

        assert set(joined) == set(whole)
        for name, tensor in whole.items():
            assert_equal(joined[name], tensor, name)


@pytest.mark.parametrize("stem", ["sv_base_model", "mv_control"])
def test_a_whole_file_comes_back_from_its_parts(transfer1: GoldenFolder, tmp_path: Path, stem: str):
    whole = transfer1.tensors(stem)
    torch.save(whole, tmp_path / f"{stem}.pt")
    size = transfer1.json("manifest")["config"]["num_heads"]
    parts = split_weights(tmp_path / f"{stem}.pt", size).parts
    joined = torch.load(join_parts(parts[-1]).weights, weights_only=True)

    assert list(joined) == list(whole)
    for name, tensor in whole.items():
        assert_equal(joined[name], tensor, name)

"""Cutting files into tensor-parallel parts."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint.disks import QuickDisk
from tests.checkpoint.published_files import (
    Tensors,
    entries,
    few_entries,
    same_tensors,
    save_run,
)
from tests.models.sizes import MULTI_VIEW, SINGLE_VIEW
from tests.reference.tensor_parallel import part_of
from worldtune.checkpoint.cuts import read_names
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.kinds import FileKind
from worldtune.checkpoint.names import PREDICT2, TRANSFER1
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.split import SplitReport, part_tree, split_weights
from worldtune.errors import CheckpointError
from worldtune.models.build import build, build_branch


def split(path: Path, size: int = 8, folder: Path | None = None, **options) -> SplitReport:
    return split_weights(path, size, folder, disk=QuickDisk(), **options)


def saved(folder: Path, name: str, tensors: Tensors) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    torch.save(tensors, folder / name)
    return folder / name


def loaded(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("part", "views", "size"),
    [("base", "multi", 8), ("branch", "single", 1), ("branch", "multi", 2)],
)
def test_parts_hold_what_the_published_rule_gives(tmp_path: Path, part: str, views: str, size: int):
    whole = entries(part, views)
    report = split(saved(tmp_path, "w.pt", whole), size)

    assert report.parts == tuple(
        tmp_path / "checkpoints_tp" / f"w_model_mp_{rank}.pt" for rank in range(size)
    )
    for rank, path in enumerate(report.parts):
        content = loaded(path)
        assert list(content) == ["model", "ema"]
        assert content["ema"] is None
        same_tensors(content["model"], part_of(whole, rank, size))
    assert report.marker == tmp_path / "checkpoints_tp" / "w.pt"
    assert loaded(report.marker) == {"grad_scaler": {}, "iteration": 0}


def test_plain_zip_programs_find_every_part_whole(tmp_path: Path):
    report = split(saved(tmp_path, "w.pt", few_entries()), 2)

    for path in (*report.parts, report.marker):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def test_tensors_of_a_part_share_no_memory(tmp_path: Path):
    """A trainer that changes one weight must not change another."""
    report = split(saved(tmp_path, "w.pt", few_entries()), 2)

    model = loaded(report.parts[1])["model"]
    places = {tensor.untyped_storage().data_ptr() for tensor in model.values()}
    assert len(places) == len(model)
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in model.values())


def test_safetensors_are_cut_too(tmp_path: Path):
    whole = few_entries()
    save_file(whole, tmp_path / "base_model.safetensors")
    report = split(tmp_path / "base_model.safetensors", 4)

    assert report.parts[3].name == "base_model_model_mp_3.pt"
    same_tensors(loaded(report.parts[3])["model"], part_of(whole, 3, 4))


def test_tensors_that_lie_in_any_way_in_the_file_are_cut_rightly(tmp_path: Path):
    """Transposed, with gaps, shared: a part holds their values row by row."""
    whole = few_entries()
    odd = dict(whole)
    for name, tensor in whole.items():
        if tensor.dim() == 2:
            odd[name] = tensor.t().contiguous().t()
        elif tensor.dim() == 1:
            odd[name] = torch.stack([tensor, tensor], 1)[:, 0]
    report = split(saved(tmp_path, "w.pt", odd), 4)

    for rank, path in enumerate(report.parts):
        model = loaded(path)["model"]
        same_tensors(model, part_of(whole, rank, 4))
        assert all(tensor.is_contiguous() for tensor in model.values())


def test_predict2_files_are_cut_by_the_same_plan(tmp_path: Path):
    """Its names differ; the network and its cuts are the same."""
    theirs = entries("base")
    ours = {
        f"net.{module}": tensor
        for name, tensor in theirs.items()
        if (module := TRANSFER1.to_module(name.removeprefix("net."))) and PREDICT2.to_module(module)
    }
    report = split(saved(tmp_path, "model.pt", ours), 4)

    part = loaded(report.parts[1])["model"]
    for name, tensor in part_of(theirs, 1, 4).items():
        module = TRANSFER1.to_module(name.removeprefix("net."))
        if module and PREDICT2.to_module(module):
            assert torch.equal(part[f"net.{module}"], tensor)


def test_a_run_of_one_process_is_cut_with_its_average_and_counters(tmp_path: Path):
    weights, average = save_run(tmp_path, 1, iteration=300)
    report = split(tmp_path / "iter_000000300_model_mp_0.pt", 4)

    assert report.parts[0].name == "iter_000000300_model_mp_0.pt"
    assert loaded(report.marker)["iteration"] == 300
    for rank, path in enumerate(report.parts):
        content = loaded(path)
        same_tensors(content["model"], part_of(weights, rank, 4))
        same_tensors(content["ema"], part_of(average, rank, 4))
        assert content["trained_data_record"] == {"image": 0, "video": 2400, "iteration": 300}


def test_extra_state_is_dropped_and_told(tmp_path: Path):
    whole = few_entries()
    extra = {f"net.blocks.block0.blocks.{n}.block.attn._extra_state": None for n in (0, 1)}
    report = split(saved(tmp_path, "w.pt", whole | extra), 2)

    same_tensors(loaded(report.parts[0])["model"], part_of(whole, 0, 2))
    assert report.notices == ("Left out 2 entries of a kernel library: no weights.",)


AV = "Cosmos-Transfer1-7B-Sample-AV"


@pytest.mark.parametrize("name", ["base_model.pt", "lidar_control.pt"])
def test_the_published_page_s_slip_takes_the_file_that_recipes_look_for(tmp_path: Path, name: str):
    saved(tmp_path / AV, name, few_entries())
    report = split(tmp_path / AV / f"t2w_{name}", 2)

    stem = name.removesuffix(".pt")
    assert report.marker == tmp_path / AV / "checkpoints_tp" / name
    assert report.parts[0].name == f"{stem}_model_mp_0.pt"
    assert len(report.notices) == 1
    assert f"the published page means {name}" in report.notices[0]


def test_where_t2w_files_exist_they_are_taken_by_name(tmp_path: Path):
    saved(tmp_path / AV, "base_model.pt", few_entries())
    saved(tmp_path / AV, "t2w_base_model.pt", few_entries())
    report = split(tmp_path / AV / "t2w_base_model.pt", 2)

    assert (report.marker.name, report.notices) == ("t2w_base_model.pt", ())


def test_the_slip_without_a_file_names_the_command_that_fetches_it(tmp_path: Path):
    folder = tmp_path / "nvidia" / AV
    with pytest.raises(CheckpointError, match=rf"hf download nvidia/{AV} lidar_control.pt "):
        split(folder / "t2w_lidar_control.pt")


def test_elsewhere_a_missing_t2w_file_is_missing(tmp_path: Path):
    saved(tmp_path, "base_model.pt", few_entries())
    with pytest.raises(CheckpointError, match=r"Did you mean 'base_model.pt'"):
        split(tmp_path / "t2w_base_model.pt")


def test_a_size_that_heads_do_not_divide_by_is_refused_with_those_that_go(tmp_path: Path):
    path = saved(tmp_path, "w.pt", few_entries())
    for size in (3, 16):
        with pytest.raises(CheckpointError, match=rf"into {size} parts.*that go: 1, 2, 4, 8\."):
            split(path, size)
    with pytest.raises(CheckpointError, match="into 0 parts; give 1 or more"):
        split(path, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["w.pt"]


def test_a_part_is_not_split_again(tmp_path: Path):
    report = split(saved(tmp_path, "w.pt", few_entries()), 4)
    with pytest.raises(CheckpointError, match=r"already split: it is one of 4 parts.*\n.*join"):
        split(report.parts[0], 2)


def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"holds no weights of a network.*\(conv.weight\)"):
        split(saved(tmp_path, "vae.pt", {"conv.weight": torch.zeros(3)}))


def test_entries_that_no_family_knows_are_named(tmp_path: Path):
    whole = few_entries() | {"net.blocks.block0.blocks.3.gate": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"1 entries.*transfer1.*blocks\.3\.gate"):
        split(saved(tmp_path, "w.pt", whole))


def test_the_source_is_never_overwritten(tmp_path: Path):
    """The marker of a split beside the file would have the file's own name."""
    path = saved(tmp_path, "w.pt", few_entries())
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="overwrite their own source"):
        split(path, 2, tmp_path, force=True)
    assert path.read_bytes() == before


PER_RANK = {
    ("base", "single"): (7_236_192_256, 3_830_417_408, 2_127_529_984, 1_276_086_272),
    ("branch", "single"): (891_645_728, 526_741_280, 344_289_056, 253_062_944),
    ("base", "multi"): (7_234_799_670, 3_829_024_822, 2_126_137_398, 1_274_693_686),
    ("branch", "multi"): (890_253_142, 525_348_694, 342_896_470, 251_670_358),
}


@pytest.mark.parametrize(("part", "views"), list(PER_RANK))
def test_a_part_of_a_published_file_has_the_published_number_of_weights(part: str, views: str):
    config = {"single": SINGLE_VIEW, "multi": MULTI_VIEW}[views]
    if part == "base":
        network = build(config, device="meta")
    else:
        network = build_branch(config, num_control_blocks=3, hint_channels=16, device="meta")
    listed = {
        f"net.{TRANSFER1.to_file(name)}": TensorEntry(tuple(weight.shape), "bfloat16")
        for name, weight in network.state_dict().items()
    }
    file = WeightsFile(Path("w.pt"), FileKind.TORCH_ZIP, listed, {}, {}, {}, (), {})
    names = read_names(file)

    for size, expected in zip((1, 2, 4, 8), PER_RANK[part, views], strict=True):
        held = part_tree(file, names, size)["model"]
        assert sum(entry.numel for entry in held.values()) == expected


PEAK = """
import resource, sys
from pathlib import Path
from worldtune.checkpoint.split import split_weights
split_weights(Path(sys.argv[1]), 8)
status = Path('/proc/self/status').read_text().split()
print(sum(t.numel() for t in __import__('torch').load(
    sys.argv[2], weights_only=True, mmap=True)['model'].values()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


@pytest.mark.slow
def test_a_full_width_file_is_cut_within_a_gigabyte(tmp_path: Path):
    """One block of the published width, 0.8 GB: memory is a few tensors and torch."""
    from worldtune.checkpoint.torch_pickle import Planned
    from worldtune.checkpoint.torch_writer import write_torch_file

    network = build_branch(SINGLE_VIEW, num_control_blocks=1, hint_channels=16, device="meta")
    tree = {
        f"net.{TRANSFER1.to_file(name)}": Planned(
            TensorEntry(tuple(weight.shape), "bfloat16"),
            lambda shape=weight.shape: torch.randint(-9, 9, shape, dtype=torch.bfloat16),
        )
        for name, weight in network.state_dict().items()
    }
    write_torch_file(tmp_path / "w.pt", tree)
    part = tmp_path / "checkpoints_tp" / "w_model_mp_7.pt"
    told = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "w.pt", part], capture_output=True, text=True
    )
    numel, peak = map(int, told.stdout.split())
    whole = sum(weight.numel() for weight in network.state_dict().values())
    assert numel == whole - 243_269_632 * 7 // 8
    assert peak < 1_000_000_000

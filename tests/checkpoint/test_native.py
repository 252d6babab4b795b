"""The published layout: written whole, pointed to last, and read with its losses named."""

import errno
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.checkpoint.disks import QuickDisk, TracingDisk, fails_at
from worldtune.checkpoint.load import load_weights
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import (
    NativeModel,
    NativeOptimizer,
    find_native,
    native_entries,
    native_size,
    write_native,
)
from worldtune.errors import CheckpointError, RunError

BUFFERS = {
    "pos_embedder.seq",
    "pos_embedder.dim_spatial_range",
    "pos_embedder.dim_temporal_range",
    "accum_video_sample_counter",
    "accum_image_sample_counter",
    "accum_iteration",
    "accum_train_in_hours",
}


def native_model(maker, average: bool = True) -> NativeModel:
    weights = maker.network(1).state_dict()
    averages = maker.network(2).state_dict() if average else None
    return NativeModel(PREDICT2, maker.config, weights, averages)


def optimizer(model: NativeModel) -> NativeOptimizer:
    moments = {
        kind: {name: torch.full_like(w, value) for name, w in model.weights.items()}
        for kind, value in {"exp_avg": 0.5, "exp_avg_sq": 0.25}.items()
    }
    return NativeOptimizer(moments, 500, 3e-5, 4e-5, (0.9, 0.99), 1e-8, 0.1)


def write(folder: Path, iteration: int, files: str, model: NativeModel, **words):
    words.setdefault("disk", QuickDisk())
    return write_native(folder, iteration, files, model, optimizer(model), **words)


def test_a_model_file_holds_the_documented_names_and_dtypes(predict2, tmp_path: Path):
    model = native_model(predict2)
    (path,) = write(tmp_path, 500, "model", model)
    assert path == tmp_path / "model" / "iter_000000500.pt"
    saved = torch.load(path, weights_only=True)
    names = set(model.weights) | BUFFERS
    assert set(saved) == {f"{p}{name}" for p in ("net.", "net_ema.") for name in names}
    for name, tensor in saved.items():
        if name.endswith(("counter", "accum_iteration")):
            assert tensor.dtype == torch.int64
        else:
            assert tensor.dtype == (torch.float32 if "net_ema" in name else torch.bfloat16)
    linear = "final_layer.linear.weight"
    assert torch.equal(saved[f"net.{linear}"], model.weights[linear].bfloat16())
    assert torch.equal(saved[f"net_ema.{linear}"], model.average[linear])


@pytest.mark.parametrize("which", ["network", "average"])
def test_what_was_written_loads_strictly(predict2, tmp_path: Path, which):
    (path,) = write(tmp_path, 500, "model", native_model(predict2))
    network = predict2.on_meta()
    report = load_weights(network, path, PREDICT2, dtype=torch.float32, which=which)
    assert report.expected == len(network.state_dict())
    trained = predict2.network(1 if which == "network" else 2)
    expected = trained.bfloat16().float() if which == "network" else trained
    for name, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_without_an_average_there_is_none_in_the_file(predict2, tmp_path: Path):
    (path,) = write(tmp_path, 500, "model", native_model(predict2, average=False))
    assert all(name.startswith("net.") for name in torch.load(path, weights_only=True))
    assert not find_native(tmp_path).has_average


def test_a_frozen_weight_is_its_own_average(predict2):
    model = native_model(predict2, average=False)
    trained = {"final_layer.linear.weight": torch.zeros(64, 32)}
    entries = native_entries(NativeModel(PREDICT2, predict2.config, model.weights, trained))
    assert entries["net_ema.final_layer.linear.weight"].make().sum() == 0
    frozen = "t_embedding_norm.weight"
    assert torch.equal(entries[f"net_ema.{frozen}"].make(), model.weights[frozen])


def test_a_weight_without_a_published_name_is_an_error(predict2):
    model = NativeModel(PREDICT2, predict2.config, {"invented.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"no published name in predict2.*native=none"):
        native_entries(model)
    model = NativeModel(PREDICT2, predict2.config, {}, {"x": torch.ones(1)})
    with pytest.raises(CheckpointError, match="average of 'x'"):
        native_entries(model)


def test_all_writes_four_files_that_the_publishers_trainer_reads(predict2, tmp_path: Path):
    """Restricted unpickling suffices for all four."""
    model = native_model(predict2)
    paths = write(tmp_path, 500, "all", model)
    assert [path.parent.name for path in paths] == ["model", "optim", "scheduler", "trainer"]
    optim, scheduler, trainer = (torch.load(path, weights_only=True) for path in paths[1:])
    assert trainer == {"grad_scaler": {}, "iteration": 500}
    assert scheduler["last_epoch"] == 500
    assert set(optim["state"]) == {f"pipe.dit.{name}" for name in model.weights}
    assert optim["param_groups"][0]["params"] == list(optim["state"])
    assert optim["state"]["pipe.dit.final_layer.linear.weight"]["exp_avg"].max() == 0.5
    assert (tmp_path / "latest_checkpoint.txt").read_text() == "iter_000000500.pt\n"


def test_the_scheduler_file_is_read_by_torchs_own_scheduler(predict2, tmp_path: Path):
    path = write(tmp_path, 500, "all", native_model(predict2))[2]
    adam = torch.optim.AdamW([nn.Parameter(torch.ones(1))], lr=4e-5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0)
    scheduler.load_state_dict(torch.load(path, weights_only=True))
    assert scheduler.last_epoch == 500
    assert scheduler.get_last_lr() == [3e-5]


@pytest.mark.parametrize(("files", "there"), [("model", ["model"]), ("none", [])])
def test_the_pointer_is_written_only_with_all(predict2, tmp_path: Path, files: str, there):
    write(tmp_path, 500, files, native_model(predict2))
    assert [path.name for path in tmp_path.iterdir()] == there


def test_the_pointer_moves_after_all_four_files_are_whole(predict2, tmp_path: Path):
    model = native_model(predict2, average=False)
    write(tmp_path, 400, "all", model)
    disk = TracingDisk()
    write(tmp_path, 500, "all", model, disk=disk)
    assert disk.trace.count(("rename", "iter_000000500.pt.tmp iter_000000500.pt")) == 4
    assert disk.trace[-2][0] == "rename"
    assert disk.trace[-2][1].endswith("latest_checkpoint.txt")


def test_a_failure_at_any_call_leaves_a_pointer_to_whole_files(predict2, tmp_path: Path):
    model = NativeModel(PREDICT2, predict2.config, {"t_embedding_norm.weight": torch.ones(32)})
    write(tmp_path / "saved", 400, "all", model)
    trace = TracingDisk()
    write(tmp_path / "trial", 500, "all", model, disk=trace)
    for number in range(len(trace.trace)):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "saved", folder)
        with pytest.raises(RunError, match="published files of iteration 500 could not be saved"):
            write(folder, 500, "all", model, disk=TracingDisk(fails_at(number, errno.ENOSPC)))
        pointed = (folder / "latest_checkpoint.txt").read_text().strip()
        for kind in ("model", "optim", "scheduler", "trainer"):
            torch.load(folder / kind / pointed, weights_only=True)
        assert not list(folder.rglob("*.tmp"))


def test_all_without_an_optimizer_is_our_own_mistake(predict2, tmp_path: Path):
    with pytest.raises(ValueError, match="optimizer"):
        write_native(tmp_path, 1, "all", native_model(predict2))


@pytest.mark.parametrize("files", ["model", "all"])
def test_keep_last_removes_older_iterations_but_not_the_one_pointed_at(
    predict2, tmp_path: Path, files: str
):
    model = native_model(predict2, average=False)
    write(tmp_path, 100, "all", model)
    for iteration in (200, 300, 400):
        write(tmp_path, iteration, files, model, keep_last=2)
    left = sorted(path.name for path in (tmp_path / "model").iterdir())
    pointed = ["iter_000000100.pt"] if files == "model" else []
    assert left == [*pointed, "iter_000000300.pt", "iter_000000400.pt"]


def test_the_size_is_known_before_the_save(predict2, tmp_path: Path):
    model = native_model(predict2)
    paths = write(tmp_path, 500, "all", model)
    real = sum(path.stat().st_size for path in paths)
    assert real <= native_size(model, optimizer(model)) <= real * 1.25


# --- reading what the publishers' trainer wrote ---


def original_run(folder: Path, maker, iterations: list[int], pointer: int | None) -> None:
    """The files as the original trainer writes them, by torch.save."""
    for iteration in iterations:
        name = f"iter_{iteration:09d}.pt"
        entries = {n: t.bfloat16() for n, t in maker.entries(maker.network(1)).items()}
        for kind, content in {
            "model": entries,
            "optim": {"state": {}, "param_groups": []},
            "scheduler": {"last_epoch": iteration},
            "trainer": {"grad_scaler": {}, "iteration": iteration},
        }.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            torch.save(content, folder / kind / name)
    if pointer is not None:
        (folder / "latest_checkpoint.txt").write_text(f"iter_{pointer:09d}.pt\n")


def test_a_run_of_the_original_gives_weights_iteration_and_what_is_lost(predict2, tmp_path: Path):
    original_run(tmp_path, predict2, [500, 1000], 1000)
    run = find_native(tmp_path)
    assert (run.iteration, run.model.name) == (1000, "iter_000001000.pt")
    assert run.warnings == ()
    lost = "\n".join(run.not_carried)
    for word in ("masters", "random states", "data position", "optimizer moments", "average"):
        assert word in lost
    load_weights(predict2.on_meta(), run.model, PREDICT2, dtype=None)


def test_a_pointer_to_files_that_were_never_written_is_survived(predict2, tmp_path: Path):
    original_run(tmp_path, predict2, [500], 1000)
    run = find_native(tmp_path)
    assert run.iteration == 500
    assert "names 'iter_000001000.pt', which is not in model/" in run.warnings[0]


def test_a_model_file_cut_short_is_passed_over(predict2, tmp_path: Path):
    original_run(tmp_path, predict2, [500, 1000], 1000)
    broken = tmp_path / "model" / "iter_000001000.pt"
    broken.write_bytes(broken.read_bytes()[:1000])
    run = find_native(tmp_path)
    assert run.iteration == 500
    assert "iter_000001000.pt is passed over" in run.warnings[0]


def test_a_trainer_file_of_another_iteration_is_not_believed(predict2, tmp_path: Path):
    original_run(tmp_path, predict2, [500, 1000], 1000)
    (tmp_path / "trainer" / "iter_000000500.pt").replace(tmp_path / "trainer" / "iter_000001000.pt")
    run = find_native(tmp_path)
    assert run.iteration == 500
    assert "is of iteration 500, its name of 1000" in run.warnings[0]


def test_a_folder_without_native_files_has_none_and_damaged_ones_are_an_error(
    predict2, tmp_path: Path
):
    assert find_native(tmp_path) is None
    original_run(tmp_path, predict2, [500], 500)
    (tmp_path / "model" / "iter_000000500.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"No model file in .* is whole.\n.*passed over"):
        find_native(tmp_path)

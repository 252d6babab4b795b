"""Joining tensor-parallel parts into files that are read whole."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checkpoint.disks import QuickDisk
from tests.checkpoint.published_files import Tensors, few_entries, same_file, save_run
from tests.reference.tensor_parallel import part_of
from worldtune.checkpoint.join import JoinReport, join_parts, output_folder
from worldtune.checkpoint.split import split_weights
from worldtune.errors import CheckpointError

STEM = "iter_000000100"
BUFFERS = ("net.pos_embedder.seq", "logvar.0.freqs", "logvar.0.phases")


def join(path: Path, folder: Path | None = None, **options) -> JoinReport:
    return join_parts(path, folder, disk=QuickDisk(), **options)


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("run") / "EXPERIMENT" / "checkpoints"
    weights, average = save_run(folder, 2)
    return folder, weights, average


@pytest.fixture
def run(two_parts, tmp_path: Path):
    """A folder of its own with links to the same parts."""
    folder, weights, average = two_parts
    copy = tmp_path / "EXPERIMENT" / "checkpoints"
    shutil.copytree(folder, copy, copy_function=os.link)
    return copy, weights, average


def dotted(average: Tensors) -> Tensors:
    return {name.replace("-", "."): tensor for name, tensor in average.items()}


def without_base(weights: Tensors) -> Tensors:
    return {name: w for name, w in weights.items() if not name.startswith("base_model")}


def test_without_the_base_the_branch_and_its_average_are_joined(run):
    folder, weights, average = run
    report = join(folder / f"{STEM}.pt")

    target = folder.parent / "fsdp_checkpoints"
    assert report.weights == target / f"{STEM}_reg_model.pt"
    assert report.average == target / f"{STEM}_ema_model.pt"
    same_file(report.weights, without_base(weights))
    beside = {name: weights[name] for name in BUFFERS}
    same_file(report.average, dotted(average) | beside)
    assert (report.size, report.notices) == (2, ())


def test_without_the_base_the_average_has_the_converter_s_name_too(run):
    folder, _, _ = run
    report = join(folder / f"{STEM}.pt")

    assert report.also == report.average.with_name(f"{STEM}_ema_model_only.pt")
    assert report.also.samefile(report.average)


def test_where_the_disk_knows_no_links_the_average_is_copied(run):
    class NoLinks(QuickDisk):
        def link(self, old: Path, new: Path) -> None:
            raise PermissionError("Operation not permitted")

    folder, _, _ = run
    report = join_parts(folder / f"{STEM}.pt", disk=NoLinks())

    assert not report.also.samefile(report.average)
    assert report.also.read_bytes() == report.average.read_bytes()
    assert join(folder / f"{STEM}.pt").converted.written == ()


def test_with_the_base_both_files_hold_it(run):
    folder, weights, average = run
    report = join(folder / f"{STEM}.pt", include_base_model=True)

    frozen = {name: w for name, w in weights.items() if name.startswith("base_model.")}
    beside = {name: weights[name] for name in BUFFERS}
    same_file(report.weights, weights)
    same_file(report.average, dotted(average) | beside | frozen)
    assert report.also is None
    assert not (report.average.with_name(f"{STEM}_ema_model_only.pt")).exists()


def test_averages_stay_float32_bit_for_bit(run):
    """Rounded through bfloat16 they would be other numbers."""
    folder, _, average = run
    found = torch.load(join(folder / f"{STEM}.pt").average, weights_only=True)

    for name, tensor in dotted(average).items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor)
        assert not torch.equal(found[name].bfloat16().float(), tensor)


def test_a_part_a_master_and_a_star_mean_the_same_parts(run, tmp_path: Path):
    folder, _, _ = run
    for number, name in enumerate((f"{STEM}_model_mp_1.pt", f"{STEM}_model_mp_*.pt")):
        report = join(folder / name, tmp_path / str(number))
        assert report.size == 2
        assert report.checkpoint == folder / f"{STEM}.pt"


def test_parts_without_a_master_are_joined(run):
    folder, weights, _ = run
    (folder / f"{STEM}.pt").unlink()

    same_file(join(folder / f"{STEM}_model_mp_0.pt").weights, without_base(weights))


def test_parts_without_an_average_give_the_weights_alone(tmp_path: Path):
    whole = few_entries()
    torch.save(whole, tmp_path / "base_model.pt")
    parts = split_weights(tmp_path / "base_model.pt", 4, disk=QuickDisk()).parts
    report = join(parts[2])

    assert report.weights == tmp_path / "fsdp_checkpoints" / "base_model_reg_model.pt"
    same_file(report.weights, whole)
    assert (report.average, report.also) == (None, None)
    assert report.notices == ("The parts hold no average: only the weights were joined.",)
    assert len(list(report.weights.parent.iterdir())) == 1


def bits(shape: list[int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, [*shape, dtype.itemsize], generator=generator, dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12]),
    heads_of_a_part=st.integers(1, 3),
    head=st.integers(1, 5),
    dtype=st.sampled_from([torch.bfloat16, torch.float32, torch.float16]),
    blocks=st.integers(1, 2),
)
def test_there_and_back_gives_equal_bits(
    tmp_path_factory, size: int, heads_of_a_part: int, head: int, dtype, blocks: int
):
    """Any width, any bits (NaNs too), any number of parts that divides."""
    width = size * heads_of_a_part * head
    shapes: dict[str, list[int]] = {"net.x_embedder.proj.1.weight": [width, 5]}
    for block in range(blocks):
        name = f"net.blocks.block{block}.blocks."
        shapes[f"{name}0.block.attn.to_q.1.weight"] = [head]
        for layer in ("to_q", "to_k", "to_v", "to_out"):
            shapes[f"{name}0.block.attn.{layer}.0.weight"] = [width, width]
        shapes[f"{name}1.block.attn.to_k.0.weight"] = [width, 7]
        shapes[f"{name}2.block.layer1.weight"] = [3 * width, width]
        shapes[f"{name}2.block.layer2.weight"] = [width, 3 * width]
    whole = {name: bits(shape, dtype, seed) for seed, (name, shape) in enumerate(shapes.items())}
    folder = tmp_path_factory.mktemp("there")
    torch.save(whole, folder / "w.pt")

    parts = split_weights(folder / "w.pt", size, disk=QuickDisk()).parts
    back = torch.load(join(parts[0]).weights, weights_only=True)
    assert list(back) == list(whole)
    for name, tensor in whole.items():
        assert back[name].dtype == dtype
        assert torch.equal(back[name].view(torch.uint8), tensor.view(torch.uint8))


def change(path: Path, edit) -> None:
    """Save a part again with something in it changed; others may be links to one file."""
    content = torch.load(path, weights_only=True)
    edit(content)
    path.unlink()
    torch.save(content, path)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_part_is_named(run, missing: int):
    folder, _, _ = run
    (folder / f"{STEM}_model_mp_{missing}.pt").unlink()

    with pytest.raises(
        CheckpointError, match=rf"one of 2 parts.*missing.*: {STEM}_model_mp_{missing}\.pt"
    ):
        join(folder / f"{STEM}.pt")


def test_a_part_too_many_is_named(run):
    folder, _, _ = run
    shutil.copy(folder / f"{STEM}_model_mp_1.pt", folder / f"{STEM}_model_mp_2.pt")

    with pytest.raises(CheckpointError, match=rf"too many \(1\): {STEM}_model_mp_2\.pt"):
        join(folder / f"{STEM}.pt")


def test_a_part_of_another_size_is_named(run, tmp_path: Path):
    folder, _, _ = run
    save_run(tmp_path / "four", 4)
    (folder / f"{STEM}_model_mp_1.pt").unlink()
    shutil.copy(tmp_path / "four" / f"{STEM}_model_mp_1.pt", folder)

    with pytest.raises(CheckpointError, match=rf"not of one split.*\n.*{STEM}_model_mp_1.pt: .*to"):
        join(folder / f"{STEM}.pt")


def test_a_part_of_another_iteration_is_named(run):
    folder, _, _ = run
    part = folder / f"{STEM}_model_mp_1.pt"
    change(part, lambda content: content["trained_data_record"].update(iteration=80))

    with pytest.raises(CheckpointError, match=r"mp_1.pt: is of iteration 80, and 100 there"):
        join(folder / f"{STEM}.pt")


def test_a_master_of_another_iteration_is_told(run):
    folder, _, _ = run
    change(folder / f"{STEM}.pt", lambda content: content.update(iteration=80))

    with pytest.raises(CheckpointError, match=r"tells iteration 80"):
        join(folder / f"{STEM}.pt")


def test_a_part_with_another_name_in_it_is_told(run):
    folder, _, _ = run

    def rename(content: dict) -> None:
        content["model"]["net.affline_norm.bias"] = content["model"].pop("net.affline_norm.weight")

    change(folder / f"{STEM}_model_mp_1.pt", rename)
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors: net.affline_norm.weight"):
        join(folder / f"{STEM}.pt")


def test_a_whole_file_needs_no_joining(tmp_path: Path):
    torch.save(few_entries(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="there is nothing to join"):
        join(tmp_path / "w.pt")


def test_a_part_of_the_optimizer_s_state_is_told_from_weights(run):
    folder, _, _ = run
    with pytest.raises(CheckpointError, match=r"optim's state, no weights.*iter_000000100"):
        join(folder / f"{STEM}_optim_mp_0.pt")


def test_a_folder_is_answered_with_the_checkpoints_in_it(run):
    folder, _, _ = run
    with pytest.raises(CheckpointError, match=rf"is a folder. Give.*{STEM}\.pt"):
        join(folder)


def test_a_checkpoint_that_is_not_there_is_answered_with_a_near_name(run):
    folder, _, _ = run
    with pytest.raises(CheckpointError, match=rf"Did you mean '{STEM}.pt'"):
        join(folder / "iter_000000010.pt")


def test_a_base_that_parts_do_not_hold_cannot_be_included(tmp_path: Path):
    torch.save(few_entries(), tmp_path / "w.pt")
    parts = split_weights(tmp_path / "w.pt", 2, disk=QuickDisk()).parts

    with pytest.raises(CheckpointError, match="holds no frozen base"):
        join(parts[0], include_base_model=True)


def drift(content: dict) -> None:
    """As when each process draws its own weights for a fresh branch."""
    content["model"]["net.x_embedder2.proj.1.weight"][0, 0] += 1
    content["ema"]["net-input_hint_block-0-weight"][0, 0] += 1


def test_replicas_that_differ_are_named_with_how_far_they_are(run):
    folder, _, _ = run
    change(folder / f"{STEM}_model_mp_1.pt", drift)

    with pytest.raises(CheckpointError) as caught:
        join(folder / f"{STEM}.pt")
    message = str(caught.value)
    assert "net.x_embedder2.proj.1.weight (by up to 0." in message
    assert "net.input_hint_block.0.weight (by up to 0." in message
    assert "(2):" in message
    assert "--allow-different-replicas" in message
    assert not (folder.parent / "fsdp_checkpoints").exists()


def test_a_base_that_is_left_out_may_differ(run):
    folder, weights, _ = run

    def drift_of_base(content: dict) -> None:
        content["model"]["base_model.net.affline_norm.weight"][0] += 1

    change(folder / f"{STEM}_model_mp_1.pt", drift_of_base)
    same_file(join(folder / f"{STEM}.pt").weights, without_base(weights))
    with pytest.raises(CheckpointError, match=r"differ.*\n.*base_model.net.affline_norm.weight"):
        join(folder / f"{STEM}.pt", include_base_model=True, force=True)


def test_replicas_of_files_without_checksums_are_compared_by_their_bits(tmp_path: Path):
    whole = few_entries()
    for rank in range(2):
        part = {"model": part_of(whole, rank, 2), "ema": None}
        part["model"]["net.zero_blocks.block0.bias"][3] += rank
        name = tmp_path / "parts" / f"w_model_mp_{rank}.pt"
        name.parent.mkdir(exist_ok=True)
        torch.save(part, name, _use_new_zipfile_serialization=False)

    with pytest.raises(CheckpointError, match=r"differ.*\n.*net.zero_blocks.block0.bias"):
        join(tmp_path / "parts" / "w_model_mp_0.pt")
    assert not list((tmp_path / "fsdp_checkpoints").glob("*.pt"))


def test_of_different_replicas_the_first_part_s_are_taken_when_asked_for(run):
    folder, weights, _ = run
    change(folder / f"{STEM}_model_mp_1.pt", drift)
    report = join(folder / f"{STEM}.pt", allow_different_replicas=True)

    same_file(report.weights, without_base(weights))
    assert report.notices == ("2 weights differ between parts; those of part 0 were taken.",)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/c/group/EXP/checkpoints/iter_000000100.pt", "/c/group/EXP/fsdp_checkpoints"),
        ("/c/checkpoints/EXP/checkpoints/iter_1.pt", "/c/checkpoints/EXP/fsdp_checkpoints"),
        ("/c/EXP/checkpoints/old/iter_1_model_mp_0.pt", "/c/EXP/fsdp_checkpoints/old"),
    ],
)
def test_files_go_into_the_experiment_s_fsdp_checkpoints(path: str, expected: str):
    assert output_folder(Path(path), "EXP") == Path(expected)


def test_without_an_experiment_files_go_beside_the_parts_folder():
    assert output_folder(Path("/c/w/checkpoints_tp/a.pt"), None) == Path("/c/w/fsdp_checkpoints")


def test_a_path_from_here_is_answered_with_a_path_from_here(run, monkeypatch):
    folder, _, _ = run
    monkeypatch.chdir(folder.parent.parent)
    report = join(Path(f"EXPERIMENT/checkpoints/{STEM}.pt"), experiment="EXPERIMENT")

    assert report.weights == Path(f"EXPERIMENT/fsdp_checkpoints/{STEM}_reg_model.pt")
    monkeypatch.chdir(folder)
    assert join(Path(f"{STEM}.pt")).weights == Path(f"../fsdp_checkpoints/{STEM}_reg_model.pt")


def test_a_path_of_another_experiment_is_refused(run):
    folder, _, _ = run
    with pytest.raises(CheckpointError, match=r"no checkpoint of experiment OTHER.*OTHER/checkp"):
        join(folder / f"{STEM}.pt", experiment="OTHER")


def test_with_a_folder_given_another_experiment_s_path_gets_a_notice(run, tmp_path: Path):
    folder, _, _ = run
    report = join(folder / f"{STEM}.pt", tmp_path / "out", experiment="OTHER")

    assert report.weights.parent == tmp_path / "out"
    assert len(report.notices) == 1
    assert "no folder OTHER" in report.notices[0]

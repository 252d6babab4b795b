"""What a file is told to be, at once and without its data."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.checkpoint.conftest import PREDICT2_TINY, TRANSFER1_TINY, Maker
from tests.checkpoint.disks import QuickDisk
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.inspect import describe
from worldtune.checkpoint.names import PREDICT2, TRANSFER1, NameTable
from worldtune.checkpoint.native import NativeModel, write_native
from worldtune.checkpoint.shapes import Sizes, network_shapes
from worldtune.checkpoint.state import write_state
from worldtune.checkpoint.torch_pickle import Planned
from worldtune.checkpoint.torch_writer import write_torch_file
from worldtune.cli.main import run
from worldtune.errors import CheckpointError, ExitStatus

MULTI_VIEW = replace(
    TRANSFER1_TINY,
    condition_mask=True,
    view_channels=6,
    num_view_embeddings=7,
    repeat_frame_embedding=True,
    position_table="sincos",
)
LOGVAR = {"logvar.0.freqs": torch.ones(4), "logvar.1.weight": torch.ones(1, 4)}


def published(sizes: Sizes, table: NameTable, prefix: str = "net.") -> dict[str, Tensor]:
    """Entries of a network's file; no memory is taken, for one value stands for all."""
    zero = torch.zeros((), dtype=torch.bfloat16)
    shapes = {f"{prefix}{table.to_file(n)}": shape for n, shape in network_shapes(sizes).items()}
    rebuilt = {f"{prefix}{name}": tensor for name, tensor in table.rebuilt(sizes.config).items()}
    return {name: zero.expand(shape).clone() for name, shape in shapes.items()} | rebuilt


def save(tensors: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)
    return path


def told(path: Path) -> str:
    return "\n".join(describe(path).lines())


def test_a_predict2_file_is_told_with_network_and_average(tmp_path: Path):
    entries = published(Sizes(PREDICT2_TINY), PREDICT2)
    entries |= {
        name: tensor.float()
        for name, tensor in published(Sizes(PREDICT2_TINY), PREDICT2, "net_ema.").items()
    }
    description = describe(save(entries, tmp_path / "iter_000000500.pt"))
    assert description.kind == "network and its average"
    assert description.iteration == 500
    assert [network.role for network in description.networks] == ["network", "average"]
    assert [list(network.dtypes) for network in description.networks] == [["bfloat16"], ["float32"]]
    assert all(network.complete and network.expected == 47 for network in description.networks)
    assert description.beside == {"made anew when the network is built": 14}
    assert description.networks[0].sizes == {
        "width": 32,
        "blocks": 2,
        "heads": 2,
        "MLP": 128,
        "text": 16,
        "input channels": 18,
    }


BRANCH = replace(TRANSFER1_TINY, num_blocks=1)
TRANSFER1_FILES: dict[str, tuple[Sizes, str, str]] = {
    "base": (Sizes(TRANSFER1_TINY), "network", "Transfer1 Sample-AV, one camera base"),
    "branch": (Sizes(BRANCH, 16), "control branch", "one camera: control branch of 1 blocks"),
    "several cameras": (Sizes(MULTI_VIEW), "network", "Transfer1 Single2MultiView base"),
}


@pytest.mark.parametrize("case", TRANSFER1_FILES)
def test_a_transfer1_file_is_told_base_from_branch_and_one_camera_from_several(
    tmp_path: Path, case: str
):
    sizes, kind, title = TRANSFER1_FILES[case]
    description = describe(save(published(sizes, TRANSFER1) | LOGVAR, tmp_path / "a.pt"))
    assert description.kind == kind
    assert title in description.networks[0].title
    assert description.networks[0].complete
    assert description.beside["of the objective (log-variance)"] == 2


PUBLISHED_SIZES = {
    "2B": (2048, 16, 28, 1_956_413_440),
    "14B": (5120, 40, 36, 14_265_285_632),
}


@pytest.mark.parametrize("size", PUBLISHED_SIZES)
def test_a_published_size_is_told_by_name_in_less_than_two_seconds(tmp_path: Path, size: str):
    """A file of the true size with holes, by the command in a process of its own."""
    width, heads, blocks, count = PUBLISHED_SIZES[size]
    config = replace(
        PREDICT2_TINY,
        model_channels=width,
        num_heads=heads,
        num_blocks=blocks,
        text_channels=1024,
        adaln_lora_dim=256,
    )
    path = tmp_path / "model.safetensors"
    write_hollow(path, Sizes(config), PREDICT2)
    words = [sys.executable, "-m", "worldtune.cli.main", "inspect", "--json", str(path)]
    start = perf_counter()
    answer = subprocess.run(words, capture_output=True, text=True)
    seconds = perf_counter() - start
    network = json.loads(answer.stdout)["networks"][0]
    assert network["title"] == f"Predict2 Video2World, {size}"
    assert network["parameters"] == count
    assert network["complete"]
    assert seconds < 2


def write_hollow(path: Path, sizes: Sizes, table: NameTable) -> None:
    """A safetensors file whose data is a hole."""
    rows, offset = {}, 0
    for name, shape in network_shapes(sizes).items():
        end = offset + TensorEntry(shape, "bfloat16").nbytes
        rows[f"net.{table.to_file(name)}"] = {
            "dtype": "BF16",
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(rows).encode()
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + offset)


def test_a_file_that_lacks_a_tensor_is_told_to_be_incomplete_by_name(tmp_path: Path):
    entries = published(Sizes(PREDICT2_TINY), PREDICT2)
    del entries["net.blocks.0.mlp.layer1.weight"]
    entries["net.final_layer.linear.weight"] = torch.ones(3, 5)
    entries["net.blocks.0.novelty.weight"] = torch.ones(1)
    lines = told(save(entries, tmp_path / "a.pt"))
    assert "46 of 47 tensors, not complete" in lines
    assert "missing (1): net.blocks.0.mlp.layer1.weight" in lines
    assert "extra (1): net.blocks.0.novelty.weight" in lines
    assert "of another shape (1): net.final_layer.linear.weight is [3, 5]" in lines


def test_lost_blocks_of_a_published_width_are_hinted_at(tmp_path: Path):
    config = replace(PREDICT2_TINY, model_channels=2048, num_heads=16, num_blocks=1)
    write_hollow(tmp_path / "a.safetensors", Sizes(config), PREDICT2)
    assert "published one of this width has 28 blocks" in told(tmp_path / "a.safetensors")


def test_an_adapter_is_told_by_rank_and_targets(tmp_path: Path):
    entries = published(Sizes(PREDICT2_TINY), PREDICT2)
    for layer in ("blocks.0.self_attn.q_proj", "blocks.0.mlp.layer2"):
        entries[f"net.{layer}.base_layer.weight"] = entries.pop(f"net.{layer}.weight")
        entries[f"net.{layer}.lora_A.default.weight"] = torch.ones(4, 32)
        entries[f"net.{layer}.lora_B.default.weight"] = torch.ones(32, 4)
    description = describe(save(entries, tmp_path / "a.pt"))
    (network,) = description.networks
    assert (network.adapter_rank, network.adapter_targets) == ((4,), ("q_proj", "mlp.layer2"))
    assert network.complete
    assert "rank 4 on q_proj,mlp.layer2; its alpha is not in the file" in told(tmp_path / "a.pt")


def test_a_tensor_parallel_part_is_told_with_its_number(tmp_path: Path):
    for part in range(2):
        model = published(Sizes(TRANSFER1_TINY, parts=2), TRANSFER1)
        average = {name.replace(".", "-"): t for name, t in model.items() if "seq" not in name}
        frozen = published(Sizes(TRANSFER1_TINY, parts=2), TRANSFER1, "base_model.net.")
        content = {"model": model | LOGVAR | frozen, "ema": average}
        save(content, tmp_path / f"iter_000000040_model_mp_{part}.pt")
    description = describe(tmp_path / "iter_000000040_model_mp_1.pt")
    assert description.part == (1, 2)
    assert description.kind == "network and its average and frozen base"
    assert all(network.parts == 2 and network.complete for network in description.networks)
    folder = told(tmp_path)
    assert "tensor-parallel parts" in folder
    assert "iter_000000040: 2 of 2 parts" in folder
    (tmp_path / "iter_000000040_model_mp_0.pt").unlink()
    assert "1 of 2 parts, missing 0" in told(tmp_path)


OTHERS: dict[str, tuple[dict[str, object], str]] = {
    "diffusers": (
        {"transformer_blocks.0.attn1.to_q.weight": torch.ones(1)},
        "diffusers transformer",
    ),
    "tokenizer": ({"encoder.downsamples.0.bias": torch.ones(1)}, "video tokenizer (Wan 2.1)"),
    "text": ({"encoder.block.0.layer.0.bias": torch.ones(1)}, "text encoder (T5)"),
    "optimizer": (
        {"state": {"pipe.dit.x": {"exp_avg": torch.ones(1)}}, "param_groups": []},
        "optimizer state of the publishers' trainer",
    ),
    "schedule": ({"base_lrs": [0.1], "last_epoch": 7}, "schedule of the publishers' trainer"),
    "marker": ({"grad_scaler": {}, "iteration": 7}, "trainer's marker of an iteration"),
    "adapters": (
        {"net.blocks.0.self_attn.q_proj.lora_A.default.weight": torch.ones(1, 2)},
        "adapters without their network",
    ),
    "unknown": ({"stem.conv.weight": torch.ones(2)}, "weights of an unknown network"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_recognised_or_what_was_seen_is_told(tmp_path: Path, case: str):
    content, kind = OTHERS[case]
    description = describe(save(content, tmp_path / "a.pt"))
    assert description.kind == kind
    if case == "unknown":
        assert description.notes == ("1 tensors (1 float32), names stem.* (1)",)
    if case in ("schedule", "marker"):
        assert description.iteration == 7


def tiny_state(folder: Path, iteration: int) -> None:
    sections = {
        "weights": {"a": torch.ones(3, dtype=torch.bfloat16)},
        "masters": {"a": torch.ones(3)},
    }
    write_state(folder, iteration, sections, {"schedule": 1}, disk=QuickDisk())


def test_a_training_state_is_told_with_its_sections(tmp_path: Path):
    tiny_state(tmp_path, 500)
    lines = told(tmp_path / "iter_000000500")
    assert "iter_000000500: training state" in lines
    assert "iteration 500" in lines
    assert "weights: 1 bfloat16, 6 bytes" in lines
    assert "beside the tensors: schedule" in lines


def test_a_run_is_told_with_states_published_files_and_pointers(predict2: Maker, tmp_path: Path):
    checkpoints = tmp_path / "run" / "checkpoints"
    for iteration in (400, 500):
        tiny_state(checkpoints / "state", iteration)
    model = NativeModel(PREDICT2, predict2.config, predict2.network().state_dict())
    write_native(checkpoints, 500, "model", model, disk=QuickDisk())
    lines = told(tmp_path / "run")
    assert "run: run" in lines
    assert "2 states: iter_000000400, iter_000000500" in lines
    assert "published files: iter_000000500" in lines
    assert "47 of 47 tensors, complete; 47 bfloat16" in lines


def test_a_damaged_state_is_told_and_found_by_reading_all(tmp_path: Path):
    tiny_state(tmp_path, 400)
    tiny_state(tmp_path, 500)
    shard = next((tmp_path / "iter_000000500").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert describe(tmp_path).iteration == 500
    verified = describe(tmp_path, verify=True)
    assert verified.iteration == 400
    assert "iter_000000500 is passed over" in verified.notes[1]
    with pytest.raises(CheckpointError, match="is damaged"):
        describe(tmp_path / "iter_000000500", verify=True)


def test_verifying_a_file_finds_damaged_data(tmp_path: Path):
    path = save({"net.w": torch.full((64,), 3.0)}, tmp_path / "a.pt")
    path.write_bytes(path.read_bytes().replace(b"\x00\x00\x40\x40", b"\x00\x00\x40\x41", 1))
    describe(path)
    with pytest.raises(CheckpointError, match="has checksum"):
        describe(path, verify=True)


def test_a_folder_of_several_files_tells_each_and_hides_none_behind_a_damaged_one(tmp_path: Path):
    save(published(Sizes(TRANSFER1_TINY), TRANSFER1), tmp_path / "base_model.pt")
    save(published(Sizes(BRANCH, 16), TRANSFER1), tmp_path / "hdmap_control.pt")
    (tmp_path / "lidar_control.pt").write_bytes(b"<!doctype html>")
    lines = told(tmp_path)
    assert "folder of 3 files of weights" in lines
    assert "base_model.pt: network" in lines
    assert "hdmap_control.pt: control branch" in lines
    assert "a web page, saved in its place" in lines


def test_shards_are_told_as_one_network(tmp_path: Path):
    entries = published(Sizes(PREDICT2_TINY), PREDICT2)
    names = list(entries)
    where = {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: entries[name] for name in part}, tmp_path / shard)
        where |= dict.fromkeys(part, shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert describe(tmp_path).networks[0].complete


def test_an_absent_path_names_the_command_that_fetches_it(tmp_path: Path):
    path = tmp_path / "nvidia" / "Cosmos-Transfer1-7B-Sample-AV" / "base_model.pt"
    with pytest.raises(CheckpointError, match="hf download"):
        describe(path)


def test_the_command_answers_people_and_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = save(published(Sizes(PREDICT2_TINY), PREDICT2), tmp_path / "a.pt")
    assert run(["inspect", str(path)]) == ExitStatus.DONE
    assert "47 of 47 tensors, complete" in capsys.readouterr().out
    assert run(["inspect", "--json", "--verify", str(path)]) == ExitStatus.DONE
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == "network"
    assert answer["networks"][0]["complete"] is True
    assert answer["path"] == str(path)


def test_the_command_ends_a_mistake_with_a_message_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.pt").write_bytes(b"")
    assert run(["inspect", str(tmp_path / "a.pt")]) == ExitStatus.MISTAKE
    assert "it is empty" in capsys.readouterr().err


def test_describing_needs_no_torch(tmp_path: Path):
    tiny_state(tmp_path / "state", 1)
    write_torch_file(
        tmp_path / "a.pt",
        {"net.w": Planned(TensorEntry((2,), "float32"), lambda: torch.ones(2))},
    )
    program = (
        "import sys; from worldtune.checkpoint.inspect import describe;"
        f"describe({str(tmp_path / 'a.pt')!r}, verify=True); describe({str(tmp_path / 'state')!r});"
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout.strip() == "False", out.stderr

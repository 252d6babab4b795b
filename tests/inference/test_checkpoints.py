"""Which weights a path means, that they are loaded strictly, and what they were trained with."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.inference.recipes import TINY_NET, tiny_recipe
from worldtune.checkpoint import sections
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import NativeModel, write_native
from worldtune.checkpoint.state import write_state
from worldtune.config.files import write_config
from worldtune.errors import CheckpointError
from worldtune.inference import pieces
from worldtune.inference.checkpoints import check_pieces, find_checkpoint, load_network
from worldtune.models.build import build


@pytest.fixture(scope="module")
def recipe():
    return tiny_recipe()


@pytest.fixture(scope="module")
def drawn(recipe):
    """Weights of the tiny network by the seed they are drawn from."""
    config = pieces.network_config(recipe)
    return lambda seed: build(config, seed=seed).state_dict()


@pytest.fixture
def native_run(tmp_path, recipe, drawn) -> Path:
    """A run with published files only: iterations 5 and 10, no average in the older."""
    folder = tmp_path / "native"
    write_config(folder, recipe)
    config = pieces.network_config(recipe)
    for iteration, average in ((5, None), (10, drawn(4))):
        model = NativeModel(PREDICT2, config, drawn(iteration), average)
        write_native(folder / "checkpoints", iteration, "model", model)
    return folder


def loaded(path, recipe, **how):
    return load_network(find_checkpoint(path), recipe, device="cpu", **how)


def same(network, weights) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_a_run_gives_the_average_of_its_latest_state(tiny_run, recipe, drawn):
    checkpoint = find_checkpoint(tiny_run)
    network = load_network(checkpoint, recipe, device="cpu")

    assert checkpoint.path == tiny_run / "checkpoints" / "state" / "iter_000000007"
    assert checkpoint.config == tiny_run / "config.yaml"
    assert network.which == "average"
    assert same(network.network, drawn(2))
    assert network.report == f"47 of 47 tensors from {checkpoint.path} (average, iteration 7)"
    assert not any(weight.requires_grad for weight in network.network.parameters())


def test_the_network_itself_is_given_where_it_is_asked_for(tiny_run, recipe, drawn):
    network = loaded(tiny_run, recipe, average=False)

    assert network.which == "network"
    assert same(network.network, drawn(1))


@pytest.mark.parametrize("inside", ["checkpoints", "checkpoints/state/iter_000000007"])
def test_a_path_inside_a_run_belongs_to_it(tiny_run, inside):
    assert find_checkpoint(tiny_run / inside) == find_checkpoint(tiny_run)


def test_a_run_is_known_from_inside_it(tiny_run, monkeypatch):
    monkeypatch.chdir(tiny_run)
    here = find_checkpoint(Path("."))

    assert here.path.resolve() == find_checkpoint(tiny_run).path.resolve()
    assert here.config is not None
    assert here.config.is_file()


def test_weights_are_cast_to_the_recipes_precision(tiny_run, drawn):
    network = loaded(tiny_run, tiny_recipe(precision="bfloat16")).network

    rounded = {name: value.bfloat16() for name, value in drawn(2).items()}
    assert same(network, rounded)


def test_an_average_that_is_not_kept_is_an_error_only_where_it_is_asked_for(
    tmp_path, recipe, drawn
):
    write_config(tmp_path, recipe)
    write_state(tmp_path / "checkpoints" / "state", 1, {sections.MASTERS: drawn(1)}, {})

    assert loaded(tmp_path, recipe).which == "network"
    with pytest.raises(CheckpointError, match="keeps no average; leave out --ema"):
        loaded(tmp_path, recipe, average=True)


def test_a_damaged_state_is_passed_over_and_told(tmp_path, tiny_run, drawn):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    states = run / "checkpoints" / "state"
    write_state(states, 9, {sections.MASTERS: drawn(3)}, {})
    shard = next((states / "iter_000000009").glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    checkpoint = find_checkpoint(run)

    assert checkpoint.path.name == "iter_000000007"
    assert any("iter_000000009 is passed over" in notice for notice in checkpoint.notices)
    with pytest.raises(CheckpointError, match="is damaged"):
        find_checkpoint(states / "iter_000000009")


def test_a_state_of_another_network_is_told_by_name(tiny_run):
    other = tiny_recipe({"net": TINY_NET | {"num_blocks": 3, "adaln_lora_dim": 8}})
    with pytest.raises(CheckpointError) as told:
        loaded(tiny_run, other)

    text = str(told.value)
    assert "does not fit the network of the settings" in text
    assert "missing in the state: blocks.2.adaln_modulation_cross_attn.1.weight" in text
    assert "and" in text.splitlines()[-1]
    assert "more" in text.splitlines()[-1]


def test_shapes_and_extra_names_of_a_state_are_told(tiny_run):
    fewer = tiny_recipe({"net": TINY_NET | {"num_blocks": 1}})
    with pytest.raises(CheckpointError, match=r"extra in the state: blocks\.1\."):
        loaded(tiny_run, fewer)
    other = tiny_recipe({"net": TINY_NET | {"adaln_lora_dim": 8}})
    with pytest.raises(CheckpointError, match=r"is \[16, 64\] in the state and \[8, 64\]"):
        loaded(tiny_run, other)


def test_a_run_with_published_files_gives_the_newest(native_run, recipe, drawn):
    checkpoint = find_checkpoint(native_run)
    network = load_network(checkpoint, recipe, device="cpu")

    assert checkpoint.path == native_run / "checkpoints" / "model" / "iter_000000010.pt"
    assert checkpoint.config == native_run / "config.yaml"
    assert network.which == "average"
    assert same(network.network, drawn(4))
    assert network.report.startswith(f"47 of 47 tensors from {checkpoint.path} (average")


def test_a_published_file_of_a_run_can_be_named(native_run, recipe, drawn):
    path = native_run / "checkpoints" / "model" / "iter_000000005.pt"
    network = loaded(path, recipe)

    assert find_checkpoint(path).config == native_run / "config.yaml"
    assert network.which == "network"
    # A published file keeps the network in bfloat16.
    assert same(network.network, {n: w.bfloat16().float() for n, w in drawn(5).items()})


def test_a_file_by_itself_belongs_to_no_run(tmp_path, recipe, drawn):
    path = tmp_path / "weights.safetensors"
    save_file({f"net.{name}": value for name, value in drawn(6).items()}, path)
    checkpoint = find_checkpoint(path)

    assert (checkpoint.run, checkpoint.config, checkpoint.recorded) == (None, None, {})
    assert same(load_network(checkpoint, recipe, device="cpu").network, drawn(6))


def test_a_file_without_all_names_is_refused(tmp_path, recipe, drawn):
    weights = drawn(6)
    weights.pop("final_layer.linear.weight")
    save_file(weights, tmp_path / "weights.safetensors")

    with pytest.raises(CheckpointError, match=r"46 of 47 tensors fit"):
        loaded(tmp_path / "weights.safetensors", recipe)


def test_a_published_file_that_is_not_there_names_the_command_that_fetches_it():
    with pytest.raises(CheckpointError, match="hf download nvidia/Cosmos-Predict2-2B-Video2World"):
        find_checkpoint(Path("checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/model.pt"))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"is neither a run \(it holds no config.yaml\)"):
        find_checkpoint(tmp_path)


def test_a_run_that_saved_nothing_is_refused(tmp_path, recipe):
    write_config(tmp_path, recipe)

    with pytest.raises(CheckpointError, match="holds no whole state and no file of weights"):
        find_checkpoint(tmp_path)


def test_whole_weights_are_whole_whatever_the_recipe_trained(tiny_run, drawn):
    """Such as a LoRA run's recipe, beside weights that its adapters were merged into."""
    assert same(loaded(tiny_run, tiny_recipe(train_architecture="lora")).network, drawn(2))


def test_the_checkpoints_sum_is_of_the_file_or_the_manifest_or_all_shards(tmp_path, tiny_run):
    def sum_of(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    manifest = find_checkpoint(tiny_run).path / "manifest.json"
    assert find_checkpoint(tiny_run).sha256() == sum_of(manifest.read_bytes())

    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    one = tmp_path / "one.safetensors"
    assert find_checkpoint(one).sha256() == sum_of(one.read_bytes())

    save_file({"b": torch.ones(3)}, tmp_path / "two.safetensors")
    sums = [sum_of((tmp_path / f"{name}.safetensors").read_bytes()) for name in ("one", "two")]
    assert find_checkpoint(tmp_path).sha256() == sum_of("\n".join(sums).encode())


def test_the_pieces_that_a_run_was_trained_with_are_expected(tiny_run):
    checkpoint = find_checkpoint(tiny_run)
    recorded = {
        key: (told["name"], told["fingerprint"]) for key, told in checkpoint.recorded.items()
    }
    check_pieces(checkpoint, recorded)

    with pytest.raises(CheckpointError) as told:
        check_pieces(checkpoint, {"tokenizer": ("wan", "00"), "text_encoder": ("t5", "11")})
    lines = str(told.value).splitlines()
    assert lines[0].startswith("the tokenizer is wan (00), and ")
    assert "was trained with builtin (" in lines[0]
    assert lines[1].startswith("the text encoder is t5 (11), and ")


def test_stored_embeddings_are_known_by_their_encoders_name_only(tmp_path, drawn):
    info = {sections.TEXT_ENCODER: {"name": "t5", "fingerprint": "stored embeddings"}}
    state = write_state(tmp_path / "state", 1, {sections.MASTERS: drawn(1)}, info)
    checkpoint = find_checkpoint(state.path)

    check_pieces(checkpoint, {"text_encoder": ("t5", "any")})
    with pytest.raises(CheckpointError, match="the text encoder is builtin"):
        check_pieces(checkpoint, {"text_encoder": ("builtin", "any")})


def test_a_file_is_taken_at_its_word(native_run):
    check_pieces(find_checkpoint(native_run), {"tokenizer": ("any", "any")})

"""Loading cannot lie: all of a network, or an error by name."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from worldtune.checkpoint.load import load_weights, network_slots, read_beside, stream_weights
from worldtune.checkpoint.matching import match_names
from worldtune.checkpoint.names import PREDICT2, TRANSFER1
from worldtune.checkpoint.peft_names import to_peft
from worldtune.checkpoint.reader import open_weights
from worldtune.errors import CheckpointError
from worldtune.models.lora import add_lora
from worldtune.models.lora_config import LoraConfig


def save(tensors: dict[str, Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "model.pt")
    return folder / "model.pt"


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_published_file_fills_a_network_on_the_meta_device(family, tmp_path: Path):
    trained, network = family.network(), family.on_meta()
    path = save(family.entries(trained), tmp_path)
    report = load_weights(network, path, family.table, dtype=None)
    assert same_weights(network, trained)
    assert report.expected == len(report.sources) == len(trained.state_dict())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_published_file_fills_a_network_that_has_weights(family, tmp_path: Path):
    trained, network = family.network(seed=1), family.network(seed=2)
    parameter = network.final_layer.linear.weight
    load_weights(network, save(family.entries(trained), tmp_path), family.table, dtype=None)
    assert same_weights(network, trained)
    assert network.final_layer.linear.weight is parameter


def test_the_file_may_vanish_after_the_load(predict2, tmp_path: Path):
    trained, network = predict2.network(), predict2.on_meta()
    path = save(predict2.entries(trained), tmp_path)
    load_weights(network, path, PREDICT2, dtype=None)
    path.write_bytes(bytes(path.stat().st_size))
    assert same_weights(network, trained)


def test_names_without_prefix_are_read(family, tmp_path: Path):
    trained, network = family.network(), family.on_meta()
    path = save(family.entries(trained, prefix=""), tmp_path)
    report = load_weights(network, path, family.table, dtype=None)
    assert same_weights(network, trained)
    assert report.prefix == ""


@pytest.mark.parametrize(("which", "seed"), [("network", 1), ("average", 2)])
def test_network_or_average_is_chosen(predict2, tmp_path: Path, which, seed: int):
    entries = predict2.entries(predict2.network(1))
    entries |= predict2.entries(predict2.network(2), prefix="net_ema.")
    network = predict2.on_meta()
    report = load_weights(network, save(entries, tmp_path), PREDICT2, dtype=None, which=which)
    assert same_weights(network, predict2.network(seed))
    (reason,) = [reason for reason in report.ignored if "asked for" in reason]
    assert len(report.ignored[reason]) == len(entries) // 2


def test_a_frozen_base_beside_a_branch_is_ignored_or_read_by_its_prefix(transfer1, tmp_path: Path):
    entries = transfer1.entries(transfer1.network(1))
    entries |= transfer1.entries(transfer1.network(2), prefix="base_model.net.")
    path = save(entries, tmp_path)
    network, base = transfer1.on_meta(), transfer1.on_meta()
    report = load_weights(network, path, TRANSFER1, dtype=None)
    assert "the frozen base beside a control branch" in report.ignored
    load_weights(base, path, TRANSFER1, dtype=None, prefix="base_model.net.")
    assert same_weights(network, transfer1.network(1))
    assert same_weights(base, transfer1.network(2))


def test_the_report_says_in_one_line_what_was_read_and_what_ignored(predict2, tmp_path: Path):
    entries: dict = predict2.entries(predict2.network())
    entries["net.blocks.0.self_attn.q_norm._extra_state"] = None
    path = save(entries, tmp_path)
    report = load_weights(predict2.on_meta(), path, PREDICT2, dtype=None)
    n = report.expected
    assert str(report) == (
        f"{n} of {n} tensors from {path} (network, names net.*; {n} float32); "
        "7 ignored: made anew from the sizes; 1 ignored: left by a kernel library, no weights"
    )


def test_what_belongs_to_the_objective_is_ignored_and_can_be_read_apart(transfer1, tmp_path: Path):
    beside = {"logvar.0.freqs": torch.randn(4), "logvar.1.weight": torch.randn(1, 4)}
    path = save(transfer1.entries(transfer1.network()) | beside, tmp_path)
    with open_weights(path) as file:
        report = load_weights(transfer1.on_meta(), file, TRANSFER1, dtype=None)
        assert set(report.ignored["the objective's, not the network's"]) == set(beside)
        read = read_beside(file, TRANSFER1)
    assert all(torch.equal(read[name], beside[name]) for name in beside)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_missing_extra_or_reshaped_tensor_is_an_error_by_name(family, tmp_path: Path, data):
    entries = family.entries(family.network())
    weights = [name for name in entries if family.table.kind(name[4:]).name == "WEIGHT"]
    victim = data.draw(st.sampled_from(weights))
    mischief = data.draw(st.sampled_from(["missing", "extra", "reshaped"]))
    if mischief == "missing":
        del entries[victim]
        message = rf"missing in the file \(1\): {victim}"
    elif mischief == "extra":
        entries[victim + "2"] = entries[victim]
        message = rf"extra in the file \(1\): {victim}2"
    else:
        entries[victim] = torch.ones(3, 5)
        message = rf"of another shape \(1\): {victim} is \[3, 5\] in the file and \["
    network, before = family.network(5), family.network(5)
    with pytest.raises(CheckpointError, match=message):
        load_weights(network, save(entries, tmp_path), family.table, dtype=None)
    assert same_weights(network, before), "nothing may change before all names are checked"


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_missing_rebuilt_entries_are_no_error(family, tmp_path: Path, data):
    entries = family.entries(family.network())
    rebuilt = sorted(name for name in entries if family.table.kind(name[4:]).name == "REBUILT")
    for name in data.draw(st.sets(st.sampled_from(rebuilt))):
        del entries[name]
    load_weights(family.on_meta(), save(entries, tmp_path), family.table, dtype=None)


def test_many_missing_names_are_counted_and_the_first_are_told(predict2, tmp_path: Path):
    entries = predict2.entries(predict2.network())
    left = {name: tensor for name, tensor in entries.items() if ".blocks.1." not in name}
    with pytest.raises(CheckpointError, match=r"missing in the file \(\d\d\): .*, and \d+ more"):
        load_weights(predict2.on_meta(), save(left, tmp_path), PREDICT2, dtype=None)


def expect(message: str, network: nn.Module, path: Path, table=PREDICT2, **words) -> None:
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_weights(network, path, table, dtype=words.pop("dtype", None), **words)


@pytest.mark.parametrize("lead", ["module.", "model.diffusion."])
def test_one_more_prefix_before_every_name_is_told(predict2, tmp_path: Path, lead: str):
    entries = {lead + name: t for name, t in predict2.entries(predict2.network()).items()}
    expect(f"0 of .* names start with '{lead}'", predict2.on_meta(), save(entries, tmp_path))


def test_a_file_of_the_other_family_is_told(predict2, transfer1, tmp_path: Path):
    path = save(transfer1.entries(transfer1.network()), tmp_path)
    expect("names are those of transfer1, and the network is of predict2", predict2.on_meta(), path)


def test_a_file_of_diffusers_is_told(predict2, tmp_path: Path):
    path = save({"transformer_blocks.0.attn1.to_q.weight": torch.ones(2)}, tmp_path)
    expect("names are those of the diffusers library", predict2.on_meta(), path)


def test_a_slip_in_a_name_is_answered_with_the_near_one(predict2, tmp_path: Path):
    entries = predict2.entries(predict2.network())
    entries["net.final_layer.linaer.weight"] = entries.pop("net.final_layer.linear.weight")
    near = r"Near in the file: net.final_layer.linaer.weight \(for net.final_layer.linear.weight\)"
    expect(near, predict2.on_meta(), save(entries, tmp_path))


def test_a_network_of_another_size_is_told_by_its_blocks(predict2, tmp_path: Path):
    entries = predict2.entries(predict2.network())
    left = {name: tensor for name, tensor in entries.items() if ".blocks.1." not in name}
    expect("has 1 blocks, this one 2: another size", predict2.on_meta(), save(left, tmp_path))


def test_an_average_that_is_not_there_is_told(predict2, tmp_path: Path):
    path = save(predict2.entries(predict2.network()), tmp_path)
    expect(
        "holds the network only.*average was asked for", predict2.on_meta(), path, which="average"
    )
    path = save(predict2.entries(predict2.network(), prefix=""), tmp_path)
    expect("keeps no average apart", predict2.on_meta(), path, which="average")


def test_an_average_alone_is_not_taken_for_the_network(predict2, tmp_path: Path):
    path = save(predict2.entries(predict2.network(), prefix="net_ema."), tmp_path)
    expect("holds the average only", predict2.on_meta(), path)


def test_an_absent_file_names_the_command_that_fetches_it(predict2, tmp_path: Path):
    path = tmp_path / "nvidia/Cosmos-Predict2-2B-Video2World/model-720p-16fps.pt"
    expect(
        "hf download nvidia/Cosmos-Predict2-2B-Video2World model-720p-16fps.pt", nn.Module(), path
    )


def test_floating_point_is_cast_only_to_the_dtype_that_is_asked_for(predict2, tmp_path: Path):
    trained = predict2.network()
    path = save(predict2.entries(trained), tmp_path)
    network = predict2.on_meta()
    load_weights(network, path, PREDICT2, dtype=torch.bfloat16)
    assert same_weights(network, trained.bfloat16())
    message = r"is float32 in the file and bfloat16 in the network, and float32 was asked for"
    expect(message, predict2.network().bfloat16(), path)
    message = r"is float32 in the file and float32 in the network, and bfloat16 was asked for"
    expect(message, predict2.network(), path, dtype=torch.bfloat16)


def test_whole_numbers_are_never_cast(tmp_path: Path):
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.final_layer = nn.Module()
            self.final_layer.linear = nn.Module()
            self.final_layer.linear.register_buffer("count", torch.tensor(0))

    module = Counter()
    path = save({"net.final_layer.linear.count": torch.tensor(2**60 + 1)}, tmp_path)
    load_weights(module, path, PREDICT2, dtype=torch.bfloat16)
    assert module.final_layer.linear.count == 2**60 + 1


def with_adapters(network: nn.Module, rank: int) -> nn.Module:
    """A network with an adapter on one layer."""
    config = LoraConfig(rank=rank, alpha=1.0, targets=("blocks.0.self_attn.q_proj",))
    add_lora(network, config, seed=0, as_no_change=False)
    return network


def peft_entries(network: nn.Module) -> dict[str, Tensor]:
    """The network's file as the publishers' trainer writes it, in peft's names."""
    layers = ["blocks.0.self_attn.q_proj"]
    return {
        f"net.{PREDICT2.to_file(to_peft(name, layers))}": weight
        for name, weight in network.state_dict().items()
    }


def test_a_file_in_peft_s_names_is_read_whole(predict2, tmp_path: Path):
    trained = with_adapters(predict2.network(1), rank=4)
    network = with_adapters(predict2.network(2), rank=4)
    path = save(peft_entries(trained), tmp_path)
    report = load_weights(network, path, PREDICT2, dtype=None)
    name = "blocks.0.self_attn.q_proj"
    assert report.sources[f"{name}.weight"] == f"net.{name}.base_layer.weight"
    assert report.sources[f"{name}.lora_A.weight"] == f"net.{name}.lora_A.default.weight"
    assert same_weights(network, trained)


def test_adapters_in_a_file_are_left_in_it_only_if_asked(predict2, tmp_path: Path):
    trained, network = with_adapters(predict2.network(1), rank=4), predict2.on_meta()
    path = save(peft_entries(trained), tmp_path)
    expect(r"extra .* \(2\): .*lora_A.*adapters \(rank 4\) beside their base", network, path)
    report = load_weights(network, path, PREDICT2, dtype=None, leave_adapters=True)
    assert same_weights(network, predict2.network(1))
    assert "2 ignored: adapters, which are read apart from their base" in str(report)


def test_leaving_adapters_excuses_no_missing_name(predict2, tmp_path: Path):
    entries = peft_entries(with_adapters(predict2.network(), rank=4))
    del entries["net.blocks.0.self_attn.q_proj.base_layer.weight"]
    message = r"missing in the file \(1\): net.blocks.0.self_attn.q_proj.weight"
    expect(message, predict2.on_meta(), save(entries, tmp_path), leave_adapters=True)


def test_a_layer_that_is_in_a_file_under_both_names_is_an_error(predict2, tmp_path: Path):
    entries = predict2.entries(predict2.network())
    name = "net.blocks.0.self_attn.q_proj"
    entries[f"{name}.base_layer.weight"] = entries[f"{name}.weight"]
    path = save(entries, tmp_path)
    expect(rf"extra in the file \(1\): {name}.base_layer.weight", predict2.on_meta(), path)


def test_a_file_without_adapters_does_not_fill_a_network_with_them(predict2, tmp_path: Path):
    path = save(predict2.entries(predict2.network(1)), tmp_path)
    network = with_adapters(predict2.network(2), rank=4)
    expect(r"missing .* \(2\): .*lora_A.*adapters that the file has not", network, path)


def test_another_rank_is_an_error_of_shape(predict2, tmp_path: Path):
    trained = with_adapters(predict2.network(), rank=4)
    message = (
        r"of another shape \(2\): .*lora_A.default.weight is \[4, 32\] in the file and \[8, 32\]"
    )
    path = save(peft_entries(trained), tmp_path)
    expect(message, with_adapters(predict2.network(), rank=8), path)


def test_damaged_data_stops_the_load(predict2, tmp_path: Path):
    trained = predict2.network()
    with torch.no_grad():
        trained.final_layer.linear.weight.fill_(3.0)
    path = save(predict2.entries(trained), tmp_path)
    threes = torch.full((8,), 3.0).numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(threes, bytes(32), 1))
    expect("data of 'net.final_layer.linear.weight'.*checksum", predict2.on_meta(), path)


def test_wrappers_in_module_paths_are_not_in_the_names(predict2):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    network = predict2.network()
    names = set(network.state_dict())
    network.blocks[0] = checkpoint_wrapper(network.blocks[0])
    assert set(network_slots(network)) == names


def test_shapes_are_checked_on_meta_without_reading_data(predict2, tmp_path: Path):
    path = save(predict2.entries(predict2.network()), tmp_path)
    wanted = {name: tuple(t.shape) for name, t in predict2.on_meta().state_dict().items()}
    with open_weights(path) as file:
        report = match_names(wanted, file, PREDICT2)
        assert not file._maps
        streamed = {name: tensor.clone() for name, tensor in stream_weights(file, report)}
    trained = predict2.network().state_dict()
    assert all(torch.equal(streamed[name], trained[name]) for name in trained)

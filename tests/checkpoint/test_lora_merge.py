"""Adapters merged into their base, and found again between two whole weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from worldtune.checkpoint import sections
from worldtune.checkpoint.lora_extract import Extracted, extract, truncate
from worldtune.checkpoint.lora_merge import merge
from worldtune.checkpoint.state import write_state
from worldtune.checkpoint.whole_weights import WholeWeights, open_whole
from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.lora import Adapter, adapter_weights, add_lora, attach
from worldtune.models.lora_config import LoraConfig, read_targets
from worldtune.models.transformer import Transformer
from worldtune.train.adapters import probe

TARGETS = read_targets("q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2")
CONFIG = LoraConfig(rank=3, alpha=6.0, targets=TARGETS)
KINDS = {
    "LoRA": CONFIG,
    "rsLoRA": replace(CONFIG, rslora=True),
    "DoRA": replace(CONFIG, dora=True),
}


def made(network: Transformer, config: LoraConfig, seed: int = 0) -> Adapter:
    """Random adapters, small beside the weights; the network is adapted with them."""
    add_lora(network, config, seed=seed, as_no_change=False)
    with torch.no_grad():
        for name, weight in adapter_weights(network).items():
            weight.mul_(1.2 if "magnitude" in name else 0.3)
    return Adapter(config, {n: w.detach() for n, w in adapter_weights(network).items()})


@pytest.fixture
def base_path(predict2, tmp_path: Path) -> Path:
    torch.save(predict2.entries(predict2.network(1)), tmp_path / "base.pt")
    return tmp_path / "base.pt"


def filled(predict2, path: Path) -> Transformer:
    """A network with the weights of a file."""
    network = predict2.network(9)
    with open_whole(path) as whole, torch.no_grad():
        weights = dict(network.named_parameters())
        for name, tensor in whole.stream():
            weights[name].copy_(tensor)
    return network


def agree(one: Tensor, other: Tensor, share: float) -> None:
    assert (one - other).abs().max().item() <= share * other.abs().max().item()


# --- merging ---


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_file_computes_what_base_and_adapter_compute(
    predict2, base_path, tmp_path, kind, suffix
):
    network = predict2.network(1)
    adapter = made(network, KINDS[kind])
    with open_whole(base_path) as base:
        report = merge([(adapter, 1.0)], base, tmp_path / f"merged{suffix}")

    merged = filled(predict2, tmp_path / f"merged{suffix}")
    agree(probe(merged), probe(network), 1e-5)
    assert (probe(merged) - probe(predict2.network(1))).abs().max() > 1e-3
    assert (report.tensors, report.changed) == (47, 20)
    assert report.nbytes == report.path.stat().st_size


def test_the_merged_file_has_the_published_names_and_the_rebuilt_entries(
    predict2, base_path, tmp_path
):
    with open_whole(base_path) as base:
        merge([(made(predict2.network(1), CONFIG), 1.0)], base, tmp_path / "merged.pt")
    before = torch.load(base_path, weights_only=True)
    after = torch.load(tmp_path / "merged.pt", weights_only=True)

    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == 20
    assert all("_proj." in name or "mlp.layer" in name for name in changed)


def test_several_adapters_are_merged_each_at_its_weight(predict2, base_path, tmp_path):
    other = LoraConfig(rank=2, alpha=1.0, targets=("q_proj", "linear_1"))
    used = [
        (made(predict2.network(1), CONFIG), 0.5),
        (made(predict2.network(1), other, 1), -2.0),
    ]
    with open_whole(base_path) as base:
        merge(used, base, tmp_path / "merged.safetensors")
    network = predict2.network(1)
    attach(network, used)

    agree(probe(filled(predict2, tmp_path / "merged.safetensors")), probe(network), 1e-5)


def test_dora_is_merged_beside_others_as_the_change_that_it_makes(predict2, base_path, tmp_path):
    dora = made(predict2.network(1), KINDS["DoRA"], seed=0)
    plain = made(predict2.network(1), KINDS["LoRA"], seed=1)
    with open_whole(base_path) as base:
        merge([(dora, 0.5), (plain, 1.0)], base, tmp_path / "merged.pt")
        name = "blocks.1.mlp.layer1"
        weight = base.read(f"{name}.weight").clone()
    change = dora.layers()[name].merged(weight, dora.config.scale) - weight
    expected = plain.layers()[name].merged(weight, plain.config.scale) + 0.5 * change

    with open_whole(tmp_path / "merged.pt") as merged:
        agree(merged.read(f"{name}.weight"), expected, 1e-6)


def test_a_dtype_is_that_of_the_base_unless_another_is_wanted(predict2, tmp_path):
    entries = predict2.entries(predict2.network(1))
    half = {n: t.bfloat16() if ".pos_" not in n and t.is_floating_point() else t
            for n, t in entries.items()}  # fmt: skip
    torch.save(half, tmp_path / "base.pt")
    adapter = made(predict2.network(1), CONFIG)
    for dtype, expected in ((None, "bfloat16"), (torch.float32, "float32")):
        with open_whole(tmp_path / "base.pt") as base:
            merge([(adapter, 1.0)], base, tmp_path / f"{expected}.safetensors", dtype=dtype)
        with open_whole(tmp_path / f"{expected}.safetensors") as merged:
            assert {entry.dtype for entry in merged.entries.values()} == {expected}


def test_an_adapter_that_does_not_fit_is_told_and_nothing_is_written(
    predict2, transfer1, base_path, tmp_path
):
    wide = {n: torch.cat([w, w]) if "lora_B" in n else w
            for n, w in made(predict2.network(1), CONFIG).weights.items()}  # fmt: skip
    with (
        open_whole(base_path) as base,
        pytest.raises(CheckpointError, match=r"q_proj is \[32, 32\], .* for \[64, 32\]"),
    ):
        merge([(Adapter(CONFIG, wide), 1.0)], base, tmp_path / "merged.pt")
    strange = {f"zero_blocks.0.lora_{x}.weight": torch.ones(3, 3) for x in "AB"}
    with (
        open_whole(base_path) as base,
        pytest.raises(CheckpointError, match=r"zero_blocks\.0 is not in it"),
    ):
        merge([(Adapter(CONFIG, strange), 1.0)], base, tmp_path / "merged.pt")
    with (
        open_whole(base_path) as base,
        pytest.raises(CheckpointError, match=r"ends in \.pt, \.pth"),
    ):
        merge([], base, tmp_path / "merged.bin")
    assert not (tmp_path / "merged.pt").exists()


# --- whole weights ---


def test_weights_are_read_out_of_a_state_as_out_of_a_file(predict2, tmp_path):
    masters = dict(predict2.network(1).state_dict())
    average = dict(predict2.network(2).state_dict())
    state = write_state(
        tmp_path / "state", 3, {sections.MASTERS: masters, sections.AVERAGE: average}, {}
    )
    for which, weights in (("network", masters), ("average", average)):
        with open_whole(state.path, which) as whole:
            assert whole.entries.keys() == weights.keys()
            assert all(torch.equal(t, weights[n]) for n, t in whole.stream())


def test_what_is_not_whole_is_refused(predict2, tmp_path):
    entries = predict2.entries(predict2.network(1))
    lost = {n: t for n, t in entries.items() if n != "net.blocks.1.mlp.layer1.weight"}
    cases = {
        "is not whole": lost,
        "holds no whole network": {"net.blocks.0.mlp.layer1.weight": torch.ones(2, 2)},
        "holds adapters beside their base": entries
        | {"net.blocks.0.mlp.layer1.lora_A.default.weight": torch.ones(1, 32)},
        "holds no network of a known family": {"stem.weight": torch.ones(2)},
    }
    for message, content in cases.items():
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=message), open_whole(tmp_path / "a.pt"):
            pass
    adapters = {sections.MASTERS: {"x.lora_A.weight": torch.ones(1, 1)}}
    state = write_state(tmp_path / "state", 3, adapters, {sections.ADAPTER: {}})
    with (
        pytest.raises(CheckpointError, match="adapters without their base"),
        open_whole(state.path),
    ):
        pass


# --- extracting ---


@contextmanager
def both(tuned: Path, base: Path) -> Iterator[tuple[WholeWeights, WholeWeights]]:
    with open_whole(tuned) as theirs, open_whole(base) as ours:
        yield theirs, ours


def extracted(tuned: Path, base: Path, config: LoraConfig = CONFIG) -> Extracted:
    with both(tuned, base) as (theirs, ours):
        return extract(theirs, ours, config)


def products(adapter: Adapter) -> dict[str, Tensor]:
    scale = adapter.config.scale
    return {name: scale * one.up @ one.down for name, one in adapter.layers().items()}


@pytest.mark.parametrize("alpha", [3.0, 7.0])
def test_extracting_from_a_merged_model_gives_back_the_product(
    predict2, base_path, tmp_path, alpha
):
    adapter = made(predict2.network(1), CONFIG)
    with open_whole(base_path) as base:
        merge([(adapter, 1.0)], base, tmp_path / "merged.safetensors")
    found = extracted(tmp_path / "merged.safetensors", base_path, replace(CONFIG, alpha=alpha))

    expected = products(adapter)
    assert found.adapter.config.alpha == alpha
    for name, product in products(found.adapter).items():
        agree(product, expected[name], 1e-4)
    assert len(expected) == len(found.layers) == 20
    assert found.left < 1e-4
    assert found.outside == {}


def test_the_error_that_is_left_is_that_of_the_values_cut_off(predict2, base_path, tmp_path):
    """Against the singular values of the change, layer by layer; at full rank none is left."""
    tuned = predict2.entries(predict2.network(2))
    torch.save(tuned, tmp_path / "tuned.pt")
    found = extracted(tmp_path / "tuned.pt", base_path)
    before = torch.load(base_path, weights_only=True)

    for one in found.layers:
        name = f"net.{one.layer}.weight"
        values = torch.linalg.svdvals((tuned[name] - before[name]).double())
        assert one.change == pytest.approx(values.norm().item(), rel=1e-5)
        assert one.left == pytest.approx(values[3:].norm().item(), rel=1e-4)
        assert one.share == pytest.approx(one.left / one.change)
    total = sum(one.change**2 for one in found.layers)
    assert found.left == pytest.approx((sum(o.left**2 for o in found.layers) / total) ** 0.5)
    whole = extracted(tmp_path / "tuned.pt", base_path, replace(CONFIG, rank=16))
    assert all(one.share < 1e-5 for one in whole.layers if "cross_attn.k" in one.layer)


def test_changes_outside_the_layers_are_told(predict2, base_path, tmp_path):
    tuned = predict2.entries(predict2.network(1))
    with torch.no_grad():
        tuned["net.t_embedding_norm.weight"] += 3.0
        tuned["net.blocks.0.mlp.layer1.weight"] += 0.1
    torch.save(tuned, tmp_path / "tuned.pt")
    found = extracted(tmp_path / "tuned.pt", base_path)

    assert found.outside == {"t_embedding_norm.weight": pytest.approx(3 * 32**0.5)}
    inside = 0.1 * (128 * 32) ** 0.5
    outside = 3 * 32**0.5
    assert found.outside_share == pytest.approx(outside / (inside**2 + outside**2) ** 0.5)
    untouched = [one for one in found.layers if one.layer != "blocks.0.mlp.layer1"]
    assert all(one.change == one.share == 0 for one in untouched)


def test_large_matrices_are_cut_off_as_closely_without_all_their_values():
    """700 x 600 with a slowly falling spectrum: within 1 % of the best that rank 8 can do."""
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 600, generator=draw))[0] for n in (700, 600))
    values = 1 / torch.arange(1, 601) ** 0.5
    change = left * values @ right.T
    up, down = truncate(change, 8, "a layer")

    best = values[8:].norm().item()
    assert best * (1 - 1e-5) <= (change - up @ down).norm().item() < 1.01 * best
    again = truncate(change, 8, "a layer")
    assert torch.equal(up, again[0])
    low = left[:, :8] @ right[:, :8].T
    up, down = truncate(low, 8, "a layer")
    agree(up @ down, low, 1e-5)


def test_weights_of_two_networks_are_told(predict2, transfer1, base_path, tmp_path):
    torch.save(transfer1.entries(transfer1.network(1)), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"are not of one network: \d+ weights differ"):
        extracted(tmp_path / "other.pt", base_path)


def test_a_rank_larger_than_a_layer_and_an_unknown_target_are_told(base_path):
    with pytest.raises(RecipeError, match=r"rank 40 is more than .* has"):
        extracted(base_path, base_path, replace(CONFIG, rank=40))
    with pytest.raises(RecipeError, match="names 'o_proj'"):
        extracted(base_path, base_path, replace(CONFIG, targets=("o_proj",)))

"""Files of adapters alone: what is in them, and that every form of them comes back."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import (
    SavedAdapter,
    adapter_size,
    export_adapter,
    read_adapter,
    write_adapter,
    write_adapters,
)
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.inspect import describe
from worldtune.checkpoint.peft_names import to_peft
from worldtune.errors import CheckpointError
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig
from worldtune.models.lora import Adapter, adapter_weights, add_lora
from worldtune.models.lora_config import LoraConfig, read_targets
from worldtune.models.transformer import Transformer

TARGETS = read_targets("q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2")
CONFIG = LoraConfig(rank=3, alpha=5.0, targets=TARGETS)
DORA, RSLORA = replace(CONFIG, dora=True), replace(CONFIG, rslora=True)
BASE = Base("0123456789abcdef", "checkpoints/base.pt", "average")
RECIPE = {"job": {"project": "posttraining", "group": "video2world_lora", "name": "mine"}}
NOTES = AdapterNotes(config=CONFIG, family="predict2", iteration=500, base=BASE, recipe=RECIPE)


def adapted(network: Transformer, config: LoraConfig) -> tuple[Adapter, tuple[str, ...]]:
    """Adapters with every weight random, and the layers they are on."""
    layers = add_lora(network, config, seed=0, as_no_change=False)
    return Adapter(config, {n: w.detach() for n, w in adapter_weights(network).items()}), layers


@pytest.fixture
def adapter(predict2) -> Adapter:
    return adapted(predict2.network(), CONFIG)[0]


def same(one: Adapter, other: Adapter) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(w, other.weights[n]) for n, w in one.weights.items()
    )


# --- the own form ---


@pytest.mark.parametrize("config", [CONFIG, DORA, RSLORA], ids=lambda config: config.kind)
def test_a_file_brings_back_weights_and_all_that_was_said_of_them(predict2, tmp_path, config):
    adapter = adapted(predict2.network(), config)[0]
    notes = replace(NOTES, config=config)
    nbytes = write_adapter(tmp_path / "a.safetensors", adapter, notes)
    saved = read_adapter(tmp_path / "a.safetensors")

    assert same(saved.adapter, adapter)
    assert (saved.notes, saved.adapter.config, saved.warnings) == (notes, config, ())
    assert nbytes == (tmp_path / "a.safetensors").stat().st_size
    assert nbytes == adapter_size(adapter, notes, torch.float32)


def test_its_names_are_the_networks_and_any_program_reads_them(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    write_adapter(path, adapter, NOTES, dtype=torch.bfloat16)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()

    assert load_file(path)["blocks.1.mlp.layer2.lora_A.weight"].dtype == torch.bfloat16
    assert json.loads(header["lora"]) == {
        "rank": 3,
        "alpha": 5.0,
        "targets": list(TARGETS),
        "rslora": False,
        "dora": False,
    }
    assert json.loads(header["base"])["path"] == "checkpoints/base.pt"
    assert json.loads(header["recipe"]) == RECIPE


SIZE_2B = TransformerConfig(
    model_channels=2048, num_blocks=28, num_heads=16, condition_mask=True, padding_mask=True
)


def test_at_2b_and_rank_16_a_file_takes_46_megabytes():
    network = build(SIZE_2B, device="meta")
    config = replace(CONFIG, rank=16, alpha=16.0)
    add_lora(network, config, seed=0)
    weights = {name: w.detach() for name, w in adapter_weights(network).items()}

    size = adapter_size(Adapter(config, weights), replace(NOTES, config=config), torch.bfloat16)
    assert 45.8e6 < size < 46.1e6


def test_network_and_average_of_a_run_are_apart_and_old_ones_go(adapter, tmp_path):
    average = Adapter(CONFIG, {name: w + 1 for name, w in adapter.weights.items()})
    for iteration in (1, 2, 10):
        pair = {
            "network": (adapter, NOTES),
            "average": (average, replace(NOTES, which="average")),
        }
        paths = write_adapters(tmp_path, iteration, pair, dtype=torch.float32, keep_last=2)

    assert [path.name for path in paths] == [
        "iter_000000010.safetensors",
        "iter_000000010_average.safetensors",
    ]
    left = sorted(path.name for path in (tmp_path / "adapters").iterdir())
    assert len(left) == 4
    assert left[0] == "iter_000000002.safetensors"
    assert same(read_adapter(paths[0]).adapter, adapter)
    assert same(read_adapter(paths[1]).adapter, average)
    assert read_adapter(paths[1]).notes.which == "average"


def test_a_file_of_a_later_version_or_with_damaged_notes_is_told(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    header = NOTES.to_header()
    for change, message in (
        ({"worldtune_adapter": "2"}, "of version '2'; this program reads 1"),
        ({"lora": "{}"}, r"its notes cannot be read \(KeyError"),
        ({"base": "no JSON"}, "its notes cannot be read"),
    ):
        save_file(dict(adapter.weights), path, {**header, **change})
        with pytest.raises(CheckpointError, match=message):
            read_adapter(path)


def test_a_file_that_lost_a_matrix_is_told(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    some = {n: w for n, w in adapter.weights.items() if n != "blocks.0.mlp.layer1.lora_A.weight"}
    save_file(some, path, NOTES.to_header())

    with pytest.raises(CheckpointError, match=r"a.safetensors: .*layer1 differs in lora_A"):
        read_adapter(path)


# --- the base, known again ---


def test_a_fingerprint_is_of_the_weights_and_not_of_their_dtype_order_or_adapters(predict2):
    network = predict2.network(1)
    before = fingerprint(network.named_parameters())
    assert fingerprint(reversed(list(network.named_parameters()))) == before
    add_lora(network, CONFIG, seed=0)
    assert fingerprint(network.named_parameters()) == before
    assert fingerprint(network.bfloat16().named_parameters()) == before
    assert fingerprint(predict2.network(2).named_parameters()) != before


@pytest.mark.parametrize("change", ["one weight", "two exchanged", "a name"])
def test_a_fingerprint_changes_with_any_weight(predict2, change):
    weights = dict(predict2.network().named_parameters())
    before = fingerprint(weights.items())
    name = "blocks.1.mlp.layer1.weight"
    with torch.no_grad():
        if change == "one weight":
            weights[name][3, 5] *= 1.01
        elif change == "two exchanged":
            weights[name][:, :2] = weights[name][:, [1, 0]].clone()
        else:
            weights["blocks.2.mlp.layer1.weight"] = weights.pop(name)
    assert fingerprint(weights.items()) != before


# --- other programs ---


@pytest.mark.parametrize("form", ["comfyui", "diffusers"])
@pytest.mark.parametrize("config", [CONFIG, RSLORA], ids=lambda config: config.kind)
def test_an_exported_adapter_comes_back_with_its_alpha(predict2, tmp_path, form, config):
    adapter = adapted(predict2.network(), config)[0]
    saved = SavedAdapter(tmp_path / "a", replace(NOTES, config=config), adapter)
    export_adapter(saved, form, tmp_path / "b.safetensors")
    again = read_adapter(tmp_path / "b.safetensors")

    assert same(again.adapter, adapter)
    assert again.adapter.config.scale == pytest.approx(config.scale, rel=1e-6)
    assert again.adapter.config.targets == TARGETS
    assert (again.notes.family, again.notes.base, again.warnings) == ("predict2", None, ())


def test_every_layer_of_the_2b_has_its_name_in_comfyui(tmp_path):
    """28 blocks of ten layers, three entries each; read back through the own border."""
    network = build(SIZE_2B, device="meta")
    config = replace(CONFIG, rank=1, alpha=2.0)
    layers = add_lora(network, config, seed=0)
    weights = {name: torch.zeros(w.shape, dtype=torch.bfloat16).expand(w.shape)
               for name, w in adapter_weights(network).items()}  # fmt: skip
    saved = SavedAdapter(tmp_path / "a", replace(NOTES, config=config), Adapter(config, weights))
    export_adapter(saved, "comfyui", tmp_path / "comfy.safetensors")
    with safe_open(tmp_path / "comfy.safetensors", framework="pt") as file:
        names = set(file.keys())

    assert names == {
        f"diffusion_model.blocks.{i}.{layer}.{leaf}"
        for i in range(28)
        for layer in (
            *(f"{part}_attn.{x}_proj" for part in ("self", "cross") for x in "qkv"),
            "self_attn.output_proj",
            "cross_attn.output_proj",
            "mlp.layer1",
            "mlp.layer2",
        )
        for leaf in ("lora_A.weight", "lora_B.weight", "alpha")
    }
    again = read_adapter(tmp_path / "comfy.safetensors")
    assert (again.adapter.config.rank, again.adapter.config.alpha) == (1, 2.0)
    assert set(again.adapter.layers()) == set(layers)


def test_what_another_program_cannot_hold_is_refused(predict2, transfer1, tmp_path):
    dora = SavedAdapter(
        tmp_path / "a", replace(NOTES, config=DORA), adapted(predict2.network(), DORA)[0]
    )
    with pytest.raises(CheckpointError, match="DoRA is not written for ComfyUI"):
        export_adapter(dora, "comfyui", tmp_path / "b")
    other = SavedAdapter(
        tmp_path / "a",
        replace(NOTES, family="transfer1"),
        adapted(transfer1.network(), CONFIG)[0],
    )
    with pytest.raises(CheckpointError, match="is for transfer1, whose layers comfyui has no"):
        export_adapter(other, "comfyui", tmp_path / "b")
    branch = Adapter(CONFIG, {"zero_blocks.0.lora_A.weight": torch.ones(3, 4)})
    with pytest.raises(CheckpointError, match=r"zero_blocks\.0 has no name in diffusers"):
        export_adapter(SavedAdapter(tmp_path / "a", NOTES, branch), "diffusers", tmp_path / "b")


def test_a_foreign_file_without_alpha_is_taken_as_others_take_it_with_a_warning(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({f"diffusion_model.{name}": w for name, w in adapter.weights.items()}, path)
    saved = read_adapter(path)

    assert saved.adapter.config.alpha == 3.0
    assert "does not say its alpha; it is taken to be the rank, 3" in saved.warnings[0]
    told = read_adapter(path, alpha=5.0)
    assert (told.adapter.config.alpha, told.warnings) == (5.0, ())


def test_an_alpha_that_contradicts_the_file_is_an_error(adapter, tmp_path):
    write_adapter(tmp_path / "a.safetensors", adapter, NOTES)
    with pytest.raises(CheckpointError, match="says alpha 5, and 3 was given"):
        read_adapter(tmp_path / "a.safetensors", alpha=3.0)


def test_foreign_names_and_mixed_ranks_are_told(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    named = {f"diffusion_model.{name}": w for name, w in adapter.weights.items()}
    save_file(named | {"diffusion_model.novelty.lora_A.weight": torch.ones(3, 2)}, path)
    with pytest.raises(CheckpointError, match=r"1 names that are not ComfyUI's .*novelty"):
        read_adapter(path)
    layer = "diffusion_model.blocks.0.mlp.layer1"
    save_file(named | {f"{layer}.lora_A.weight": torch.ones(2, 32),
                       f"{layer}.lora_B.weight": torch.ones(128, 2)}, path)  # fmt: skip
    with pytest.raises(CheckpointError, match=r"has ranks \[2, 3\] and alphas \[\]"):
        read_adapter(path)
    alphas = {f"diffusion_model.blocks.{i}.mlp.layer1.alpha": torch.tensor(i + 1.0) for i in (0, 1)}
    save_file(named | alphas, path)
    with pytest.raises(CheckpointError, match=r"alphas \[1\.0, 2\.0\]"):
        read_adapter(path)


# --- the publishers' LoRA files ---


def publishers(maker, network: Transformer, layers: tuple[str, ...]) -> dict[str, Tensor]:
    named = {
        maker.table.to_file(to_peft(name, layers)): weight.detach()
        for name, weight in network.named_parameters()
    }
    average = {f"net_ema.{name}": weight + 1 for name, weight in named.items()}
    return {f"net.{name}": weight for name, weight in named.items()} | average


@pytest.mark.parametrize("which", ["network", "average"])
@pytest.mark.parametrize("family", ["predict2", "transfer1"], indirect=True)
def test_adapters_are_taken_out_of_a_file_that_holds_their_base(family, tmp_path, which):
    network = family.network()
    adapter, layers = adapted(network, CONFIG)
    torch.save(publishers(family, network, layers), tmp_path / "model.pt")
    saved = read_adapter(tmp_path / "model.pt", alpha=5.0, which=which)

    added = 1 if which == "average" else 0
    assert same(saved.adapter, Adapter(CONFIG, {n: w + added for n, w in adapter.weights.items()}))
    assert saved.adapter.config == CONFIG
    assert (saved.notes.family, saved.notes.which) == (family.table.family, which)


def test_their_alpha_must_be_given(predict2, tmp_path):
    network = predict2.network()
    _, layers = adapted(network, CONFIG)
    torch.save(publishers(predict2, network, layers), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"(?s)does not say their alpha.*--alpha ALPHA"):
        read_adapter(tmp_path / "model.pt")


def test_a_file_without_adapters_is_told(predict2, tmp_path):
    torch.save(predict2.entries(predict2.network()), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="holds no adapters"):
        read_adapter(tmp_path / "model.pt", alpha=5.0)


# --- inspect ---


def test_inspect_tells_an_adapter_from_its_header(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    write_adapter(path, adapter, replace(NOTES, which="average"), dtype=torch.bfloat16)
    description = describe(path, verify=True)

    assert description.kind == "the average of adapters"
    assert description.iteration == 500
    assert description.to_json()["adapter"]["alpha"] == 5.0
    assert description.to_json()["adapter"]["base"]["fingerprint"] == "0123456789abcdef"
    assert [line.strip() for line in description.lines()][2:] == [
        "LoRA, rank 3, alpha 5, on q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2",
        "for predict2; the average, iteration 500",
        "base: the average in checkpoints/base.pt (fingerprint 0123456789abcdef)",
        "recipe: posttraining/video2world_lora/mine",
        "4,800 weights; 40 bfloat16",
    ]


@pytest.mark.parametrize(("form", "name"), [("comfyui", "ComfyUI"), ("diffusers", "diffusers")])
def test_inspect_knows_other_programs_adapters(adapter, tmp_path, form, name):
    export_adapter(SavedAdapter(tmp_path / "a", NOTES, adapter), form, tmp_path / "b.safetensors")
    description = describe(tmp_path / "b.safetensors")

    assert description.kind == f"adapters in {name}'s names"
    targets = "q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2"
    assert f"rank 3 on {targets}" in description.notes[0]

"""An exported adapter in diffusers' own class, loaded by its own command."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.randoms import inputs, randomise
from tests.models.sizes import TINY
from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import SavedAdapter, export_adapter
from worldtune.checkpoint.diffusers_names import DIFFUSERS
from worldtune.models.build import build
from worldtune.models.lora import Adapter, adapter_weights, add_lora
from worldtune.models.lora_config import LoraConfig, read_targets

pytest.importorskip("diffusers")
pytest.importorskip("peft")
from tests.reference.diffusers_network import copy_weights, diffusers_name, diffusers_network, run

SIZES = replace(TINY, rope_ratio_h=3.0, rope_ratio_w=2.0)
TARGETS = read_targets("q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2,linear_1")
CONFIGS = {
    "LoRA": LoraConfig(rank=4, alpha=8.0, targets=TARGETS),
    "rsLoRA": LoraConfig(rank=4, alpha=1.0, targets=TARGETS, rslora=True),
    "DoRA": LoraConfig(rank=4, alpha=8.0, targets=TARGETS, dora=True),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_diffusers_computes_what_was_trained_with_alpha_unlike_the_rank(kind: str, tmp_path: Path):
    config = CONFIGS[kind]
    ours, theirs = randomise(build(SIZES)), diffusers_network(SIZES)
    copy_weights(ours, theirs)
    add_lora(ours, config, seed=0, as_no_change=False)
    weights = {name: weight.detach() for name, weight in adapter_weights(ours).items()}
    saved = SavedAdapter(
        tmp_path / "a", AdapterNotes(config=config, family="predict2"), Adapter(config, weights)
    )
    export_adapter(saved, "diffusers", tmp_path / "pytorch_lora_weights.safetensors")
    (latents, time, text), told = inputs(SIZES)
    masks = {"condition_mask": told["condition_mask"], "padding_mask": told["padding_mask"][:1]}
    before = run(theirs, latents, time, text, **masks)
    theirs.load_lora_adapter(
        str(tmp_path), weight_name="pytorch_lora_weights.safetensors", prefix="transformer"
    )

    expected = run(theirs, latents, time, text, **masks)
    with torch.no_grad():
        got = ours(latents, time, text, fps=told["fps"], **masks)
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (before - expected).abs().max() > 0.01 * expected.abs().max()


def test_the_names_are_those_of_every_layer_of_the_class():
    network = build(SIZES)
    names = {DIFFUSERS.to_file(name) for name, _ in network.named_parameters()}

    assert names == set(diffusers_network(SIZES).state_dict())
    assert names == {diffusers_name(name) for name, _ in network.named_parameters()}

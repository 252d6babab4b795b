"""Adapters against the vectors of the original, which injects them with peft."""

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.peft_names import from_peft, to_peft
from worldtune.models.build import build
from worldtune.models.lora import Adapter, adapter_weights, add_lora, attach
from worldtune.models.lora_config import LoraConfig, read_targets
from worldtune.models.transformer import Transformer

TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def told(predict2) -> dict:
    return predict2.json("lora")


@pytest.fixture(scope="module")
def config(told) -> LoraConfig:
    return LoraConfig(
        rank=told["rank"], alpha=float(told["alpha"]), targets=read_targets(told["target_modules"])
    )


@pytest.fixture(scope="module")
def vectors(predict2) -> dict[str, Tensor]:
    return predict2.tensors("lora")


@pytest.fixture(scope="module")
def adapter(vectors, config) -> Adapter:
    named = {name: tensor for name, tensor in vectors.items() if name.startswith("net.")}
    return Adapter(config, {from_peft(name.removeprefix("net.")): t for name, t in named.items()})


@pytest.fixture
def base(predict2) -> Transformer:
    network = build(predict2_config(predict2.json("config")))
    load_network(network, predict2.tensors("dit_state"), PREDICT2)
    return network


def forward(network: Transformer, predict2) -> tuple[Tensor, Tensor]:
    given = predict2.tensors("dit_forward")
    output = network(
        given["x"],
        given["timesteps"],
        given["crossattn_emb"],
        condition_mask=given["condition_mask"],
        padding_mask=given["padding_mask"],
        fps=given["fps"],
    )
    return output, given["grad_probe"]


def test_the_output_is_the_original_s(base, adapter, vectors, predict2, close):
    attach(base, [(adapter, 1.0)])

    close(forward(base, predict2)[0], vectors["output"], TOLERANCE)


def test_gradients_are_the_original_s(base, adapter, config, vectors, predict2, close):
    add_lora(base, config, seed=0)
    weights = adapter_weights(base)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(adapter.weights[name])
    output, probe = forward(base, predict2)
    (output * probe).sum().backward()
    named = [name for name in vectors if name.startswith("grad.")]

    assert named
    for name in named:
        close(weights[from_peft(name.removeprefix("grad."))].grad, vectors[name], TOLERANCE)


def test_doubling_alpha_and_halving_b_gives_the_same_output(
    base, adapter, config, vectors, predict2, close
):
    """alpha equals the rank in the vectors, so they alone would not show that it counts."""
    halved = {n: t / 2 if "lora_B" in n else t for n, t in adapter.weights.items()}
    doubled = LoraConfig(rank=config.rank, alpha=2 * config.alpha, targets=config.targets)
    attach(base, [(Adapter(doubled, halved), 1.0)])

    close(forward(base, predict2)[0], vectors["output"], TOLERANCE)


def test_fresh_adapters_are_as_many_as_the_original_s_and_change_nothing(
    base, config, told, predict2
):
    before = forward(base, predict2)[0]
    frozen = sum(weight.numel() for weight in base.parameters())
    add_lora(base, config, seed=0)
    adapters = adapter_weights(base)

    assert torch.equal(forward(base, predict2)[0], before)
    assert frozen == told["frozen_parameters"]
    assert sum(weight.numel() for weight in adapters.values()) == told["trainable_parameters"]
    zero = [not weight.any() for name, weight in adapters.items() if "lora_B" in name]
    assert set(zero) == {told["lora_B_initialised_to_zero"]}


def test_names_in_peft_s_words_are_those_of_the_original_s_file(base, config, told):
    layers = add_lora(base, config, seed=0)
    names = [PREDICT2.to_file(to_peft(name, layers)) for name, _ in base.named_parameters()]
    rebuilt = list(PREDICT2.rebuilt(base.config))

    ours = {f"net.{name}" for name in [*names, *rebuilt]}
    assert ours == set(told["all_checkpoint_keys"])
    assert {from_peft(to_peft(name, layers)) for name, _ in base.named_parameters()} == {
        name for name, _ in base.named_parameters()
    }

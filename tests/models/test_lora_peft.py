"""Adapters against peft's, which the publishers' trainer uses: names, outputs, gradients."""

import pytest
from torch import Tensor, nn

from tests.models.randoms import inputs
from tests.models.sizes import TINY
from tests.models.test_lora import KINDS, TARGETS, tiny, trained
from worldtune.checkpoint.peft_names import named_for_peft
from worldtune.models.lora import adapter_weights, add_lora
from worldtune.models.lora_config import LoraConfig

peft = pytest.importorskip("peft")


def peft_network(config: LoraConfig) -> nn.Module:
    """The tiny network with peft's own adapters in it."""
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=list(TARGETS),
        use_rslora=config.rslora,
        use_dora=config.dora,
    )
    return peft.inject_adapter_in_model(settings, tiny())


@pytest.mark.parametrize("kind", KINDS)
def test_peft_has_the_same_names_outputs_and_gradients(kind: str):
    config = KINDS[kind]
    ours, theirs = tiny(), peft_network(config)
    layers = add_lora(ours, config, seed=0)
    trained(ours)
    renamed = named_for_peft(dict(ours.named_parameters()), layers)
    theirs.load_state_dict(renamed, strict=True)
    three, told = inputs(TINY)
    outputs: list[Tensor] = [network(*three, **told) for network in (ours, theirs)]
    for output in outputs:
        output.square().sum().backward()

    agree(outputs[0], outputs[1], 2e-6)
    gradients = dict(theirs.named_parameters())
    for name, weight in named_for_peft(adapter_weights(ours), layers).items():
        expected = gradients[name].grad
        assert expected is not None
        assert weight.grad is not None
        agree(weight.grad, expected, 2e-5)


def agree(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Up to a share of the largest value: float32, sums in another order."""
    largest = theirs.abs().max().item()
    assert (ours - theirs).abs().max().item() <= tolerance * largest

"""Activations computed again: the same numbers, fewer of them kept."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from worldtune.config.network import RecomputeMode
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig
from worldtune.models.transformer import Transformer
from worldtune.parallel.recompute import ATTENTION, MATRIX_PRODUCTS, recompute_blocks

BLOCKS = 2
# Six of modulation, four of each attention, two of the MLP.
PRODUCTS_IN_A_BLOCK = 16


class Count(TorchDispatchMode):
    """Counts matrix products and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.attention = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.products += func in MATRIX_PRODUCTS
        self.attention += func in ATTENTION
        return func(*args, **(kwargs or {}))


def _network() -> Transformer:
    config = TransformerConfig(
        model_channels=48, num_blocks=BLOCKS, num_heads=2, text_channels=16, adaln_lora_dim=8
    )
    network = build(config, seed=0)
    for weight in network.parameters():  # no weight may be 0, or its gradient tells nothing
        torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(1))
    return network


def _backward(network: Transformer) -> tuple[dict[str, Tensor], Count]:
    draw = torch.Generator().manual_seed(2)
    latents = torch.randn(1, 16, 2, 4, 4, generator=draw)
    text = torch.randn(1, 3, 16, generator=draw)
    loss = network(latents, torch.tensor([[0.3, 0.7]]), text).square().mean()
    with Count() as count:
        loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients, count


@pytest.mark.parametrize("mode", get_args(RecomputeMode))
def test_gradients_are_those_of_keeping_everything(mode: RecomputeMode):
    network = _network()
    recompute_blocks(network, mode)

    gradients, _ = _backward(network)

    kept, _ = _backward(_network())
    assert gradients.keys() == kept.keys()
    assert all(torch.equal(gradients[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("mode", "products", "attention"),
    [
        ("block_wise", PRODUCTS_IN_A_BLOCK, 2),
        ("mm_only", 0, 0),
        ("linear_selfattn", 0, 1),
        # Kept: self v and output, the four of cross attention, the first of the MLP.
        ("predict2_2b_720", PRODUCTS_IN_A_BLOCK - 7, 1),
        ("predict2_14b_720", PRODUCTS_IN_A_BLOCK - 7, 1),
    ],
)
def test_a_mode_computes_again_what_it_does_not_keep(
    mode: RecomputeMode, products: int, attention: int
):
    _, kept = _backward(_network())
    network = _network()
    recompute_blocks(network, mode)

    _, count = _backward(network)

    assert count.products - kept.products == BLOCKS * products
    assert count.attention - kept.attention == BLOCKS * attention


def test_names_of_weights_stay():
    network = _network()
    before = [name for name, _ in network.named_parameters()]
    recompute_blocks(network, "predict2_2b_720")
    assert [name for name, _ in network.named_parameters()] == before


def test_every_second_block_can_be_left_alone():
    _, kept = _backward(_network())
    network = _network()
    recompute_blocks(network, "block_wise", every_n_blocks=2)
    _, count = _backward(network)
    assert count.products - kept.products == PRODUCTS_IN_A_BLOCK

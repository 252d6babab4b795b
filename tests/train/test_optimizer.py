"""AdamW over float32 masters."""

import copy

import pytest
import torch
from torch import nn

from worldtune.errors import CheckpointError
from worldtune.train.optimizer import MasterAdamW

SETTINGS = {"betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}


def _layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4, bias=False).to(dtype)


def _optimizer(layer: nn.Linear) -> MasterAdamW:
    return MasterAdamW(dict(layer.named_parameters()), **SETTINGS)


def _gradient(step: int) -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(step))


def _take_step(layer: nn.Linear, optimizer: MasterAdamW, step: int) -> None:
    (layer.weight * _gradient(step).to(layer.weight.dtype)).sum().backward()
    optimizer.step(1e-2)
    optimizer.forget_gradients()


def test_a_step_is_adamw_as_written_in_the_paper():
    layer = _layer()
    optimizer = _optimizer(layer)
    weight = layer.weight.detach().double()
    first = torch.zeros_like(weight)
    second = torch.zeros_like(weight)

    for step in range(3):
        gradient = _gradient(step).double()
        _take_step(layer, optimizer, step)
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        corrected = (first / (1 - 0.9 ** (step + 1))) / (
            (second / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8
        )
        weight = weight * (1 - 1e-2 * 0.1) - 1e-2 * corrected

    assert torch.allclose(layer.weight.double(), weight, rtol=0, atol=1e-6)


def test_low_precision_weights_are_the_rounded_masters():
    layer = _layer(torch.bfloat16)
    optimizer = _optimizer(layer)

    for step in range(3):
        _take_step(layer, optimizer, step)

    master = optimizer.masters["weight"]
    assert master.dtype == torch.float32
    assert not torch.equal(master, master.bfloat16().float())
    assert torch.equal(layer.weight, master.bfloat16())


def test_gradients_of_micro_steps_add_up_in_float32():
    """In bf16 a share of 1e-3 beside 1 is lost; in the float32 master it is not."""
    layer = _layer(torch.bfloat16)
    optimizer = _optimizer(layer)

    for share in (1.0, 1e-3, 1e-3):
        (layer.weight * share).sum().backward()

    expected = 1.0 + 2 * torch.tensor(1e-3).bfloat16().float()
    assert torch.allclose(optimizer.gradients()["weight"], expected.expand(4, 6), rtol=0, atol=1e-7)
    assert layer.weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_restored_optimizer_goes_on_bit_for_bit(dtype: torch.dtype):
    layer = _layer(dtype)
    optimizer = _optimizer(layer)
    for step in range(2):
        _take_step(layer, optimizer, step)
    masters = copy.deepcopy({k: v.detach() for k, v in optimizer.masters.items()})
    moments = copy.deepcopy(optimizer.moments())
    steps_taken = optimizer.steps_taken()
    _take_step(layer, optimizer, 2)

    other = _layer(dtype)
    resumed = _optimizer(other)
    resumed.restore(masters, moments, steps_taken)
    _take_step(other, resumed, 2)

    assert torch.equal(other.weight, layer.weight)
    assert torch.equal(resumed.masters["weight"], optimizer.masters["weight"])


def test_a_state_of_another_network_is_refused_by_name():
    layer = _layer()
    with pytest.raises(CheckpointError, match="'other'"):
        _optimizer(layer).restore({"other": torch.zeros(4, 6)}, {}, 0)

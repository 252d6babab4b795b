"""The log-variance beside the network."""

import torch

from worldtune.objectives.logvar import FourierFeatures, LogVariance


def test_its_entries_are_those_of_the_published_files():
    shapes = {name: tuple(value.shape) for name, value in LogVariance().state_dict().items()}

    assert shapes == {"0.freqs": (128,), "0.phases": (128,), "1.weight": (1, 128)}
    assert [name for name, _ in LogVariance().named_parameters()] == ["1.weight"]


def test_waves_have_variance_1():
    values = FourierFeatures(128, seed=0)(torch.linspace(-50, 50, 500))

    assert abs(values.square().mean().item() - 1) < 0.05


def test_it_is_the_same_for_the_same_seed_only():
    x = torch.tensor([0.3, -1.0])

    assert torch.equal(LogVariance(seed=1)(x), LogVariance(seed=1)(x))
    assert not torch.equal(LogVariance(seed=1)(x), LogVariance(seed=2)(x))


def test_it_stays_float32_under_autocast():
    module, x = LogVariance(), torch.tensor([0.3, -1.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = module(x)

    assert torch.equal(cast, module(x))

"""Five optimiser steps on given noise, through the training loop itself."""

from typing import Any

import pytest

from tests.golden.train_steps import Taken, take_steps
from worldtune.objectives.average import beta, power_exponent

TOLERANCE = 5e-6


@pytest.mark.parametrize("variant", ["clip1", "noclip"])
def test_the_loop_takes_the_original_steps(predict2, close, variant: str):
    told = predict2.json("train_steps")
    vectors = predict2.tensors("train_steps")
    run = next(run for run in told["runs"] if run["variant"] == variant)

    taken = take_steps(told, run, predict2.json("config"), vectors, predict2.tensors("dit_state"))

    hold_to_the_original(taken, told, run, vectors, close)


def hold_to_the_original(
    taken: Taken, told: dict[str, Any], run: dict[str, Any], vectors: dict[str, Any], close: Any
) -> None:
    """Compare every number that the vectors have."""
    assert len(taken.steps) == len(run["steps"])
    for ours, theirs in zip(taken.steps, run["steps"], strict=True):
        assert ours.printed_loss == pytest.approx(theirs["loss"], rel=TOLERANCE)
        assert ours.gradient_norm == pytest.approx(theirs["grad_norm_before_clip"], rel=TOLERANCE)
        assert ours.learning_rate == pytest.approx(theirs["lr"], rel=1e-12)
        exponent = power_exponent(told["ema_rate"])
        assert beta(theirs["iteration"], exponent) == pytest.approx(theirs["ema_beta"], rel=1e-9)
    for name, norm in run["param_l2"].items():
        assert taken.weights[name].double().norm().item() == pytest.approx(norm, rel=TOLERANCE)
    variant = run["variant"]
    checked = [
        name for name in vectors if name.startswith((f"{variant}.final.", f"{variant}.ema."))
    ]
    assert checked
    for name in checked:
        _, kind, weight = name.split(".", 2)
        ours = taken.weights if kind == "final" else taken.averages
        close(ours[weight], vectors[name], TOLERANCE)

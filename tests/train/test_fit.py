"""Weights that do not belong to the run are found before the first step."""

import re
from pathlib import Path

import pytest
import torch

from tests.train.tiny import WITHOUT_VALIDATION, Tiny, metrics
from worldtune.errors import CheckpointError, ExitStatus


def on_weights(runs: Tiny, file: Path) -> Path:
    start = ("model.config.fresh_weights=False", "trainer.max_iter=1", "checkpoint.native=none")
    path = f"model.config.model_manager_config.dit_path={file}"
    return runs.run("post", *WITHOUT_VALIDATION, *start, path)


def test_weights_that_know_something_pass(runs: Tiny, trained: Path):
    assert metrics(on_weights(runs, trained))[-1]["iteration"] == 1


def test_weights_that_do_worse_than_predicting_nothing_stop_the_run(runs: Tiny, trained: Path):
    """The right names and shapes, and a sign that was lost in the last layer."""
    weights = torch.load(trained, weights_only=True)
    weights["net.final_layer.linear.weight"].neg_()
    file = runs.folder / "model.pt"
    torch.save(weights, file)
    with pytest.raises(CheckpointError) as refused:
        on_weights(runs, file)

    message = str(refused.value)
    loss, nothing = (float(number) for number in re.findall(r"\d+\.\d{3}", message))
    assert loss > nothing > 0
    assert message == (
        f"the weights of {file} do not fit: their first loss on fixed noise is {loss:.3f}, and a "
        f"network that predicts nothing has {nothing:.3f}. Look at whether they belong to this "
        "network and were trained with this tokenizer and text encoder; to start from random "
        "weights set model.config.fresh_weights=True"
    )
    assert refused.value.exit_status == ExitStatus.MISTAKE


def test_weights_with_a_number_that_is_not_finite_stop_the_run(runs: Tiny, trained: Path):
    weights = torch.load(trained, weights_only=True)
    weights["net.final_layer.linear.weight"][0] = float("nan")
    file = runs.folder / "model.pt"
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match="first loss on fixed noise is nan"):
        on_weights(runs, file)

"""Five optimiser steps on given noise, through the training loop itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.data.batch import Batch
from worldtune.models.build import build
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.objectives.average import beta, power_exponent
from worldtune.objectives.coefficients import RectifiedFlow
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.loss import LossRule
from worldtune.objectives.noise_levels import NoiseLevels
from worldtune.objectives.schedule import LambdaLinear
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss, Draws, LossSettings
from worldtune.train.loop import Progress, TimedBatch, Training, train
from worldtune.train.optimizer import MasterAdamW
from worldtune.train.report import StepReport
from worldtune.train.signals import StopRequest

TOLERANCE = 5e-6


class GivenDraws(ClipLoss):
    """Takes latents and draws from the vectors in place of drawing them."""

    def __init__(self, steps: list[dict[str, Any]], vectors: dict[str, Tensor], *args: Any) -> None:
        super().__init__(*args)
        self._steps = steps
        self._vectors = vectors

    def latents(self, batch: Batch) -> Tensor:
        return self._vectors[f"step{int(batch.index[0])}.x0"]

    def draw(self, latents: Tensor, batch: Batch) -> Draws:
        step = int(batch.index[0])
        count = torch.full((len(latents),), self._steps[step]["num_cond_frames"])
        return Draws(
            noise=self._vectors[f"step{step}.epsilon"],
            sigma=self._vectors[f"step{step}.sigma"].flatten(),
            given=GivenFrames(first_frames_mask(count, latents.shape[2]), latents),
            text=self._vectors[f"step{step}.crossattn_emb"],
        )


class Reports:
    """Keeps what each step reported."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []

    def start(self, first_iteration: int) -> None:
        assert first_iteration == 0

    def after_step(self, report: StepReport) -> None:
        self.steps.append(report)

    def end(self) -> None:
        pass


def _batches(sizes: dict[str, Any]) -> Iterator[TimedBatch]:
    height, width = sizes["H"] * 8, sizes["W"] * 8
    step = 0
    while True:
        batch = Batch(
            video=torch.zeros(1, 3, 1, height, width, dtype=torch.uint8),
            text=torch.zeros(1, sizes["N"], sizes["crossattn_emb_channels"]),
            fps=torch.tensor([24.0]),
            index=torch.tensor([step]),
            padding_mask=torch.zeros(1, 1, height, width),
            names=("vector",),
            captions=("",),
        )
        yield TimedBatch(batch, 0.0)
        step += 1


def _optimizer_settings(told: str) -> tuple[float, dict[str, Any]]:
    numbers = r"lr (\S+), betas \((\S+),\s*(\S+)\), eps (\S+), weight_decay (\S+) "
    found = re.search(numbers, told)
    assert found, told
    rate, first, second, eps, decay = (float(number) for number in found.groups())
    return rate, {"betas": (first, second), "eps": eps, "weight_decay": decay}


@pytest.mark.parametrize("variant", ["clip1", "noclip"])
def test_the_loop_takes_the_original_steps(predict2, close, variant: str):
    told = predict2.json("train_steps")
    vectors = predict2.tensors("train_steps")
    sizes = predict2.json("config")
    run = next(run for run in told["runs"] if run["variant"] == variant)
    network = build(predict2_config(sizes), seed=None)
    load_network(network, predict2.tensors("dit_state"), PREDICT2)
    parameters = dict(network.named_parameters())
    base_rate, adamw = _optimizer_settings(told["optimizer"])
    settings = LossSettings(
        objective=RectifiedFlow(given_sigma=sizes["sigma_conditional"]),
        levels=NoiseLevels(),
        rule=LossRule("mean", told["loss_scale"]),
        seed=0,
        min_given=1,
        max_given=2,
        text_dropout=0.0,
        frames_dropout=0.0,
    )
    average = WeightAverage(parameters, rate=told["ema_rate"])
    reports = Reports()
    training = Training(
        clip_loss=GivenDraws(run["steps"], vectors, network, BuiltinTokenizer(), settings),
        optimizer=MasterAdamW(parameters, **adamw),
        average=average,
        schedule=LambdaLinear(**told["scheduler"]),
        base_learning_rate=base_rate,
        clip_norm=run["clip_norm"],
        grad_accum_iter=1,
        max_iter=len(run["steps"]),
        save_iter=10**9,
        progress=Progress(),
        batches=_batches(sizes),
        save=lambda: None,
    )

    train(training, [reports], StopRequest())

    assert len(reports.steps) == len(run["steps"])
    for ours, theirs in zip(reports.steps, run["steps"], strict=True):
        assert ours.printed_loss == pytest.approx(theirs["loss"], rel=TOLERANCE)
        assert ours.gradient_norm == pytest.approx(theirs["grad_norm_before_clip"], rel=TOLERANCE)
        assert ours.learning_rate == pytest.approx(theirs["lr"], rel=1e-12)
        exponent = power_exponent(told["ema_rate"])
        assert beta(theirs["iteration"], exponent) == pytest.approx(theirs["ema_beta"], rel=1e-9)
    for name, norm in run["param_l2"].items():
        assert parameters[name].detach().double().norm().item() == pytest.approx(
            norm, rel=TOLERANCE
        )
    checked = [
        name for name in vectors if name.startswith((f"{variant}.final.", f"{variant}.ema."))
    ]
    assert checked
    for name in checked:
        _, kind, weight = name.split(".", 2)
        ours = parameters[weight].detach() if kind == "final" else average.values[weight]
        close(ours, vectors[name], TOLERANCE)

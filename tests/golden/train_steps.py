"""The original's five optimiser steps on given noise, taken by our loop on any layout."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.data.batch import Batch
from worldtune.models.build import build
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.objectives.coefficients import RectifiedFlow
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.loss import LossRule
from worldtune.objectives.noise_levels import NoiseLevels
from worldtune.objectives.schedule import LambdaLinear
from worldtune.parallel.apply import HowToRun, spread
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.parallel.pieces import Pieces
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss, Draws, LossSettings
from worldtune.train.loop import Progress, TimedBatch, Training, train
from worldtune.train.optimizer import MasterAdamW
from worldtune.train.report import StepReport
from worldtune.train.signals import StopRequest


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


@dataclass(frozen=True)
class Taken:
    """What our steps told and left; whole weights, on the first process."""

    steps: list[StepReport]
    weights: dict[str, Tensor]
    averages: dict[str, Tensor]


def take_steps(
    told: dict[str, Any],
    run: dict[str, Any],
    sizes: dict[str, Any],
    vectors: dict[str, Tensor],
    initial: dict[str, Tensor],
    mesh: ProcessMesh = ALONE,
) -> Taken:
    """Take the steps of one run of `train_steps.json`, over the processes of a mesh."""
    network = build(predict2_config(sizes), seed=None)
    load_network(network, initial, PREDICT2)
    spread(network, mesh, HowToRun())
    pieces = Pieces(network, mesh)
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
    optimizer = MasterAdamW(dict(network.named_parameters()), **adamw)
    average = WeightAverage(optimizer.parameters, rate=told["ema_rate"])
    reports = Reports()
    training = Training(
        clip_loss=GivenDraws(run["steps"], vectors, network, BuiltinTokenizer(), settings),
        optimizer=optimizer,
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
        mesh=mesh,
    )
    train(training, [reports], StopRequest())
    masters = {name: master.detach() for name, master in optimizer.masters.items()}
    return Taken(reports.steps, pieces.whole(masters), pieces.whole(average.values))

"""The trial on a few clips passes a pipeline that is right, and no other."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.train.tiny import WITHOUT_VALIDATION, Tiny, log_of, metrics, state_of, states, tiny
from worldtune.checkpoint.state_folder import list_states
from worldtune.data.batch import Batch
from worldtune.errors import RunError, StoppedEarlyError
from worldtune.objectives.loss import LossSums, loss_sums
from worldtune.train import run as module
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.monitors import ManualGc
from worldtune.train.optimizer import MasterAdamW
from worldtune.train.report import StepReport

# One clip is learned within a hundred steps of 10 ms each.
TRIAL = (*WITHOUT_VALIDATION, "overfit=1", "optimizer.lr=5e-3", "trainer.max_iter=150")
SHORT = "trainer.max_iter=100"


def test_a_pipeline_that_is_right_passes(runs: Tiny):
    runs.run("right", *TRIAL)
    run = runs.folder / "right_overfit1"

    told = log_of(run)
    steps = metrics(run)[-1]["iteration"]
    assert 25 <= steps <= 100
    assert "[INFO] Overfit: loss on fixed noise " in told
    assert "[INFO] Overfit passed: the loss fell from " in told
    assert f" in {steps} steps\n" in told
    assert "Clips: 1 clips" in told
    assert list_states(states(run)) == [], "nothing of a trial is saved"
    assert {line["learning_rate"] for line in metrics(run)} == {5e-3}, "no warm-up"


def failed(runs: Tiny, *words: str) -> str:
    with pytest.raises(RunError) as told:
        runs.run("wrong", *TRIAL, *words)
    return str(told.value)


@pytest.mark.slow
def test_a_rate_of_zero_fails(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    step = MasterAdamW.step
    monkeypatch.setattr(MasterAdamW, "step", lambda optimizer, rate: step(optimizer, 0.0))

    message = failed(runs, "trainer.max_iter=25")
    assert message.startswith(
        "overfit failed: after 25 steps on 1 clips their loss on fixed noise went from "
    )
    first, last = message.split("went from ")[1].split(",")[0].split(" to ")
    assert first == last
    assert message.endswith(
        "Look at the learning rate (0.005), at what is frozen, and at whether the clips and "
        "captions are what they should be"
    )


@pytest.mark.slow
def test_a_loss_against_the_noise_of_another_place_fails(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    """What the network should find is the noise in its input, not that of another clip."""

    def against_another(clip_loss: ClipLoss, batch: Batch) -> LossSums:
        latents = clip_loss.latents(batch)
        draws = clip_loss.draw(latents, batch)
        other = clip_loss.draw(latents, replace(batch, index=batch.index + 1)).noise
        predicted = clip_loss._denoise(latents, batch, draws, clip_loss._bound(batch, draws))
        sigma = draws.sigma.view(-1, 1, 1, 1, 1)
        target = latents + sigma * (draws.noise - other)
        weight = clip_loss.settings.objective.coefficients(draws.sigma).weight
        return loss_sums(target, predicted.x0, weight)

    monkeypatch.setattr(ClipLoss, "__call__", against_another)
    assert failed(runs, SHORT).startswith("overfit failed: after 100 steps on 1 clips their loss")


def test_frozen_blocks_fail_before_the_first_step(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    """Their loss falls like any other: the layers around them learn a few clips alone."""
    start = module.start_network

    def frozen(*words: object) -> object:
        begun = start(*words)  # pyright: ignore[reportArgumentType]
        begun.network.blocks.requires_grad_(False)
        return begun

    monkeypatch.setattr(module, "start_network", frozen)
    blocks = sum("blocks." in name for name in state_names(runs))
    assert failed(runs) == (
        f"overfit failed: {blocks} of {len(state_names(runs))} weights are frozen, first "
        f"{next(name for name in state_names(runs) if 'blocks.' in name)!r}; with "
        "model.config.train_architecture=base all of them train"
    )


def state_names(runs: Tiny) -> list[str]:
    from worldtune.inference.pieces import network_config
    from worldtune.models.build import build

    network = build(network_config(tiny(runs.clips).recipe), device="meta")
    return [name for name, _ in network.named_parameters()]


@pytest.mark.slow
def test_blocks_that_no_gradient_reaches_fail_though_the_loss_falls(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    start = module.start_network

    def cut_off(*words: object) -> object:
        begun = start(*words)  # pyright: ignore[reportArgumentType]
        for parameter in begun.network.blocks.parameters():
            assert isinstance(parameter, nn.Parameter)
            parameter.register_hook(torch.zeros_like)
        return begun

    monkeypatch.setattr(module, "start_network", cut_off)
    blocks = sum("blocks." in name for name in state_names(runs))
    message = failed(runs)
    assert message.startswith(
        f"overfit failed: the loss fell, but no gradient reaches {blocks} of "
        f"{len(state_names(runs))} weights, first 'blocks.0."
    )


@pytest.mark.slow
def test_a_trial_leaves_the_run_of_the_same_name_alone(runs: Tiny, plain: Path):
    run = runs.copied(plain, "right")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(RunError):
        runs.run("right", *TRIAL, "trainer.max_iter=1")

    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert state_of(run, 4)[1]["progress"]["iteration"] == 4


def test_a_trial_that_is_stopped_says_that_nothing_is_saved(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    def after_step(watcher: ManualGc, report: StepReport) -> None:
        if report.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ManualGc, "after_step", after_step)
    with pytest.raises(StoppedEarlyError) as told:
        runs.run("stopped", *TRIAL)
    assert str(told.value) == (
        "the trial was stopped by SIGTERM after 2 steps; nothing of it is saved"
    )

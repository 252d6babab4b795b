"""Whole sampling runs through the tiny network against the reference's numbers."""

from functools import partial

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import RectifiedFlow
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.denoise import denoise
from worldtune.objectives.sampler import (
    Predict,
    SolverStep,
    guided,
    noise_levels,
    sample,
    start_noise,
)

TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def network(predict2) -> Transformer:
    model = Transformer(predict2_config(predict2.json("config")))
    load_network(model, predict2.tensors("dit_state"), PREDICT2)
    return model


@pytest.fixture(scope="module")
def runs(predict2) -> list[tuple[dict, dict[str, Tensor]]]:
    tensors = predict2.tensors("sampler")
    found = []
    for run in predict2.json("sampler")["runs"]:
        prefix = f"{run['name']}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        found.append((run, own))
    assert found
    return found


def _predict(network, objective, run: dict, stored: dict[str, Tensor], text: Tensor) -> Predict:
    clean = stored["condition_latents"]
    count = torch.tensor([run["num_conditional_latent_frames"]])
    given = GivenFrames(first_frames_mask(count, clean.shape[2]), clean)
    asked = partial(network, text_BND=text)
    return lambda x, sigma: denoise(asked, objective, x, torch.tensor([sigma]), given).x0


@pytest.fixture(scope="module")
def followed(predict2, network, runs) -> list[tuple[list[SolverStep], Tensor]]:
    """Every run's steps and result."""
    objective = RectifiedFlow(given_sigma=predict2.json("config")["sigma_conditional"])
    found = []
    for run, stored in runs:
        text = stored["crossattn_emb"]
        # Without a negative prompt the reference takes the text itself in both branches.
        negative = stored.get("neg_crossattn_emb", text)
        predict = guided(
            _predict(network, objective, run, stored, text),
            _predict(network, objective, run, stored, negative),
            run["guidance"],
        )
        steps: list[SolverStep] = []
        levels = noise_levels(run["steps"])
        start = start_noise(run["seed"], stored["x_sigma_max"].shape, levels[0])
        result = sample(predict, start, levels, on_step=steps.append)
        found.append((steps, result))
    return found


def test_levels_are_the_references(predict2):
    stored = predict2.json("sampler")["sigmas"]
    assert stored
    for theirs in stored.values():
        assert noise_levels(len(theirs) - 1) == pytest.approx(theirs, rel=1e-12)


def test_the_start_is_the_references_for_its_seed(runs, close):
    for run, stored in runs:
        start = start_noise(run["seed"], stored["x_sigma_max"].shape, 80.0)

        close(start, stored["x_sigma_max"], 1e-7)


def test_each_step_predicts_and_moves_as_the_reference(runs, followed, close):
    for (run, stored), (steps, _) in zip(runs, followed, strict=True):
        assert len(steps) == run["steps"]
        assert run["stored_steps"]
        for number in run["stored_steps"]:
            close(steps[number].x0, stored[f"step{number:02d}.x0_pred"], TOLERANCE)
            close(steps[number].state, stored[f"step{number:02d}.next_sample"], TOLERANCE)


def test_each_run_ends_in_the_references_latents(runs, followed, close):
    for (run, stored), (_, result) in zip(runs, followed, strict=True):
        close(result, stored["final_latent"], TOLERANCE)
        assert result.abs().mean().item() == pytest.approx(run["final_abs_mean"], rel=TOLERANCE)

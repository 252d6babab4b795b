"""The training loss of the flow, given frames included, against the reference's numbers."""

from functools import partial

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.models.transformer import Transformer
from worldtune.objectives.clip import gradients_of, total_norm
from worldtune.objectives.coefficients import RectifiedFlow
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.denoise import Denoised, add_noise, denoise
from worldtune.objectives.loss import LossRule, LossSums, loss_sums

TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def network(predict2) -> Transformer:
    model = Transformer(predict2_config(predict2.json("config")))
    load_network(model, predict2.tensors("dit_state"), PREDICT2)
    return model


@pytest.fixture(scope="module")
def objective(predict2) -> RectifiedFlow:
    return RectifiedFlow(given_sigma=predict2.json("config")["sigma_conditional"])


@pytest.fixture(scope="module")
def cases(predict2) -> list[tuple[dict, dict[str, Tensor]]]:
    tensors = predict2.tensors("train_loss")
    found = []
    for case in predict2.json("train_loss"):
        prefix = f"{case['name']}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        found.append((case, own))
    assert found
    return found


def _denoise(network, objective, case: dict, stored: dict[str, Tensor]) -> Denoised:
    count = torch.tensor(case["num_cond_frames"])
    hidden = torch.full(count.shape, not case["use_video_condition"])
    given = GivenFrames(
        mask=first_frames_mask(count, stored["x0"].shape[2]),
        clean=stored["x0"],
        frames_hidden=hidden,
    )
    asked = partial(network, text_BND=stored["crossattn_emb"], padding_mask=stored["padding_mask"])
    sigma = stored["sigma"][:, 0]
    x_sigma = add_noise(stored["x0"], stored["epsilon"], sigma)
    return denoise(asked, objective, x_sigma, sigma, given)


def _loss(network, objective, case: dict, stored: dict[str, Tensor]) -> LossSums:
    predicted = _denoise(network, objective, case, stored)
    weight = objective.coefficients(predicted.sigma).weight
    return loss_sums(stored["x0"], predicted.x0, weight)


def test_the_mask_of_given_frames_is_the_references(cases):
    for case, stored in cases:
        mask = first_frames_mask(torch.tensor(case["num_cond_frames"]), stored["x0"].shape[2])

        assert torch.equal(mask.expand_as(stored["condition_mask"]), stored["condition_mask"])


@torch.no_grad()
def test_predictions_of_data_and_noise_are_the_references(network, objective, cases, close):
    for case, stored in cases:
        ours = _denoise(network, objective, case, stored)

        close(ours.x_sigma, stored["xt"], TOLERANCE)
        close(ours.x0, stored["x0_pred"], TOLERANCE)
        close(ours.eps, stored["eps_pred"], TOLERANCE)


@torch.no_grad()
def test_losses_are_the_references_in_every_form(network, objective, cases, close):
    for case, stored in cases:
        sums = _loss(network, objective, case, stored)
        per_frame = stored["x0"][0, :, 0].numel()

        weight = objective.coefficients(stored["sigma"][:, 0]).weight
        close(weight[:, None], stored["weights"], TOLERANCE)
        close(sums.weighted / per_frame, stored["edm_loss_per_frame"], TOLERANCE)
        mean, total = LossRule("mean", scale=10.0), LossRule("sum", scale=10.0)
        mse = sums.squared.sum().item() / sums.elements
        assert mse == pytest.approx(case["mse_loss"], rel=TOLERANCE)
        for ours, theirs in (
            (mean.plain(sums, sums.elements), "edm_loss"),
            (mean.plain(sums, sums.elements), "logged_loss"),
            (mean.backward(sums, sums.elements), "backprop_loss"),
            (mean.printed(sums, sums.elements), "backprop_loss"),
            (total.backward(sums, sums.elements), "loss_sum_reduce"),
        ):
            assert ours.item() == pytest.approx(case[theirs], rel=TOLERANCE)


def test_gradients_of_the_scaled_loss_are_the_references(network, objective, cases, close):
    compared = 0
    for case, stored in cases:
        network.zero_grad()
        sums = _loss(network, objective, case, stored)
        LossRule("mean", scale=10.0).backward(sums, sums.elements).backward()

        norm = total_norm(gradients_of(network.parameters()))
        assert norm.item() == pytest.approx(case["grad_l2_norm_all_params"], rel=TOLERANCE)
        gradients = {name: p.grad for name, p in network.named_parameters()}
        for name, theirs in stored.items():
            if name.startswith("grad."):
                ours = gradients[name.removeprefix("grad.")]
                assert ours is not None
                close(ours, theirs, TOLERANCE)
                compared += 1
    assert compared


def test_accumulated_samples_have_the_gradients_of_their_batch(network, objective, cases, close):
    """The step of a batch, taken sample by sample with the loss divided by the whole count."""
    rule = LossRule("mean", scale=10.0)
    batches = [(case, stored) for case, stored in cases if len(stored["x0"]) > 1]
    assert batches
    for case, stored in batches:
        network.zero_grad()
        added = 0.0
        for row in range(len(stored["x0"])):
            one = {name: tensor[row : row + 1] for name, tensor in stored.items()}
            counts = case["num_cond_frames"][row : row + 1]
            sums = _loss(network, objective, {**case, "num_cond_frames": counts}, one)
            share = rule.backward(sums, stored["x0"].numel())
            share.backward()
            added += share.item()

        assert added == pytest.approx(case["backprop_loss"], rel=TOLERANCE)
        norm = total_norm(gradients_of(network.parameters()))
        assert norm.item() == pytest.approx(case["grad_l2_norm_all_params"], rel=TOLERANCE)

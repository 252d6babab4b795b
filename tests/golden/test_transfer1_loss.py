"""The training loss of control branches, one camera and several, against the reference."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, multi_view_config, single_view_config
from worldtune.checkpoint.names import TRANSFER1
from worldtune.config.condition_location import parse_location
from worldtune.models.control import ControlBranch, ControlledTransformer
from worldtune.models.transformer import Transformer
from worldtune.objectives.clip import gradients_of, total_norm
from worldtune.objectives.coefficients import Edm
from worldtune.objectives.conditioning import GivenFrames
from worldtune.objectives.denoise import Denoised, add_noise, denoise
from worldtune.objectives.logvar import LogVariance
from worldtune.objectives.loss import LossRule, LossSums, loss_sums
from worldtune.objectives.views import given_mask

TOLERANCE = 3e-6
GRADIENT_TOLERANCE = 1e-5

# Which frames the stored losses give: the first camera's, or also the first of every camera.
LOCATIONS = {"mv_t2w_loss": "first_cam", "mv_v2w_loss": "first_cam_and_first_n"}
LOSSES = ("sv_loss", *LOCATIONS)


@dataclass(frozen=True)
class Model:
    """A frozen base with the branch that trains, and the log-variance beside them."""

    network: ControlledTransformer
    log_variance: LogVariance
    inputs: dict[str, Tensor]


def _model(transfer1, views: str) -> Model:
    sizes = transfer1.json("manifest")["config"]
    config = (single_view_config if views == "sv" else multi_view_config)(sizes)
    network = ControlledTransformer(
        Transformer(config),
        ControlBranch(config, sizes["num_control_blocks"], sizes["hint_channels"]),
    )
    base = transfer1.tensors(f"{views}_base_model")
    load_network(network.base, base, TRANSFER1)
    load_network(network.branch, transfer1.tensors(f"{views}_control"), TRANSFER1)
    network.base.requires_grad_(False)
    log_variance = LogVariance().requires_grad_(False)
    beside = {n.removeprefix("logvar."): t for n, t in base.items() if n.startswith("logvar.")}
    log_variance.load_state_dict(beside, strict=True)
    return Model(network, log_variance, transfer1.tensors(f"{views}_io"))


@pytest.fixture(scope="module")
def models(transfer1) -> dict[str, Model]:
    return {views: _model(transfer1, views) for views in ("sv", "mv")}


@pytest.fixture(scope="module")
def objective(transfer1) -> Edm:
    return Edm(transfer1.json("manifest")["config"]["sigma_data"])


@pytest.fixture(params=LOSSES)
def name(request) -> str:
    return request.param


@pytest.fixture
def stored(transfer1, name) -> dict[str, Tensor]:
    return transfer1.tensors(name)


@pytest.fixture
def model(models, name) -> Model:
    return models[name[:2]]


@pytest.fixture
def given(transfer1, name, stored) -> GivenFrames | None:
    if name not in LOCATIONS:
        return None
    views = transfer1.json("manifest")["config"]["n_views"]
    mask = given_mask(
        parse_location(LOCATIONS[name], views),
        seed=0,
        indices=range(len(stored["in.x0"])),
        num_views=views,
        num_latents=stored["in.x0"].shape[2] // views,
        first_n=int(stored["in.num_condition_t"]),
    )
    return GivenFrames(
        mask=mask,
        clean=stored["in.x0"],
        augment_sigma=stored["in.augment_sigma"],
        augment_noise=stored["in.augment_noise"],
    )


def _denoise(model: Model, objective: Edm, stored: dict[str, Tensor], given) -> Denoised:
    inputs = model.inputs
    asked = partial(
        model.network,
        text_BND=inputs["in.crossattn_emb"],
        hints=(inputs["in.hint_latent"],),
        padding_mask=inputs.get("in.padding_mask"),
        fps=inputs["in.fps"],
        view_indices=inputs.get("in.view_indices_B_T"),
    )
    sigma = stored["in.sigma"]
    x_sigma = add_noise(stored["in.x0"], stored["in.epsilon"], sigma)
    return denoise(asked, objective, x_sigma, sigma, given)


def _loss(model: Model, objective: Edm, stored: dict[str, Tensor], given) -> LossSums:
    predicted = _denoise(model, objective, stored, given)
    coefficients = objective.coefficients(predicted.sigma)
    log_variance = model.log_variance(coefficients.c_noise)
    return loss_sums(stored["in.x0"], predicted.x0, coefficients.weight, log_variance)


def test_given_frames_are_the_references(stored, given):
    if given is None:
        assert "condition_video_indicator" not in stored
        return

    assert torch.equal(given.mask, stored["condition_video_indicator"])
    assert torch.equal(given.mask_channel(), stored["condition_video_input_mask"])


@torch.no_grad()
def test_predictions_are_the_references(model, objective, stored, given, close):
    ours = _denoise(model, objective, stored, given)

    close(ours.x_sigma, stored["xt"], TOLERANCE)
    if given is None:
        close(ours.x0, stored["model_pred_x0"], TOLERANCE)
        close(ours.eps, stored["model_pred_eps"], TOLERANCE)
        return
    c_in = objective.c_in(ours.sigma)[:, None, None, None, None]
    close(ours.network_input / c_in, stored["net_in_before_c_in_xt_composed"], TOLERANCE)
    close(ours.x0_everywhere, stored["net_x0_pred"], TOLERANCE)
    close(ours.x0, stored["model_pred_x0_replaced"], TOLERANCE)


@torch.no_grad()
def test_losses_are_the_references(model, objective, stored, given, close):
    sums = _loss(model, objective, stored, given)
    coefficients = objective.coefficients(stored["in.sigma"])

    close(coefficients.weight, stored["weight_per_sigma"], TOLERANCE)
    log_variance = model.log_variance(coefficients.c_noise)
    close(log_variance[:, None], stored["logvar"], TOLERANCE)
    rule = LossRule("mean", scale=1.0)
    close(rule.plain(sums, sums.elements)[None], stored["edm_loss_mean"], TOLERANCE)
    close(rule.backward(sums, sums.elements)[None], stored["loss_kendall_mean"], TOLERANCE)
    close(sums.squared.sum()[None] / sums.elements, stored["mse_mean"], TOLERANCE)


def test_gradients_of_the_branch_are_the_references(model, objective, stored, given, close):
    model.network.zero_grad()
    sums = _loss(model, objective, stored, given)
    LossRule("mean", scale=1.0).backward(sums, sums.elements).backward()

    norm = total_norm(gradients_of(model.network.parameters()))
    close(norm[None], stored["grad_norm_all_trainable"], GRADIENT_TOLERANCE)
    branch = dict(model.network.branch.named_parameters())
    compared = [entry for entry in stored if entry.startswith("grad.net.")]
    assert compared
    for entry in compared:
        module = TRANSFER1.to_module(entry.removeprefix("grad.net."))
        assert module is not None
        gradient = branch[module].grad
        assert gradient is not None
        close(gradient, stored[entry], GRADIENT_TOLERANCE)


def test_the_frozen_base_and_log_variance_get_no_gradient(model, objective, stored, given):
    model.network.zero_grad()
    sums = _loss(model, objective, stored, given)
    LossRule().backward(sums, sums.elements).backward()

    assert not gradients_of(model.network.base.parameters())
    assert not gradients_of(model.log_variance.parameters())

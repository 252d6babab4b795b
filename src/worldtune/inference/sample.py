"""Sampling a clip: what `worldtune generate` and the samples of a training run both call.

Dims: B clips, C channels, T latent frames, H and W latent rows and columns, N text tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.errors import RecipeError
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import Objective
from worldtune.objectives.conditioning import GivenFrames, first_frames_mask
from worldtune.objectives.denoise import denoise
from worldtune.objectives.sampler import (
    Predict,
    Solver,
    SolverStep,
    guided,
    noise_levels,
    sample,
    start_noise,
    unconditional_text,
)

GUIDANCE = 7.0


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a clip is sampled; the defaults are the published ones.

    guidance g gives x0 = conditional + g * (conditional - unconditional): the more common
    scale is g + 1, and 0 does not guide.
    """

    steps: int = 35
    guidance: float = GUIDANCE
    sigma_max: float = 80.0
    sigma_min: float = 0.002
    order: float = 7.0
    solver: Solver = "2ab"

    def levels(self) -> tuple[float, ...]:
        """Return the falling noise levels. Errors: RecipeError where they cannot fall."""
        return noise_levels(
            self.steps,
            sigma_max=self.sigma_max,
            sigma_min=self.sigma_min,
            order=self.order,
            solver=self.solver,
        )


def sample_latents(
    network: Transformer,
    objective: Objective,
    sampling: Sampling,
    *,
    text: Float[Tensor, "b n d"],
    negative_text: Float[Tensor, "b n d"] | None,
    given: Float[Tensor, "b c t h w"],
    num_given: int,
    seeds: Sequence[int],
    fps: float,
    on_step: Callable[[SolverStep], None] | None = None,
) -> Float[Tensor, "b c t h w"]:
    """Sample the latents of one or more clips, float32, on the device of the network.

    given holds the latents of the conditioning clips, of which the first num_given frames are
    shown to the network and come back unchanged; only its shape counts where num_given is 0.
    Every clip has its own seed, so that its start noise does not depend on the batch.
    negative_text is the negative prompt's embedding, that of an empty prompt included; None
    guides away from no text at all (zeros), which is what training shows when it drops a
    caption. The network runs in its weights' dtype, everything else in float32 and the
    solver in float64.

    Errors: RecipeError for seeds, steps or levels out of range, and where the given frames
    leave nothing to predict.

    Source: the sampler of Cosmos-Predict2's Video2World.
    """
    if len(seeds) != len(given):
        raise RecipeError(f"{len(seeds)} seeds for {len(given)} clips; expected one for each")
    device = next(network.parameters()).device
    given = given.to(device, torch.float32)
    count = torch.full((len(given),), num_given, device=device)
    frames = GivenFrames(first_frames_mask(count, given.shape[2]), given)
    shape = (1, *given.shape[1:])
    start = torch.cat([start_noise(seed, shape, sampling.sigma_max) for seed in seeds])

    def predict_with(words: Tensor) -> Predict:
        return _predictor(network, objective, frames, words.to(device), fps)

    predict = guided(
        predict_with(text),
        predict_with(unconditional_text(text, negative_text)),
        sampling.guidance,
    )
    return sample(
        predict, start.to(device), sampling.levels(), solver=sampling.solver, on_step=on_step
    )


def _predictor(
    network: Transformer,
    objective: Objective,
    given: GivenFrames,
    text: Float[Tensor, "b n d"],
    fps: float,
) -> Predict:
    """Bind everything but the state and its noise level."""
    clean = given.clean
    # At latent size: a mask of zeros stays zeros whatever size it is brought to.
    padding = clean.new_zeros(len(clean), 1, *clean.shape[3:])
    rate = clean.new_full((len(clean),), fps)

    def network_of(
        latents_BCTHW: Tensor, time_BT: Tensor, /, *, condition_mask: Tensor | None
    ) -> Tensor:
        return network(
            latents_BCTHW,
            time_BT,
            text,
            condition_mask=condition_mask,
            padding_mask=padding,
            fps=rate,
        )

    def predict(state: Tensor, sigma: float) -> Tensor:
        level = state.new_full((len(state),), sigma, dtype=torch.float32)
        return denoise(network_of, objective, state, level, given, network_dtype=network.dtype).x0

    return predict

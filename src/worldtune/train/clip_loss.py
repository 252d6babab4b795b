"""The loss of a batch of clips: encode, draw, add noise, denoise, score.

Every draw is a function of the seed and of the clip's place in the run's order, so the same
clips have the same loss in whatever batches, on whatever ranks they come.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.data.batch import Batch, to_model_range
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.models.transformer import Trunk
from worldtune.objectives import randomness
from worldtune.objectives.bands import Band, fixed_noise
from worldtune.objectives.coefficients import Objective
from worldtune.objectives.conditioning import GivenFrames, draw_given_count, first_frames_mask
from worldtune.objectives.denoise import Denoised, Network, add_noise, denoise
from worldtune.objectives.dropout import draw_dropped, drop_text
from worldtune.objectives.loss import LossRule, LossSums, loss_sums
from worldtune.objectives.noise_levels import NoiseLevels


@dataclass(frozen=True)
class LossSettings:
    """What the recipe says of the loss."""

    objective: Objective
    levels: NoiseLevels
    rule: LossRule
    seed: int
    min_given: int  # latent frames
    max_given: int
    text_dropout: float  # share of clips
    frames_dropout: float

    def levels_of(self, latents: Float[Tensor, "b c t h w"]) -> NoiseLevels:
        """Noise levels of clips, or of single images."""
        return self.levels.for_images() if latents.shape[2] == 1 else self.levels


@dataclass(frozen=True)
class Draws:
    """All that is random in the loss of a batch."""

    noise: Float[Tensor, "b c t h w"]
    sigma: Float[Tensor, " b"]
    given: GivenFrames
    text: Float[Tensor, "b n d"]


class ClipLoss:
    """Scores a network on batches of clips, on the network's device."""

    def __init__(self, network: Trunk, tokenizer: VideoTokenizer, settings: LossSettings) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.settings = settings

    @torch.no_grad()
    def latents(self, batch: Batch) -> Float[Tensor, "b c t h w"]:
        """Encode the clips, unless they are; float32."""
        if batch.latents is not None:
            return batch.latents
        return self.tokenizer.encode(to_model_range(batch.video)).float()

    def encoded(self, batch: Batch) -> Batch:
        """Put latents in the place of the video, which is let go."""
        return replace(batch, latents=self.latents(batch), video=batch.video[:, :, :0])

    def __call__(self, batch: Batch) -> LossSums:
        """Score a batch in training; the sums carry the graph."""
        latents = self.latents(batch)
        return self._score(latents, batch, self.draw(latents, batch))

    @torch.no_grad()
    def on_fixed_noise(
        self, latents: Float[Tensor, "b c t h w"], batch: Batch, band: Band
    ) -> LossSums:
        """Score held-out clips in one band of noise levels, the same way every time.

        The fewest frames that training gives are given, and no text is dropped.
        """
        return self._score(latents, batch, self._fixed_draws(latents, batch, band))

    @torch.no_grad()
    def of_no_prediction(
        self, latents: Float[Tensor, "b c t h w"], batch: Batch, band: Band
    ) -> LossSums:
        """Score, on the same noise, a network whose output is 0 everywhere."""
        return self._score(latents, batch, self._fixed_draws(latents, batch, band), _zero)

    def draw(self, latents: Float[Tensor, "b c t h w"], batch: Batch) -> Draws:
        """Draw noise, level, given frames and dropped conditions of each clip."""
        ours, places, device = self.settings, batch.index, latents.device
        count = draw_given_count(ours.seed, places, ours.min_given, ours.max_given)
        hidden = draw_dropped(ours.seed, "frames_dropout", places, ours.frames_dropout)
        dropped = draw_dropped(ours.seed, "text_dropout", places, ours.text_dropout)
        return Draws(
            noise=randomness.normal(ours.seed, "noise", places, latents.shape[1:]).to(device),
            sigma=ours.levels_of(latents).draw(ours.seed, places).to(device),
            given=GivenFrames(
                mask=first_frames_mask(count, latents.shape[2]).to(device),
                clean=latents,
                frames_hidden=hidden.to(device) if ours.frames_dropout > 0 else None,
            ),
            text=drop_text(batch.text, dropped.to(device)),
        )

    def _fixed_draws(self, latents: Float[Tensor, "b c t h w"], batch: Batch, band: Band) -> Draws:
        ours, device = self.settings, latents.device
        levels = ours.levels_of(latents)
        fixed = fixed_noise(band, levels, ours.seed, batch.index, latents.shape[1:])
        count = torch.full((len(latents),), ours.min_given)
        mask = first_frames_mask(count, latents.shape[2]).to(device)
        return Draws(
            noise=fixed.noise.to(device),
            sigma=fixed.sigma.to(device),
            given=GivenFrames(mask=mask, clean=latents),
            text=batch.text,
        )

    def _score(
        self,
        latents: Float[Tensor, "b c t h w"],
        batch: Batch,
        draws: Draws,
        network: Network | None = None,
    ) -> LossSums:
        objective = self.settings.objective
        predicted = self._denoise(latents, batch, draws, network or self._bound(batch, draws))
        weight = objective.coefficients(draws.sigma).weight
        return loss_sums(latents, predicted.x0, weight)

    def _denoise(
        self,
        latents: Float[Tensor, "b c t h w"],
        batch: Batch,
        draws: Draws,
        network: Network,
    ) -> Denoised:
        return denoise(
            network,
            self.settings.objective,
            add_noise(latents, draws.noise, draws.sigma),
            draws.sigma,
            draws.given,
            network_dtype=self.dtype,
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the network computes in."""
        return self.network.dtype

    def _bound(self, batch: Batch, draws: Draws) -> Network:
        def network(
            latents_BCTHW: Tensor, time_BT: Tensor, /, *, condition_mask: Tensor | None
        ) -> Tensor:
            return self.network(
                latents_BCTHW,
                time_BT,
                draws.text.to(self.dtype),
                condition_mask=condition_mask,
                padding_mask=batch.padding_mask,
                fps=batch.fps,
            )

        return network


def _zero(latents_BCTHW: Tensor, time_BT: Tensor, /, *, condition_mask: Tensor | None) -> Tensor:
    return torch.zeros_like(latents_BCTHW)

"""Making one video: encode the given frames, sample, decode, and go on from what was made.

Dims: B clips (1), C channels, S latent frames, T frames, N given frames, H and W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from worldtune.data.video import to_pixels
from worldtune.inference.clip_input import Rest, conditioning_clip
from worldtune.inference.sample import Sampling, sample_latents
from worldtune.models.tokenizer import VideoTokenizer, count_frames, count_latents
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import Objective
from worldtune.objectives.sampler import SolverStep

# Called after every step of every chunk, with the chunk's number from 0.
OnStep = Callable[[int, SolverStep], None]


@dataclass(frozen=True)
class VideoModel:
    """A network and what turns pixels into its latents and back."""

    network: Transformer
    objective: Objective
    tokenizer: VideoTokenizer
    num_latents: int  # of a clip

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        return count_frames(self.num_latents, self.tokenizer.temporal_factor)

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device


@dataclass(frozen=True)
class Texts:
    """What to make and what to keep away from, encoded."""

    prompt: Float[Tensor, "1 n d"]
    negative: Float[Tensor, "1 n d"]


def make_video(
    model: VideoModel,
    given: Float[Tensor, "3 n h w"] | None,
    rest: Rest,
    texts: Texts,
    sampling: Sampling,
    *,
    size: tuple[int, int],
    seed: int,
    fps: float,
    num_chunks: int = 1,
    on_step: OnStep | None = None,
) -> UInt8[Tensor, "t h w 3"]:
    """Make num_chunks clips, each going on from the last frames of the one before.

    given holds the frames, -1 to 1, that the first clip begins with, and rest says what the
    frames behind them are taken for (see `conditioning_clip`); None: nothing is given, which
    is for models of single images. Chunk k is sampled from seed + k. Later chunks take over
    as many frames as were given, as they were decoded, and these are not shown twice: the
    video has T + (num_chunks - 1) * (T - N) frames.
    """
    shown = []
    for chunk in range(num_chunks):
        video = _make_clip(
            model, given, rest, texts, sampling, size=size, seed=seed + chunk, fps=fps,
            on_step=_in_chunk(on_step, chunk),
        )  # fmt: skip
        taken_over = 0 if chunk == 0 or given is None else given.shape[1]
        shown.append(to_pixels(video[:, taken_over:]).cpu())
        if given is not None:
            given, rest = video[:, -given.shape[1] :], "last"
    return torch.cat(shown)


def _in_chunk(on_step: OnStep | None, chunk: int) -> Callable[[SolverStep], None] | None:
    if on_step is None:
        return None
    return lambda step: on_step(chunk, step)


@torch.no_grad()
def _make_clip(
    model: VideoModel,
    given: Float[Tensor, "3 n h w"] | None,
    rest: Rest,
    texts: Texts,
    sampling: Sampling,
    *,
    size: tuple[int, int],
    seed: int,
    fps: float,
    on_step: Callable[[SolverStep], None] | None,
) -> Float[Tensor, "3 t h w"]:
    """Make one clip, -1 to 1, on the model's device."""
    tokenizer = model.tokenizer
    if given is None:
        num_given = 0
        latents = torch.zeros(
            1,
            tokenizer.latent_channels,
            model.num_latents,
            *(side // tokenizer.spatial_factor for side in size),
        )
    else:
        num_given = count_latents(given.shape[1], tokenizer.temporal_factor)
        clip = conditioning_clip(given.to(model.device), model.num_frames, rest)
        latents = tokenizer.encode(clip)
    made = sample_latents(
        model.network,
        model.objective,
        sampling,
        text=texts.prompt,
        negative_text=texts.negative,
        given=latents,
        num_given=num_given,
        seeds=[seed],
        fps=fps,
        on_step=on_step,
    )
    return tokenizer.decode(made)[0].clamp(-1, 1)

"""A video tokenizer that needs no weights: every fourth frame as 16 numbers per 8x8 cell.

A latent is one picture, frame 0, 4, 8, ...: 13 or 14 lowest cosine waves of its brightness
and the means of its two colour differences. The frames between are made from the two
pictures around them, both of which a causal decoder has. Nothing is learned.

Dims: B clips, T frames, S latents, H and W rows and columns of pixels.
"""

import hashlib
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from worldtune.models.tokenizer import check_latents, check_video, count_frames

CELL = 8
FACTOR = 4
# (colour, vertical wave, horizontal wave) of each channel.
CHANNELS = (
    (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 0, 2), (0, 2, 0), (0, 1, 2), (0, 2, 1),
    (0, 2, 2), (0, 0, 3), (0, 3, 0), (0, 1, 3), (0, 3, 1), (0, 2, 3), (1, 0, 0), (2, 0, 0),
)  # fmt: skip
# Deviations of the channels, in the units of orthonormal waves over values of -1 to 1.
SCALE = (6.0, 1.5, 1.5, 0.5, 0.7, 0.7, 0.4, 0.4, 0.3, 0.4, 0.4, 0.25, 0.25, 0.2, 1.0, 0.5)


class BuiltinTokenizer:
    """The tokenizer of the demo and of the tests."""

    name = "builtin"
    temporal_factor = FACTOR
    spatial_factor = CELL
    latent_channels = len(CHANNELS)

    def __init__(self) -> None:
        """Draw the waves."""
        colour, wave = _waves(3), _waves(CELL)
        self._kernels = torch.stack(
            [torch.einsum("c,y,x->cyx", colour[c], wave[v], wave[h]) for c, v, h in CHANNELS]
        ).float()
        self._scale = torch.tensor(SCALE)

    def encode(self, video: Tensor) -> Float[Tensor, "b 16 s y x"]:
        """Normalised float32 latents of RGB frames [B, 3, T, H, W] in -1 to 1.

        Errors: DataError where the shape does not divide into latents.
        """
        check_video(self, video)
        key_frames = video[:, :, ::FACTOR].float()
        pictures = key_frames.transpose(1, 2).flatten(0, 1)
        kernels = (self._kernels / self._scale[:, None, None, None]).to(video.device)
        latents = functional.conv2d(pictures, kernels, stride=CELL)
        return latents.unflatten(0, (len(video), -1)).transpose(1, 2).contiguous()

    def decode(self, latents: Tensor) -> Float[Tensor, "b 3 t h w"]:
        """RGB frames in -1 to 1 of normalised latents [B, 16, S, H/8, W/8].

        Errors: DataError for another number of channels or dims.
        """
        check_latents(self, latents)
        cells = latents.float().transpose(1, 2).flatten(0, 1)
        kernels = (self._kernels * self._scale[:, None, None, None]).to(latents.device)
        pictures = functional.conv_transpose2d(cells, kernels, stride=CELL).clamp(-1, 1)
        key_frames = pictures.unflatten(0, (len(latents), -1)).transpose(1, 2)
        video = key_frames.new_empty(
            *key_frames.shape[:2], count_frames(latents.shape[2], FACTOR), *key_frames.shape[3:]
        )
        video[:, :, ::FACTOR] = key_frames
        for step in range(1, FACTOR):
            share = step / FACTOR
            video[:, :, step::FACTOR] = torch.lerp(
                key_frames[:, :, :-1], key_frames[:, :, 1:], share
            )
        return video

    def fingerprint(self) -> str:
        """Of the name, the version and the constants."""
        constants = repr((self.name, 1, CELL, FACTOR, CHANNELS, SCALE))
        return hashlib.sha256(constants.encode()).hexdigest()[:16]


def _waves(size: int) -> Float[Tensor, "k n"]:
    """Orthonormal cosine waves (DCT-II), one a row, in float64."""
    place = torch.arange(size, dtype=torch.float64) + 0.5
    wave = torch.arange(size, dtype=torch.float64)[:, None]
    rows = torch.cos(math.pi * wave * place / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows

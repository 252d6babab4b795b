"""A video tokenizer that needs no weights: every fourth frame as 16 numbers per 8x8 cell.

A latent is one picture: frame 0, 4, 8, ... Of each cell it holds the 14 lowest cosine waves
of its brightness (`waves.py`) and the means of its two colour differences, which the decoder
sharpens (`colour.py`). So a latent of a clip is what the latent of that frame alone would be,
and noise in one touches only the frames around it. The three frames between are not coded:
the decoder follows the motion from one picture to the next (`motion.py`). It has both, as a
causal decoder must.

Nothing is learned from video; the constants are those of natural pictures at large.

Dims: B clips, T frames, S latents, H and W rows and columns of pixels, Y and X of latents.
"""

import hashlib
import math

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.models import waves
from worldtune.models.colour import follow_brightness
from worldtune.models.motion import frames_between
from worldtune.models.tokenizer import check_latents, check_video

VERSION = 1
FACTOR = 4

# Half turns per cell, down and across, lowest first. (4, 0) is the fourteenth because what
# lies level, such as horizons, kerbs and roofs, is the commonest detail of an upright scene.
BRIGHTNESS_WAVES = (
    (0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0),
    (1, 3), (3, 1), (4, 0),
)  # fmt: skip
COLOUR_WAVES = ((0, 0),)
# The channels of a cell's brightness and two colour differences as a whole.
LEVEL_CHANNELS = (0, len(BRIGHTNESS_WAVES), len(BRIGHTNESS_WAVES) + 1)

# Brightness, red against blue, and green against both: orthonormal, and within 2 degrees the
# principal axes of colours in photographs (Krizhevsky et al. 2012, section 4.1).
COLOUR_AXES = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (-1 / math.sqrt(6), 2 / math.sqrt(6), -1 / math.sqrt(6)),
)
# Mean brightness of photographs (ImageNet's 0.449 of 1) and deviation along each axis, for
# values of -1 to 1. Of the two colour differences it is half that of photographs of things:
# streets are greyer.
MEAN_BRIGHTNESS = (2 * 0.449 - 1) * math.sqrt(3)
AXIS_DEVIATION = (0.74, 0.11, 0.055)


class BuiltinTokenizer:
    """The tokenizer of the demo, of tests and of runs without published weights."""

    name = "builtin"
    temporal_factor = FACTOR
    spatial_factor = waves.CELL
    latent_channels = len(BRIGHTNESS_WAVES) + 2 * len(COLOUR_WAVES)

    def __init__(self) -> None:
        """Work out the kernels; takes some hundredths of a second, once a process."""
        self._axes = torch.tensor(COLOUR_AXES, dtype=torch.float64)
        self._waves = BRIGHTNESS_WAVES + 2 * COLOUR_WAVES
        analysis, synthesis, means = [], [], []
        for axis, axis_waves in enumerate((BRIGHTNESS_WAVES, COLOUR_WAVES, COLOUR_WAVES)):
            kernels = waves.make_kernels(axis_waves)
            deviation = (AXIS_DEVIATION[axis] * kernels.deviation)[:, None, None, None]
            only_axis = torch.eye(3, dtype=torch.float64)[axis, :, None, None]
            read = kernels.analysis[:, None] / deviation
            analysis.append(read * self._axes[axis, :, None, None])
            synthesis.append(kernels.synthesis[:, None] * deviation * only_axis)
            level = MEAN_BRIGHTNESS if axis == 0 else 0.0
            means.append(level * read.sum((1, 2, 3)))
        self._analysis = torch.cat(analysis).float()
        self._synthesis = torch.cat(synthesis).float()
        self._mean = torch.cat(means).float()[:, None, None]

        # Numbers of an even picture of level 1: the first wave of brightness and the colours.
        one = waves.make_kernels(COLOUR_WAVES)
        spread = torch.tensor(AXIS_DEVIATION, dtype=torch.float64) * one.deviation
        self._per_level = (one.analysis.sum() / spread).float()[:, None, None]
        self._coarse = (one.synthesis * one.analysis.sum())[:, None].float()

        constants = (
            (self.name, VERSION, FACTOR, waves.CELL, waves.WINDOW, waves.CORRELATION_LENGTH),
            (self._waves, COLOUR_AXES, MEAN_BRIGHTNESS, AXIS_DEVIATION),
        )
        self._fingerprint = hashlib.sha256(repr(constants).encode()).hexdigest()[:16]

    @torch.no_grad()
    def encode(self, video: Tensor) -> Float[Tensor, "b 16 s y x"]:
        """Normalised float32 latents of RGB frames [B, 3, T, H, W] in -1 to 1.

        Errors: DataError where the shape does not divide into latents.
        """
        check_video(self, video)
        pictures = video[:, :, ::FACTOR].float().transpose(1, 2)
        values = waves.read_waves(pictures.flatten(0, 1), self._analysis.to(video.device))
        latents = values - self._mean.to(video.device)
        return latents.unflatten(0, pictures.shape[:2]).transpose(1, 2).contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Float[Tensor, "b 3 t h w"]:
        """RGB frames in -1 to 1, float32, of normalised latents [B, 16, S, H/8, W/8].

        One latent at a time: memory beside the result does not grow with the clip.
        Errors: DataError for another number of channels or dims.
        """
        check_latents(self, latents)
        picture = self._draw(latents[:, :, 0])
        frames = [picture.unsqueeze(2)]
        for index in range(1, latents.shape[2]):
            before, picture = picture, self._draw(latents[:, :, index])
            frames.append(frames_between(before, picture, FACTOR - 1))
            frames.append(picture.unsqueeze(2))
        return torch.cat(frames, dim=2)

    def fingerprint(self) -> str:
        """Of the name, the version and the constants."""
        return self._fingerprint

    def _draw(self, latent: Float[Tensor, "b 16 y x"]) -> Float[Tensor, "b 3 h w"]:
        """RGB of one latent, -1 to 1."""
        device = latent.device
        values = latent.float() + self._mean.to(device)
        levels = values[:, LEVEL_CHANNELS] / self._per_level.to(device)
        picture = waves.draw_picture(values, self._synthesis.to(device), self._waves)
        coarse = waves.draw_picture(levels[:, :1], self._coarse.to(device), COLOUR_WAVES)
        picture = follow_brightness(picture, coarse, levels)
        axes = self._axes.to(device, torch.float32)
        return torch.einsum("ac,bahw->bchw", axes, picture).clamp(-1, 1)

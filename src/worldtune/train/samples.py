"""Clips that the model makes while it trains: the same clips, from the same noise, each time."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from worldtune.data.video import to_pixels, write_video
from worldtune.inference.sample import Sampling, sample_latents
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import Objective
from worldtune.train.average import WeightAverage
from worldtune.train.logs import log
from worldtune.train.report import Every, StepReport
from worldtune.train.validation import HeldOut

# Strong guidance hides what a model has learned; this is the plain conditional prediction
# pushed once more away from no text.
GUIDANCE = 1.0
STRIP_FRAMES = 6


class Samples:
    """Writes `samples/iter_N/clip_K.mp4` and one strip beside them every `every` steps.

    The strip shows a clip as it is above what the model makes of its first frames, for every
    clip, at moments spread evenly over its length. The average is sampled where there is one.
    """

    def __init__(
        self,
        network: Transformer,
        average: WeightAverage | None,
        tokenizer: VideoTokenizer,
        objective: Objective,
        sampling: Sampling,
        clips: tuple[HeldOut, ...],
        *,
        num_given: int,
        every: int,
        folder: Path,
        writes: bool = True,
    ) -> None:
        self._network = network
        self._average = average
        self._tokenizer = tokenizer
        self._objective = objective
        self._sampling = sampling
        self._clips = clips
        self._num_given = num_given
        self._due = Every(every)
        self._folder = folder
        self._writes = writes  # else it only computes with those that do

    def start(self, first_iteration: int) -> None:
        """Nothing to do."""

    def after_step(self, report: StepReport) -> None:
        """Sample where it is due."""
        if self._due(report.iteration):
            self.write(report.iteration)

    def end(self) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def write(self, iteration: int) -> None:
        """Sample every clip and write the clips and the strip."""
        folder = self._folder / f"iter_{iteration:09d}"
        swapped = self._average.in_place_of_the_weights if self._average else nullcontext
        rows = []
        with swapped():
            for number, held in enumerate(self._clips):
                latents = self._sample(held, number)
                if not self._writes:
                    continue
                made = self._frames(latents)
                real = self._frames(held.latents)
                write_video(folder / f"clip_{number}.mp4", made, held.batch.fps[0].item())
                rows += [_moments(real), _moments(made)]
        if not self._writes:
            return
        write_strip(folder / "strip.png", rows)
        log.info(f"Samples written: {folder}")

    def _sample(self, held: HeldOut, number: int) -> Float[Tensor, "1 c t h w"]:
        batch = held.batch
        return sample_latents(
            self._network,
            self._objective,
            self._sampling,
            text=batch.text[:1],
            negative_text=None,
            given=held.latents[:1],
            num_given=self._num_given,
            seeds=[number],
            fps=batch.fps[0].item(),
        )

    def _frames(self, latents: Float[Tensor, "b c t h w"]) -> UInt8[Tensor, "frames y x 3"]:
        device = next(self._network.parameters()).device
        video = self._tokenizer.decode(latents[:1].to(device))
        return to_pixels(video[0]).cpu()


def _moments(frames: UInt8[Tensor, "t h w 3"]) -> UInt8[Tensor, "k h w 3"]:
    places = torch.linspace(0, len(frames) - 1, min(STRIP_FRAMES, len(frames))).round().long()
    return frames[places]


def write_strip(path: Path, rows: list[UInt8[Tensor, "k h w 3"]]) -> None:
    """Write rows of frames as one PNG, a thin white line between them."""
    from PIL import Image

    lines = []
    for row in rows:
        edge = ((1, 1), (1, 1), (0, 0))
        framed = [np.pad(frame.numpy(), edge, constant_values=255) for frame in row]
        lines.append(np.concatenate(framed, axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, axis=0)).save(path)

"""The loss on held-out clips, on the same noise every time."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from jaxtyping import Float
from torch import Tensor

from worldtune.data.batch import Batch
from worldtune.objectives.bands import BANDS
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.logs import Metrics, log
from worldtune.train.report import Every, StepReport


@dataclass(frozen=True)
class HeldOut:
    """Encoded held-out clips, kept on the CPU between validations."""

    latents: Float[Tensor, "b c t h w"]
    batch: Batch  # its video is let go


def encode_held_out(
    clip_loss: ClipLoss, batches: Iterable[Batch], most: int | None
) -> tuple[HeldOut, ...]:
    """Encode at most `most` batches once; their video is not kept."""
    held = []
    for batch in islice(batches, most):
        latents = clip_loss.latents(batch).cpu()
        held.append(HeldOut(latents, replace(batch, video=batch.video[:, :, :1]).to("cpu")))
    return tuple(held)


def band_losses(clip_loss: ClipLoss, held_out: Iterable[HeldOut]) -> dict[str, float]:
    """Mean weighted error in each band of noise levels, and their mean under 'mean'."""
    device = next(clip_loss.network.parameters()).device
    rule = clip_loss.settings.rule
    totals = dict.fromkeys(BANDS, 0.0)
    clips = 0
    for held in held_out:
        latents, batch = held.latents.to(device), held.batch.to(device)
        clips += len(batch)
        for band in BANDS:
            sums = clip_loss.on_fixed_noise(latents, batch, band)
            totals[band] += rule.plain(sums, sums.elements).item() * len(batch)
    losses = {band: total / clips for band, total in totals.items()}
    return {"mean": sum(losses.values()) / len(losses), **losses}


def loss_of_predicting_nothing(clip_loss: ClipLoss, held_out: Iterable[HeldOut]) -> float:
    """The mean over bands of a network whose output is 0 everywhere."""
    device = next(clip_loss.network.parameters()).device
    rule = clip_loss.settings.rule
    total, clips = 0.0, 0
    for held in held_out:
        latents, batch = held.latents.to(device), held.batch.to(device)
        clips += len(batch)
        for band in BANDS:
            sums = clip_loss.of_no_prediction(latents, batch, band)
            total += rule.plain(sums, sums.elements).item() * len(batch)
    return total / clips / len(BANDS)


class Validation:
    """Measures network and average on held-out clips, every `every` steps."""

    def __init__(
        self,
        clip_loss: ClipLoss,
        average: WeightAverage | None,
        held_out: tuple[HeldOut, ...],
        every: int,
        metrics: Metrics,
    ) -> None:
        self._clip_loss = clip_loss
        self._average = average
        self._held_out = held_out
        self._due = Every(every)
        self._metrics = metrics

    def start(self, first_iteration: int) -> None:
        """Measure before the first step, so that there is something to compare with."""
        if first_iteration == 0:
            self.measure(0)

    def after_step(self, report: StepReport) -> None:
        """Measure where it is due."""
        if self._due(report.iteration) or report.iteration == report.max_iter:
            self.measure(report.iteration)

    def end(self) -> None:
        """Nothing to do."""

    def measure(self, iteration: int) -> None:
        """Write `network`, `average` and their bands to the metrics, and one line to the log."""
        values = _named("network", band_losses(self._clip_loss, self._held_out))
        told = f"network {values['network']:.4f}"
        if self._average is not None and iteration > 0:
            with self._average.in_place_of_the_weights():
                losses = band_losses(self._clip_loss, self._held_out)
            values |= _named("average", losses)
            told += f", average {values['average']:.4f}"
        self._metrics.write("validation", iteration, values)
        log.info(f"Validation at iteration {iteration}, held-out loss: {told}")


def _named(what: str, losses: dict[str, float]) -> dict[str, float]:
    """Losses under the names of the metrics: `average`, `average_lowest`, ..."""
    return {what if key == "mean" else f"{what}_{key}": loss for key, loss in losses.items()}

"""The loss on held-out clips, on the same noise every time."""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from worldtune.data.batch import Batch
from worldtune.objectives.bands import BANDS
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.logs import Metrics, log
from worldtune.train.report import Every, StepReport


@dataclass(frozen=True)
class HeldOut:
    """Encoded held-out clips, kept on the CPU between validations.

    What does not count is measured all the same and left out of the mean: ranks that share
    weights must compute equally often.
    """

    batch: Batch  # encoded
    counts: bool = True

    @property
    def latents(self) -> Float[Tensor, "b c t h w"]:
        """The clips as the network sees them."""
        assert self.batch.latents is not None
        return self.batch.latents


def band_losses(
    clip_loss: ClipLoss, clips: Iterable[HeldOut], mesh: ProcessMesh = ALONE
) -> dict[str, float]:
    """Mean weighted error in each band of noise levels, and their mean under 'mean'.

    With a mesh, each rank passes clips of its own, and the mean is over those of all.
    """
    device = next(clip_loss.network.parameters()).device
    rule = clip_loss.settings.rule
    totals = dict.fromkeys(BANDS, 0.0)
    count = 0
    for held in clips:
        batch = held.batch.to(device)
        latents = clip_loss.latents(batch)
        weight = len(batch) if held.counts else 0
        count += weight
        for band in BANDS:
            sums = clip_loss.on_fixed_noise(latents, batch, band)
            totals[band] += rule.plain(sums, sums.elements).item() * weight
    *summed, all_clips = mesh.over_clips([*totals.values(), float(count)])
    losses = {band: total / all_clips for band, total in zip(totals, summed, strict=True)}
    return {"mean": sum(losses.values()) / len(losses), **losses}


def loss_of_predicting_nothing(clip_loss: ClipLoss, clips: Iterable[HeldOut]) -> float:
    """The mean over bands of a network whose output is 0 everywhere."""
    device = next(clip_loss.network.parameters()).device
    rule = clip_loss.settings.rule
    total, count = 0.0, 0
    for held in clips:
        batch = held.batch.to(device)
        latents = clip_loss.latents(batch)
        count += len(batch)
        for band in BANDS:
            sums = clip_loss.of_no_prediction(latents, batch, band)
            total += rule.plain(sums, sums.elements).item() * len(batch)
    return total / count / len(BANDS)


class Validation:
    """Measures network and average on held-out clips, every `every` steps."""

    def __init__(
        self,
        clip_loss: ClipLoss,
        average: WeightAverage | None,
        held_out: tuple[HeldOut, ...],
        every: int,
        metrics: Metrics | None,
        mesh: ProcessMesh = ALONE,
    ) -> None:
        self._clip_loss = clip_loss
        self._average = average
        self._held_out = held_out
        self._due = Every(every)
        self._metrics = metrics  # of the first process; the others only compute
        self._mesh = mesh

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
        values = _named("network", self._losses())
        told = f"network {values['network']:.4f}"
        if self._average is not None and iteration > 0:
            with self._average.in_place_of_the_weights():
                losses = self._losses()
            values |= _named("average", losses)
            told += f", average {values['average']:.4f}"
        if self._metrics is not None:
            self._metrics.write("validation", iteration, values)
        log.info(f"Validation at iteration {iteration}, held-out loss: {told}")

    def _losses(self) -> dict[str, float]:
        return band_losses(self._clip_loss, self._held_out, self._mesh)


def _named(what: str, losses: dict[str, float]) -> dict[str, float]:
    """Losses under the names of the metrics: `average`, `average_lowest`, ..."""
    return {what if key == "mean" else f"{what}_{key}": loss for key, loss in losses.items()}

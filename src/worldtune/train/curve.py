"""The loss curve as a picture in the run's folder."""

import os
from pathlib import Path
from typing import Any

from worldtune.train.logs import read_metrics
from worldtune.train.report import Every, StepReport


class LossCurve:
    """`loss.png`, drawn anew at most every `every` steps and at the end."""

    def __init__(self, folder: Path, metrics: Path, every: int) -> None:
        self.path = folder / "loss.png"
        self._metrics = metrics
        self._due = Every(every)

    def start(self, first_iteration: int) -> None:
        """Nothing to do."""

    def after_step(self, report: StepReport) -> None:
        """Draw where it is due."""
        if self._due(report.iteration):
            self.draw()

    def end(self) -> None:
        """Draw the last state of things."""
        self.draw()

    def draw(self) -> None:
        """Draw training loss, its running mean, and validation loss where there is one."""
        from matplotlib.figure import Figure

        lines = read_metrics(self._metrics)
        steps = _points(lines, "step", "loss")
        if not steps:
            return
        figure = Figure(figsize=(8, 4.5), dpi=120)
        axes = figure.add_axes((0.09, 0.11, 0.89, 0.85))
        iterations, losses = zip(*steps, strict=True)
        axes.plot(iterations, losses, color="#b8c4d6", linewidth=0.8, label="each step")
        axes.plot(iterations, _running_mean(losses), color="#1f4e8c", label="running mean")
        for key, colour in (("network", "#c1440e"), ("average", "#2b8a3e")):
            points = _points(lines, "validation", key)
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"held out, {key}")
        axes.set_xlabel("iteration")
        axes.set_ylabel("loss (mean weighted error)")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        beside = self.path.with_suffix(".tmp.png")
        figure.savefig(beside)
        os.replace(beside, self.path)


def _points(lines: list[dict[str, Any]], kind: str, key: str) -> list[tuple[int, float]]:
    """Iteration and value, without those that were not finite."""
    kept = [line for line in lines if line["kind"] == kind and line.get(key) is not None]
    return [(line["iteration"], line[key]) for line in kept]


def _running_mean(values: tuple[float, ...]) -> list[float]:
    """Mean that forgets with a time constant of a twentieth of the run, five steps at least."""
    keep = 1 - 1 / max(5.0, len(values) / 20)
    total = weight = 0.0
    means = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        means.append(total / weight)
    return means

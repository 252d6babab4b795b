"""What one step tells those who watch, and who may watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class StepReport:
    """One optimiser step, after it was taken or skipped; times and memory are means over ranks."""

    iteration: int  # 1-based: steps done, this one included
    max_iter: int
    loss: float  # mean weighted error, without loss_scale
    printed_loss: float  # times loss_scale, as the original prints it
    gradient_norm: float  # before clipping
    learning_rate: float
    step_s: float  # the whole step, waiting included
    wait_s: float  # waiting for data
    clips: int  # of all data ranks
    memory_gib: float  # peak of the device, or of the process on a CPU
    skipped: bool  # a loss or gradient that was not finite
    skipped_in_all: int
    over_ranks: Mapping[str, float] = field(default_factory=dict)  # see `over_ranks`

    def span(self, name: str) -> tuple[float, float] | None:
        """Smallest and largest of a figure over ranks; None with one process."""
        if f"{name}_min" not in self.over_ranks:
            return None
        return self.over_ranks[f"{name}_min"], self.over_ranks[f"{name}_max"]


# The figures that each rank has of its own.
OF_EACH_RANK = ("step_s", "wait_s", "memory_gib")


def over_ranks(figures: Float64[Tensor, "ranks figures"]) -> dict[str, float]:
    """Smallest and largest of what OF_EACH_RANK names, as `step_s_min`, `step_s_max`, ...

    Empty with one process.
    """
    if len(figures) == 1:
        return {}
    spans = {}
    for name, column in zip(OF_EACH_RANK, figures.T, strict=True):
        spans |= {f"{name}_min": column.min().item(), f"{name}_max": column.max().item()}
    return spans


@runtime_checkable
class Watcher(Protocol):
    """Looks at a run and changes nothing in it. The loop calls these in order."""

    def start(self, first_iteration: int) -> None:
        """Before the first step; `first_iteration` steps are done already."""

    def after_step(self, report: StepReport) -> None:
        """After each step, before a checkpoint is written."""

    def end(self) -> None:
        """After the last step, also where the run stops early or fails."""


@dataclass
class Every:
    """True on each multiple of `steps`, and never where `steps` is 0."""

    steps: int

    def __call__(self, iteration: int) -> bool:
        """Say whether it is due after this many steps."""
        return self.steps > 0 and iteration % self.steps == 0


@dataclass
class Rate:
    """Steps a second since the last line, so that a pause shows in one line only."""

    seconds: float = 0.0
    steps: int = field(default=0)

    def add(self, seconds: float) -> None:
        """Count one step."""
        self.seconds += seconds
        self.steps += 1

    def take(self) -> float:
        """Steps a second since the last call."""
        rate = self.steps / self.seconds if self.seconds > 0 else 0.0
        self.seconds, self.steps = 0.0, 0
        return rate

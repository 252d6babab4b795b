"""What one step tells those who watch, and who may watch."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class StepReport:
    """One optimiser step, after it was taken or skipped."""

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

"""Learning-rate schedules: a step's number in, a multiplier of the base rate out."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldtune.errors import RecipeError


def constant(step: int) -> float:
    """Return 1 at every step."""
    return 1.0


@dataclass(frozen=True)
class LambdaLinear:
    """Cycles of a linear warm-up and a linear way down (or on), each with its own ends.

    Cycle i takes cycle_lengths[i] steps. In its first warm_up_steps[i] steps the multiplier
    goes from f_start[i] to f_max[i], then to f_min[i], which it reaches as the cycle ends. The
    step at which a cycle ends still belongs to it. After the last cycle the last value holds.
    All lists have one entry per cycle; anything else raises RecipeError, all mistakes at once.

    Step n counts the optimiser's steps already taken: the first update uses n = 0.

    Source: LambdaLinearScheduler of latent-diffusion (Rombach et al. 2022), for several cycles.
    """

    warm_up_steps: Sequence[int]
    cycle_lengths: Sequence[int]
    f_start: Sequence[float]
    f_max: Sequence[float]
    f_min: Sequence[float]

    def __post_init__(self) -> None:
        """Refuse lists that do not describe the same cycles."""
        mistakes = []
        count = len(self.cycle_lengths)
        if count == 0:
            mistakes.append("scheduler.cycle_lengths is empty; expected one length per cycle")
        for name in ("warm_up_steps", "f_start", "f_max", "f_min"):
            found = len(getattr(self, name))
            if found != count:
                mistakes.append(
                    f"scheduler.{name} has {found} entries; expected {count}, one for each of "
                    "scheduler.cycle_lengths"
                )
        for name, lowest in (("cycle_lengths", 1), ("warm_up_steps", 0)):
            mistakes += [
                f"scheduler.{name} holds {steps}; expected {lowest} steps or more"
                for steps in getattr(self, name)
                if steps < lowest
            ]
        if mistakes:
            raise RecipeError("\n".join(mistakes))

    def __call__(self, step: int) -> float:
        """Return the multiplier at a step, from 0."""
        start, last = 0, len(self.cycle_lengths) - 1
        for cycle, length in enumerate(self.cycle_lengths):
            if step <= start + length or cycle == last:
                return self._within(cycle, min(step - start, length))
            start += length
        raise AssertionError("a schedule has at least one cycle")

    def _within(self, cycle: int, step: int) -> float:
        warm_up, length = self.warm_up_steps[cycle], self.cycle_lengths[cycle]
        top = self.f_max[cycle]
        if step < warm_up:
            return self.f_start[cycle] + (top - self.f_start[cycle]) * step / warm_up
        if length == warm_up:
            return top
        bottom = self.f_min[cycle]
        return bottom + (top - bottom) * (length - step) / (length - warm_up)

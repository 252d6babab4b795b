"""Those who look at a run: started, told of each step, and ended however it ends."""

import pytest

from tests.train.tiny import WITHOUT_VALIDATION, Tiny
from worldtune.train import run as module
from worldtune.train.report import Every, Rate, StepReport


class Recorder:
    """Writes down what it is told, and may fail at a moment."""

    def __init__(self, told: list[str], name: str, fails_at: str = "") -> None:
        self.told, self.name, self.fails_at = told, name, fails_at

    def _note(self, what: str) -> None:
        self.told.append(f"{self.name} {what}")
        if what == self.fails_at:
            raise ConnectionError(f"{self.name} fails at {what}")

    def start(self, first_iteration: int) -> None:
        self._note(f"start {first_iteration}")

    def after_step(self, report: StepReport) -> None:
        self._note(f"step {report.iteration}")

    def end(self) -> None:
        self._note("end")


def looked_on(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch, fails_at: str = "", steps: int = 2
) -> list[str]:
    told: list[str] = []
    watchers = [Recorder(told, "one", fails_at), Recorder(told, "two")]
    monkeypatch.setattr(module, "watchers_of", lambda *things: watchers)
    words = (*WITHOUT_VALIDATION, f"trainer.max_iter={steps}", "checkpoint.native=none")
    if fails_at:
        with pytest.raises(ConnectionError, match=f"one fails at {fails_at}"):
            runs.run("watched", *words)
    else:
        runs.run("watched", *words)
    return told


def test_watchers_are_called_in_order(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    assert looked_on(runs, monkeypatch) == [
        *("one start 0", "two start 0"),
        *("one step 1", "two step 1", "one step 2", "two step 2"),
        *("one end", "two end"),
    ]
    assert looked_on(runs, monkeypatch, steps=3)[:2] == ["one start 2", "two start 2"]


@pytest.mark.parametrize("moment", ["start 0", "step 1", "end"])
def test_all_watchers_are_ended_whichever_fails(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch, moment: str
):
    told = looked_on(runs, monkeypatch, moment)
    assert told[-2:] == ["one end", "two end"]


def test_every_is_true_on_multiples_and_never_for_zero():
    assert [step for step in range(1, 10) if Every(3)(step)] == [3, 6, 9]
    assert not any(Every(0)(step) for step in range(10))


def test_a_rate_counts_from_the_last_line_on():
    rate = Rate()
    assert rate.take() == 0.0
    for seconds in (0.5, 0.5, 1.0):
        rate.add(seconds)
    assert rate.take() == 1.5
    rate.add(0.25)
    assert rate.take() == 4.0

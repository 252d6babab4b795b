"""How the demo tells how far it is: stages, the time left, and what commands say."""

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console

from worldtune.cli.demo_curve import curve_of, nice_ticks, running_mean
from worldtune.cli.demo_progress import Stage, Stages, listening

TWO = [Stage("one", 100.0), Stage("two", 100.0)]


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now


def test_the_time_left_is_told_at_once_and_follows_the_pace():
    clock, out = Clock(), io.StringIO()
    stages = Stages(TWO, Console(file=out), clock)

    with stages.shown():
        with stages.stage(0):
            assert stages.left_s() == pytest.approx(200)
            clock.now = 200.0
            stages.reach(1.0)
        # Twice as slow as expected so far, so is the rest.
        assert stages.left_s() == pytest.approx(100 * 210 / 110)
        with stages.stage(1):
            clock.now = 400.0

    assert stages.left_s() == 0
    assert out.getvalue().splitlines() == [
        "1/2 one; about 3 min 20 s left",
        "1/2 one, 100%; about 3 min 10 s left",
        "1/2 one (3 min 20 s)",
        "2/2 two; about 3 min 10 s left",
        "2/2 two (3 min 20 s)",
    ]


def test_a_step_that_was_done_before_says_nothing_of_the_pace():
    clock = Clock()
    stages = Stages(TWO, Console(file=io.StringIO()), clock)

    with stages.shown(), stages.stage(0, skipped=True):
        pass

    assert stages.left_s() == pytest.approx(100)


def test_what_commands_print_goes_to_the_log_and_says_how_far_they_are(tmp_path: Path):
    reached: list[float] = []

    with listening(tmp_path / "log.txt", reached.append, files=4) as listener:
        typer.echo("12 of 48 clips")
        typer.echo("[INFO] Iteration 300/600, Loss: 1.000, Speed: 9.0 it/s")
        typer.echo("[INFO] Written: a.mp4")
        typer.echo("[INFO] Written: b.mp4")
        typer.echo("no figure", nl=False)

    assert reached == [0.25, 0.5, 0.25, 0.5]
    assert listener.lines[-1] == "[INFO] Written: b.mp4"
    assert (tmp_path / "log.txt").read_text().endswith("b.mp4\nno figure")


@pytest.mark.parametrize(
    ("low", "high"), [(0.31, 0.94), (0.0, 600.0), (0.0, 120.0), (0.5, 0.5), (2.0, 37.0)]
)
def test_ticks_are_few_and_hold_all_values(low: float, high: float):
    ticks = nice_ticks(low, high)

    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8


def test_the_running_mean_starts_where_its_window_is_whole():
    points = [(float(n), float(n)) for n in range(1, 101)]

    mean = running_mean(points, share=0.1)

    assert mean[0] == (10.0, 5.5)
    assert mean[-1] == (100.0, 95.5)


def test_a_curve_of_no_steps_says_so():
    assert "No steps" in curve_of([])

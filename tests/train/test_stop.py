"""Being asked to stop: once saves and stops, twice stops now."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.test_resume import equal_runs
from tests.train.tiny import (
    EXPERIMENT,
    STEPS_ONLY,
    WITHOUT_VALIDATION,
    Tiny,
    differences,
    log_of,
    metrics,
    state_of,
    states,
    tiny_words,
)
from worldtune.checkpoint.state_folder import list_states
from worldtune.errors import ExitStatus, StoppedEarlyError
from worldtune.train.monitors import ManualGc
from worldtune.train.report import StepReport


def signalled(monkeypatch: pytest.MonkeyPatch, at: int, *numbers: int) -> None:
    """Let the process send itself signals while a watcher looks at this iteration."""
    original = ManualGc.after_step

    def after_step(self: ManualGc, report: StepReport) -> None:
        if report.iteration == at:
            for number in numbers:
                os.kill(os.getpid(), number)
        original(self, report)

    monkeypatch.setattr(ManualGc, "after_step", after_step)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_saves_and_stops_and_the_same_command_goes_on(
    runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    with monkeypatch.context() as patched:
        signalled(patched, 3, number)
        with pytest.raises(StoppedEarlyError) as stopped:
            runs.run("stopped", *WITHOUT_VALIDATION)
    folder = runs.folder / "stopped"

    assert str(stopped.value) == (
        f"stopped by {number.name} after iteration 3/4; the state is saved, and the same command "
        "goes on from it"
    )
    assert stopped.value.exit_status == ExitStatus.STOPPED == 3
    assert state_of(folder, 3)[1]["progress"]["iteration"] == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    equal_runs(runs.run("stopped", *WITHOUT_VALIDATION), plain)


def test_a_second_signal_stops_now_and_says_what_is_saved(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    signalled(monkeypatch, 3, signal.SIGINT, signal.SIGINT)
    with pytest.raises(StoppedEarlyError) as stopped:
        runs.run("twice", *STEPS_ONLY)

    assert str(stopped.value) == (
        "stopped at once by a second signal; the state of iteration 2 is the last that was saved, "
        "and the same command goes on from it"
    )
    assert [path.name for path in list_states(states(runs.folder / "twice"))] == ["iter_000000002"]


def test_a_second_signal_before_the_first_save_says_that_nothing_is_saved(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    signalled(monkeypatch, 1, signal.SIGINT, signal.SIGTERM)
    with pytest.raises(StoppedEarlyError, match="nothing was saved yet, and the same command"):
        runs.run("twice", *STEPS_ONLY)


def test_a_signal_before_the_first_step_saves_nothing_and_says_so(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        ManualGc, "start", lambda watcher, first: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(StoppedEarlyError) as stopped:
        runs.run("early", *STEPS_ONLY)

    assert str(stopped.value) == (
        "stopped by SIGTERM before the first step; the same command starts it anew"
    )
    assert list_states(states(runs.folder / "early")) == []


def test_a_signal_before_the_first_step_of_a_resumed_run_leaves_its_state(
    runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = runs.copied(plain, "resumed")
    manifest = states(copy) / "iter_000000004" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    monkeypatch.setattr(
        ManualGc, "start", lambda watcher, first: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(StoppedEarlyError, match="after iteration 4/6"):
        runs.run("resumed", *WITHOUT_VALIDATION, "trainer.max_iter=6")

    assert manifest.stat().st_mtime_ns == before


def test_a_signal_in_the_last_step_leaves_a_finished_run(
    runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch
):
    signalled(monkeypatch, 4, signal.SIGTERM)

    equal_runs(runs.run("last", *WITHOUT_VALIDATION), plain)


def command(runs: Tiny, *words: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("worldtune")),
        "train",
        f"--experiment={EXPERIMENT}",
        *tiny_words(runs.clips),
        *words,
    ]


def start(runs: Tiny, *words: str) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    return subprocess.Popen(
        command(runs, *words),
        env={**os.environ, "IMAGINAIRE_OUTPUT_ROOT": str(runs.folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_command_is_stopped_by_sigterm_and_goes_on(runs: Tiny, workers: int):
    """Exit status 3, one line on stderr, and then the bits of a run that nobody stopped."""
    words = (
        *WITHOUT_VALIDATION,
        "trainer.max_iter=3000",
        "checkpoint.save_iter=1000000",
        "checkpoint.native=none",
        f"dataloader_train.num_workers={workers}",
        "trainer.logging_iter=1",
    )
    folder = runs.folder / "posttraining/video2world/tiny"
    process = start(runs, *words)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if (folder / "stdout.log").exists() and "Iteration 20/" in log_of(folder):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)

    stopped_at = metrics(folder)[-1]["iteration"]
    assert process.returncode == 3, told
    assert told == (
        f"StoppedEarlyError: stopped by SIGTERM after iteration {stopped_at}/3000; the state is "
        "saved, and the same command goes on from it\n"
    )
    end = f"trainer.max_iter={stopped_at + 2}"
    goes_on = start(runs, *words, end)
    out, told = goes_on.communicate(timeout=120)
    assert (goes_on.returncode, told) == (0, "")
    assert f"Resuming from iteration {stopped_at}" in out
    unbroken = runs.run("unbroken", *words, end)
    one, other = (state_of(run, stopped_at + 2)[0] for run in (folder, unbroken))
    assert differences(one, other) == []
    assert metrics(folder) == metrics(unbroken)


@pytest.mark.slow
def test_a_terminal_that_goes_away_does_not_end_the_run(runs: Tiny):
    """As in `worldtune train ... | head -1`."""
    with start(runs, *STEPS_ONLY) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("[INFO] ")
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()

    assert (process.returncode, told) == (0, "")
    assert "[INFO] Done with training." in log_of(runs.folder / "posttraining/video2world/tiny")

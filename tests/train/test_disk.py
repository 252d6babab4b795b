"""A disk that is full, or forbidden, ends a run with a message and harms nothing saved."""

import errno
import os
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.train.test_resume import equal_runs
from tests.train.test_stop import command
from tests.train.tiny import STEPS_ONLY, WITHOUT_VALIDATION, Tiny, forget_after, log_of, states
from worldtune.checkpoint import disk as disk_module
from worldtune.checkpoint.disk import Disk
from worldtune.checkpoint.state_folder import find_latest
from worldtune.errors import CheckpointError, ExitStatus, RunError
from worldtune.train import save as save_module
from worldtune.train.curve import LossCurve
from worldtune.train.logs import Metrics
from worldtune.train.save import Saver

CALLS = ("make_folder", "create", "write", "sync", "rename", "remove")


class FullDisk:
    """Counts the calls of a save that change the disk, and lets one fail as a full disk does."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        self.fails = fails
        self.calls: list[str] = []
        self.saving = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            monkeypatch.setattr(Disk, name, self._counted(name, getattr(Disk, name)))
        save = Saver.__call__

        def saving(saver: Saver) -> None:
            self.saving = True
            save(saver)
            self.saving = False

        monkeypatch.setattr(Saver, "__call__", saving)

    def _counted(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(disk: Disk, *words: object) -> object:
            if self.saving:
                self.calls.append(name)
                if self.fails(len(self.calls) - 1):
                    raise OSError(errno.ENOSPC, "No space left on device")
            return call(disk, *words)

        return counted


def at_second_save(
    runs: Tiny, plain: Path, name: str, fails: Callable[[int], bool]
) -> tuple[Path, FullDisk]:
    """Resume after iteration 2 on a disk that fails in the save of iteration 4."""
    run = forget_after(runs.copied(plain, name), 2)
    full = FullDisk(fails)
    with pytest.MonkeyPatch.context() as patched:
        full.install(patched)
        patched.setattr(LossCurve, "draw", lambda curve: None)
        runs.run(name, *WITHOUT_VALIDATION)
    return run, full


def check_call(runs: Tiny, plain: Path, number: int) -> None:
    """One call of the save fails: the run ends and says so, and its last state is whole."""
    name = f"full{number}"
    with pytest.raises(RunError) as ended:
        at_second_save(runs, plain, name, lambda at: at == number)
    run = runs.folder / name

    message = str(ended.value)
    assert ended.value.exit_status == ExitStatus.FAILED == 1
    assert "iteration 4 could not be saved: No space left on device" in message
    assert "What was saved before is whole. Free space and start the same command" in message
    found = find_latest(states(run))
    assert found.state is not None, number
    assert found.state.iteration in (2, 4), number
    equal_runs(runs.run(name, *WITHOUT_VALIDATION), plain)


def calls_of_a_save(runs: Tiny, plain: Path) -> list[str]:
    return at_second_save(runs, plain, "counted", lambda at: False)[1].calls


def test_a_disk_that_is_full_in_a_save_ends_the_run_with_a_message(runs: Tiny, plain: Path):
    """At the first call, at the first write, and in the published file."""
    calls = calls_of_a_save(runs, plain)
    check_call(runs, plain, 0)
    check_call(runs, plain, calls.index("write"))
    check_call(runs, plain, len(calls) - 3)


@pytest.mark.slow
def test_that_holds_at_every_call_of_a_save(runs: Tiny, plain: Path):
    calls = calls_of_a_save(runs, plain)
    assert {"create", "write", "sync", "rename"} <= set(calls)
    writes = [number for number, call in enumerate(calls) if call == "write"]
    # One file is written in hundreds of small pieces; a tenth of them will do.
    few = set(writes[::10])
    for number, call in enumerate(calls):
        if call != "write" or number in few:
            check_call(runs, plain, number)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_limit_of_the_system_ends_the_run_with_a_message(runs: Tiny, plain: Path):
    run = forget_after(runs.copied(plain, "limited"), 2)
    with files_limited_to(200_000), pytest.raises(RunError, match="File too large"):
        runs.run("limited", *WITHOUT_VALIDATION)

    assert "[INFO] Iteration 4/4" in log_of(run)
    equal_runs(runs.run("limited", *WITHOUT_VALIDATION), plain)


@pytest.mark.slow
def test_the_command_ends_with_status_1_and_goes_on_once_there_is_room(runs: Tiny, plain: Path):
    environment = {**os.environ, "IMAGINAIRE_OUTPUT_ROOT": str(runs.folder), "OMP_NUM_THREADS": "1"}
    run = runs.folder / "posttraining/video2world/tiny"
    run.parent.mkdir(parents=True)
    forget_after(runs.copied(plain, str(run.relative_to(runs.folder))), 2)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    words = command(runs, *WITHOUT_VALIDATION)
    ended = subprocess.run(
        words, env=environment, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("RunError: The training state of iteration 4 could not be")
    assert ended.stderr.count("\n") == 1, ended.stderr
    goes_on = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (goes_on.returncode, goes_on.stderr) == (0, "")
    equal_runs(run, plain)


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_picture_that_cannot_be_drawn_does_not_hide_why_the_run_ended(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LossCurve, "end", no_space)
    monkeypatch.setattr(save_module, "write_state", lambda *_, **__: no_space())
    with pytest.raises(RunError, match="could not be saved: No space left on device"):
        runs.run("full", *STEPS_ONLY)

    def failed(*_: object, **__: object) -> None:
        raise RunError("this is why")

    monkeypatch.setattr(save_module, "write_state", failed)
    with pytest.raises(RunError, match="this is why"):
        runs.run("full", *STEPS_ONLY)


MESSAGE = "The run's log, metrics or pictures could not be saved: No space left on device. Only"


def test_metrics_that_cannot_be_written_end_the_run_with_a_message(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Metrics, "after_step", no_space)
    with pytest.raises(RunError, match=MESSAGE):
        runs.run("full", *STEPS_ONLY)


def test_a_log_that_cannot_be_written_ends_the_run_with_a_message(runs: Tiny):
    run = runs.folder / "full"
    run.mkdir()
    (run / "stdout.log").symlink_to("/dev/full")
    with pytest.raises(RunError, match=MESSAGE):
        runs.run("full", *STEPS_ONLY)


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_ends_a_run_that_is_saved(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LossCurve, "end", no_space)
    with pytest.raises(RunError, match=MESSAGE):
        runs.run("full", *STEPS_ONLY)
    found = find_latest(states(runs.folder / "full")).state
    assert found is not None
    assert found.iteration == 4


def test_a_folder_that_cannot_be_made_is_a_mistake_with_a_next_step(runs: Tiny):
    (runs.folder / "file").write_text("")
    with pytest.raises(CheckpointError, match="choose another output folder") as told:
        runs.run("file/run", *STEPS_ONLY)
    assert told.value.exit_status == ExitStatus.MISTAKE


def test_another_fault_of_the_system_stays_what_it_is(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ConnectionResetError("elsewhere")

    monkeypatch.setattr(Metrics, "after_step", fail)
    with pytest.raises(ConnectionResetError, match="elsewhere"):
        runs.run("other", *STEPS_ONLY)


def test_little_room_is_told_before_the_first_step(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(save_module, "free_space", lambda folder: 600_000)
    told = log_of(runs.run("tight", *STEPS_ONLY))

    assert re.search(r"A save takes 5\d\d,\d{3} bytes; 600,000 bytes are free in ", told)
    assert (
        "[WARNING] The disk has room for fewer than two saves; free space, or lower "
        "checkpoint.keep_last or checkpoint.native\n" in told
    )


@pytest.mark.parametrize("native", ["none", "all"])
def test_the_size_told_is_what_a_save_takes(
    runs: Tiny, native: str, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []
    gib = disk_module.gib
    monkeypatch.setattr(save_module, "gib", lambda size: sizes.append(size) or gib(size))
    run = runs.run("sized", *WITHOUT_VALIDATION, f"checkpoint.native={native}")
    files = [p for p in (run / "checkpoints").rglob("*") if "004" in str(p) and p.is_file()]
    taken = sum(path.stat().st_size for path in files)

    assert 0.98 * taken < sizes[0] < 1.1 * taken

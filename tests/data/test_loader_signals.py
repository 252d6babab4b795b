"""Workers when the run is asked to stop, or is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.test_loader import gone

pytestmark = pytest.mark.multi

PROGRAM = """
import signal, sys
from tests.data.sources import Still
from worldtune.data.loader import Loader
from worldtune.data.order import ClipOrder
from worldtune.data.sampler import EndlessBatches, Shares

def main():
    if sys.argv[1] == "finishes its step":
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
    order = ClipOrder((20,))
    with Loader(Still(), EndlessBatches(order, Shares(1)), num_workers=2) as loader:
        batches = iter(loader)
        for _ in range(4):
            next(batches)
        print(*(int(pid) for pid, _ in loader._board._rows), flush=True)
        sys.stdin.readline()
        for _ in range(12):  # more than lie ready
            next(batches)
        print("went on", flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def run(tmp_path):
    """Start the program in a process group of its own; give it and its workers' ids."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    started = []

    def start(how: str) -> tuple[subprocess.Popen[str], list[int]]:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(program), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        assert process.stdout is not None
        return process, [int(pid) for pid in process.stdout.readline().split()]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_leaves_no_worker_behind(run):
    process, workers = run("stops at once")

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(20) != 0
    assert gone(workers, within_s=10)


def test_a_killed_run_leaves_no_worker_behind(run):
    process, workers = run("stops at once")

    process.kill()

    assert gone(workers, within_s=10)


def test_workers_go_on_while_the_run_finishes_its_step(run):
    """Ctrl-C reaches every process of a terminal, a cluster's SIGTERM every one of a job."""
    process, workers = run("finishes its step")

    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    told, complaints = process.communicate("\n", timeout=30)

    assert told == "went on\n"
    assert complaints == ""
    assert process.returncode == 0
    assert gone(workers, within_s=10)

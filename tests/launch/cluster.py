"""A Slurm of one host: `srun`, `scontrol` and, where wanted, `torchrun`, as files on PATH.

srun runs its command once for each node, hands SIGTERM on, waits for all, and gives their highest
status. What happens is noted, a line each, in `notes`.
"""

import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "launch" / "slurm.sh"
WAIT_S = 120

SRUN = """#!/usr/bin/env bash
set -u
echo "srun $*" >> "$NOTES"
while [[ $1 == --* ]]; do shift; done
trap 'echo "srun SIGTERM" >> "$NOTES"; kill -TERM "${tasks[@]}"' TERM
tasks=()
for ((node = 0; node < SLURM_NNODES; node++)); do
  SLURM_NODEID=$node SLURM_PROCID=$node SLURMD_NODENAME=localhost "$@" &
  tasks+=($!)
done
highest=0
for task in "${tasks[@]}"; do
  while status=0; wait "$task" || status=$?; kill -0 "$task" 2> "$NOTES.kill"; do :; done
  highest=$((status > highest ? status : highest))
done
exit "$highest"
"""
SCONTROL = """#!/usr/bin/env bash
case "$*" in
  "show hostnames localhost") printf 'localhost\\nlocalhost\\n' ;;
  *) echo "scontrol $*" >> "$NOTES" ;;
esac
"""
# Stands for a run of so many seconds that saves and stops when it is asked to.
TORCHRUN = """#!/usr/bin/env bash
sleep "$RUN_S" &
trap 'echo "torchrun SIGTERM" >> "$NOTES"; kill $!; sleep 0.2; exit 1' TERM
echo "torchrun $*" >> "$NOTES"
wait
exit "$RUN_STATUS"
"""


@dataclass(frozen=True)
class Cluster:
    """Where the programs and the notes lie."""

    folder: Path

    @property
    def notes(self) -> list[str]:
        """What happened so far."""
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def count(self, text: str) -> int:
        """How often something happened."""
        return sum(line.startswith(text) for line in self.notes)

    def await_note(self, text: str, times: int = 1) -> None:
        """Wait until something happened so often."""
        end = time.monotonic() + WAIT_S
        while self.count(text) < times:
            assert time.monotonic() < end, (text, self.notes)
            time.sleep(0.02)

    def submit(
        self, *words: str, environment: Path | None = None, **variables: str
    ) -> "subprocess.Popen[str]":
        """Start the script as Slurm starts it on the first of two nodes.

        Without an environment of programs, torchrun only stands for one.
        """
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        programs = {"srun": SRUN, "scontrol": SCONTROL}
        if environment is None:
            programs["torchrun"] = TORCHRUN
        for name, text in programs.items():
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        said = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "NOTES": str(self.folder / "notes"),
            "WORLDTUNE_ENV": str(environment or self.folder),
            "SLURM_JOB_ID": str(free_port() - 20000),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_NNODES": "2",
            "SLURM_GPUS_ON_NODE": "1",
            "SLURM_CPUS_PER_TASK": "1",
            "OMP_NUM_THREADS": "1",
            "RUN_S": "60",
            "RUN_STATUS": "0",
        }
        return subprocess.Popen(
            [SCRIPT, *words],
            cwd=ROOT,
            env={**os.environ, **said, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    """A port between 20000 and 29999 that nobody listens on."""
    for port in range(20000 + os.getpid() % 9000, 30000):
        with socket.socket() as trial:
            if trial.connect_ex(("localhost", port)):
                return port
    raise AssertionError("no free port")


def environment() -> Path:
    """The environment of these tests, whose bin/ has torchrun."""
    return Path(sys.prefix)


def recipe_words(text: str) -> list[list[str]]:
    """The words behind each `worldtune train` of a text, over continued lines."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line.split() for line in re.findall(r"worldtune train ((?:--|\w)[^\n#]*)", joined)]

"""Two torchruns on this host are one run, by hand and under Slurm."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.launch.cluster import ROOT, WAIT_S, Cluster, environment, free_port
from tests.multi.runs import SIZES
from tests.train.tiny import EXPERIMENT
from worldtune.data.shapes import write_clips

PAGE = (ROOT / "docs" / "many-machines.md").read_text()
BEGUN = "[INFO] Starting training on 2 nodes with 2 CPU processes..."
# Where Slurm and torchrun of the host these tests run on would say something else.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A run of two steps in `tmp_path / "run"`, on clips of its own."""
    write_clips(tmp_path / "clips", 4, size=(32, 48), frames=17)
    return [
        f"--experiment={EXPERIMENT}",
        f"dataloader_train.dataset.dataset_dir={tmp_path / 'clips'}",
        "dataloader_train.dataset.num_frames=17",
        "dataloader_train.dataset.video_size=[32,48]",
        "dataloader_train.batch_size=1",
        "dataloader_train.num_workers=0",
        *SIZES,
        "job.name=run",
        "trainer.max_iter=2",
        "trainer.logging_iter=1",
        "trainer.run_validation=False",
        "scheduler.warm_up_steps=[0]",
        "checkpoint.native=none",
    ]


def log_of(folder: Path) -> str:
    """What the run in an output root has said; nothing before it begins."""
    files = list(folder.glob("*/*/run/stdout.log"))
    return files[0].read_text() if files else ""


@pytest.mark.multi
def test_the_slurm_script_trains_on_two_nodes(tmp_path: Path, words: list[str]):
    cluster = Cluster(tmp_path)
    root = {"IMAGINAIRE_OUTPUT_ROOT": str(tmp_path / "out")}
    job = cluster.submit(*words, environment=environment(), **ENVIRONMENT, **root)
    told = job.communicate(timeout=WAIT_S)[0]

    assert job.returncode == 0, told
    log = log_of(tmp_path / "out")
    assert log.count(BEGUN) == told.count(BEGUN) == 1
    assert "Iteration 2/2" in log
    assert log.endswith("[INFO] Done with training.\n")


@pytest.mark.multi
def test_near_the_end_of_its_time_a_slurm_job_saves_and_then_goes_on(
    tmp_path: Path, words: list[str]
):
    cluster = Cluster(tmp_path)
    variables = {**ENVIRONMENT, "IMAGINAIRE_OUTPUT_ROOT": str(tmp_path / "out")}
    variables["SLURM_JOB_ID"] = str(free_port() - 20000)
    long = [*words, "trainer.max_iter=1000000", "checkpoint.save_iter=1000000"]
    job = cluster.submit(*long, environment=environment(), **variables)
    assert job.stdout is not None
    for line in job.stdout:
        if "Iteration 2/" in line:
            break
    job.send_signal(signal.SIGUSR1)
    told = job.communicate(timeout=WAIT_S)[0]

    assert job.returncode == 0, told
    assert told.count("StoppedEarlyError: stopped by SIGTERM after iteration ") == 1
    saved = int(re.findall(r"SIGTERM after iteration (\d+)/1000000; the state is saved", told)[0])
    assert f"/state/iter_{saved:09}\n" in log_of(tmp_path / "out")
    assert cluster.notes[-1] == f"scontrol requeue {variables['SLURM_JOB_ID']}"

    # With an end in sight, or the test had none.
    end = f"trainer.max_iter={saved + 1}"
    job = cluster.submit(*long, end, environment=environment(), **variables)
    told = job.communicate(timeout=WAIT_S)[0]
    assert job.returncode == 0, told
    assert f"[INFO] Resuming from iteration {saved}: " in told
    assert f"[INFO] Iteration {saved + 1}/{saved + 1}, " in told


@pytest.mark.multi
def test_the_command_of_the_page_is_one_run_on_two_machines(tmp_path: Path, words: list[str]):
    (shown,) = re.findall(r"```bash\n(torchrun --nnodes=2 [^`]*--shutdown-timeout[^`]*)```", PAGE)
    program, *launch = shlex.split(shown.replace("\\\n", ""))
    launch = launch[: launch.index("train") + 1]
    said = {
        "--nproc-per-node=8": "--nproc-per-node=1",
        "--rdzv-endpoint=first-machine:29400": f"--rdzv-endpoint=localhost:{free_port()}",
    }
    assert said.keys() <= set(launch)
    command = [
        environment() / "bin" / program,
        *[said.get(word, word) for word in launch],
        *words,
        "trainer.timeout_period=60",
    ]
    torchruns = [
        subprocess.Popen(
            command,
            env={**os.environ, **ENVIRONMENT, "IMAGINAIRE_OUTPUT_ROOT": str(tmp_path / "out")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    told = [torchrun.communicate(timeout=WAIT_S)[0] for torchrun in torchruns]

    assert [torchrun.returncode for torchrun in torchruns] == [0, 0], told
    log = log_of(tmp_path / "out")
    assert log.count(BEGUN) == 1
    assert log.endswith("[INFO] Done with training.\n")
    assert sorted("[INFO]" in text for text in told) == [False, True]

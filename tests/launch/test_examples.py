"""The examples of launching on many machines are valid, and the Slurm script keeps its word."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.launch.cluster import ROOT, SCRIPT, Cluster, recipe_words
from worldtune.cli.launching import compose_launch, layout_mistakes
from worldtune.config.words import read_words

MANIFEST = ROOT / "examples" / "launch" / "kubernetes.yaml"
PAGE = ROOT / "docs" / "many-machines.md"
RESOURCES = list(yaml.safe_load_all(MANIFEST.read_text()))
SLURM_RECIPE = re.findall(r"^recipe=\((.*)\)$", SCRIPT.read_text(), re.MULTILINE)[0].split()


def test_the_slurm_script_has_no_finding_of_shellcheck():
    shellcheck = Path(sys.prefix) / "bin" / "shellcheck"
    found = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)

    assert found.stdout == ""
    assert found.returncode == 0
    assert "\nset -euo pipefail\n" in SCRIPT.read_text()


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource["kind"])
def test_the_kubernetes_resources_are_valid(resource: dict[str, Any]):
    version = kubernetes_validate.latest_version()

    assert kubernetes_validate.validate(resource, version, strict=True)


def test_the_pods_meet_at_pod_0_and_have_time_to_save():
    claim, service, job = RESOURCES
    template = job["spec"]["template"]["spec"]
    (container,) = template["containers"]
    command = container["args"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    port = service["spec"]["ports"][0]["port"]
    save_s = int(re.findall(r"--shutdown-timeout=(\d+)", command)[0])
    shared = template["volumes"][0]["persistentVolumeClaim"]["claimName"]

    assert job["spec"]["completionMode"] == "Indexed"
    assert int(environment["NODES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert template["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert f"={job['metadata']['name']}-0.{template['subdomain']}:{port} " in command
    assert save_s < template["terminationGracePeriodSeconds"]
    assert shared == claim["metadata"]["name"]


@pytest.mark.parametrize("index", ["0", "1"])
def test_a_pod_becomes_its_torchrun_and_pod_0_hosts_the_meeting(index: str, tmp_path: Path):
    (container,) = RESOURCES[2]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "torchrun").write_text('#!/bin/sh\necho "$PPID $*"\n')
    (tmp_path / "torchrun").chmod(0o755)
    pod = subprocess.run(
        [*container["command"], *container["args"]],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "NODES": "2",
            "POD_IP": "10.0.0.7",
            "JOB_COMPLETION_INDEX": index,
        },
        capture_output=True,
        text=True,
        check=True,
    )

    parent, said = pod.stdout.split(" ", 1)
    assert int(parent) == os.getpid()
    assert f"--rdzv-conf=is_host={int(index == '0')}," in said
    assert " --local-addr=10.0.0.7 " in said
    assert " -m worldtune train --experiment=" in said


def test_the_slurm_script_asks_to_stop_in_time_for_a_save():
    text = SCRIPT.read_text()
    signal_s = int(re.findall(r"--signal=B:USR1@(\d+)", text)[0])

    assert int(re.findall(r"SAVE_S=(\d+)", text)[0]) <= signal_s - 60


@pytest.mark.parametrize(
    "words",
    [SLURM_RECIPE, *recipe_words(MANIFEST.read_text()), *recipe_words(PAGE.read_text())],
    ids=" ".join,
)
def test_the_recipes_fit_two_machines_of_eight(words: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "16")
    composed = compose_launch(read_words(words))

    assert layout_mistakes(composed.recipe) == []


def test_slurm_starts_a_torchrun_on_each_node_and_the_first_hosts_their_meeting(tmp_path: Path):
    cluster = Cluster(tmp_path)
    job = cluster.submit("--experiment=NAME", "a=[1, 2]", RUN_S="0")

    assert job.communicate()[0] == ""
    assert job.returncode == 0
    torchruns = sorted(line for line in cluster.notes if line.startswith("torchrun"))
    assert len(torchruns) == 2
    for node, line in enumerate(torchruns[::-1]):
        assert "--nnodes=2 --nproc-per-node=1 " in line
        assert f"--rdzv-conf=is_host={int(node == 0)} --local-addr=localhost" in line
        assert line.endswith(" -m worldtune train --experiment=NAME a=[1, 2]")
    assert cluster.count("scontrol requeue") == 0


def test_slurm_trains_the_its_recipe_where_no_words_are_given(tmp_path: Path):
    cluster = Cluster(tmp_path)
    cluster.submit(RUN_S="0").communicate()

    assert cluster.notes[-1].endswith(f" -m worldtune train {' '.join(SLURM_RECIPE)}")


def test_near_the_end_of_its_time_a_job_stops_its_run_and_queues_itself_again(tmp_path: Path):
    cluster = Cluster(tmp_path)
    job = cluster.submit("--experiment=NAME")
    cluster.await_note("torchrun", 2)
    job.send_signal(signal.SIGUSR1)
    told = job.communicate()[0]

    assert job.returncode == 0, told
    assert "the run saves and stops" in told
    assert cluster.count("srun SIGTERM") == 1
    assert cluster.count("torchrun SIGTERM") == 2
    assert cluster.notes[-1].startswith("scontrol requeue ")


def test_a_job_that_slurm_ends_waits_and_sends_no_second_signal(tmp_path: Path):
    cluster = Cluster(tmp_path)
    job = cluster.submit("--experiment=NAME", RUN_S="0.5")
    cluster.await_note("torchrun", 2)
    job.send_signal(signal.SIGTERM)
    told = job.communicate()[0]

    assert "Slurm ends the job" in told
    assert cluster.count("srun SIGTERM") == 0
    assert cluster.count("scontrol requeue") == 0


def test_a_run_that_fails_fails_its_job(tmp_path: Path):
    cluster = Cluster(tmp_path)
    job = cluster.submit("--experiment=NAME", RUN_S="0", RUN_STATUS="1")
    job.communicate()

    assert job.returncode == 1
    assert cluster.count("scontrol requeue") == 0

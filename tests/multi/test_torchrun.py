"""The published launch line under torchrun itself: what it prints, how it stops, how it fails."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.multi.runs import LENGTHS, SIZES, draw_clips, loader_words
from tests.train.tiny import metrics
from worldtune.checkpoint.state_folder import find_latest

ROOT = Path(__file__).parents[2]
LAUNCH = ("torchrun", "--nproc_per_node=8", "--master_port=12341", "-m", "scripts.train")
CONFIG = "--config=cosmos_predict2/configs/base/config.py"
CONTEXT = "model_parallel.context_parallel_size=2"
LIMIT_S = 240

pytestmark = pytest.mark.multi


class Launch:
    """A launch from the checkout; its runs, and what it said, are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, processes: int = 8) -> subprocess.Popen[bytes]:
        torchrun = Path(sys.executable).with_name(LAUNCH[0])
        line = [str(torchrun), f"--nproc_per_node={processes}", *LAUNCH[2:], CONFIG, *words]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "IMAGINAIRE_OUTPUT_ROOT": str(self.folder),
        }
        with (self.folder / "said").open("wb") as said:
            started = subprocess.Popen(
                line, cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
            )
        self._started.append(started)
        return started

    def finish(self, *words: str, processes: int = 8) -> tuple[int, str]:
        status = self.start(*words, processes=processes).wait(LIMIT_S)
        return status, self.said

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + LIMIT_S
        while words not in self.said:
            assert time.monotonic() < until, self.said[-3000:]
            time.sleep(0.2)

    def end(self) -> None:
        for started in self._started:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    launched = Launch(tmp_path)
    yield launched
    launched.end()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clips(tmp_path_factory.mktemp("torchrun"))


def words(clips: Path, *others: str) -> tuple[str, ...]:
    """The tiny experiment on these clips, two processes to a clip."""
    lengths = [word for word in LENGTHS if not word.startswith("checkpoint.native")]
    return (CONTEXT, *loader_words(clips, 1), *SIZES, *lengths, *others)


def test_the_published_line_trains_and_prints_the_documents_lines(launch: Launch, clips: Path):
    experiment = "--experiment=predict2_video2world_training_tiny"
    status, said = launch.finish(experiment, *words(clips))

    assert status == 0, said[-3000:]
    for line in (
        r"\[INFO\] Starting training on single node with 8 CPU processes\.\.\.",
        r"\[INFO\] Context parallel size: 2, Data parallel size: 4",
        r"\[INFO\] Iteration 3/3, Loss: \d+\.\d{3}, Speed: \d+\.\d+ it/s",
        r"\[INFO\] Checkpoint saved: \S*/posttraining/video2world/tiny/checkpoints/model/"
        r"iter_000000003\.pt",
        r"\[INFO\] Done with training\.",
    ):
        assert len(re.findall(f"^{line}$", said, re.MULTILINE)) == 1, (line, said)
    assert "Traceback" not in said
    assert "Warning" not in said


def test_the_published_line_with_adapters_prints_what_trains(launch: Launch, clips: Path):
    experiment = "--experiment=predict2_video2world_lora_training_tiny"
    shared = ("trainer.distributed_parallelism=fsdp", "model.config.fsdp_shard_size=-1")
    # With tokens of one latent pixel the network gives a view, of which FSDP would warn.
    small = ("model.config.pipe_config.net.patch_spatial=1",)
    status, said = launch.finish(experiment, *words(clips, *shared, *small))

    assert status == 0, said[-3000:]
    for line in (
        r"\[INFO\] Context parallel size: 2, Data parallel size: 4",
        r"\[INFO\] Adding LoRA adapters: rank=16, alpha=16, targets=\[.*\]",
        r"\[INFO\] Total parameters: \S+B, Frozen parameters: \S+, Trainable parameters: \S+",
        r"\[INFO\] Held in the memory of 8 ranks together: the base once, .*",
        r"\[INFO\] Checkpoint saved: \S*/adapters/iter_000000003\.safetensors",
    ):
        assert len(re.findall(f"^{line}$", said, re.MULTILINE)) == 1, (line, said)
    assert "Warning" not in said


@pytest.mark.parametrize("kind", ["", "lora_"])
def test_the_2b_line_as_written_stops_and_tells_once_what_is_missing(launch: Launch, kind: str):
    started = time.monotonic()
    status, said = launch.finish(f"--experiment=predict2_video2world_{kind}training_2b_its")

    assert status != 0
    assert time.monotonic() - started < 20
    fetches = "hf download nvidia/Cosmos-Predict2-2B-Video2World model-720p-16fps.pt"
    assert said.count(fetches) == 1
    assert said.count("RecipeError: checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/") == 1
    assert "src/worldtune" not in said  # no traceback but torchrun's own


def test_ctrl_c_saves_once_and_the_same_command_goes_on(launch: Launch, clips: Path):
    experiment = "--experiment=predict2_video2world_training_tiny"
    long = ("trainer.max_iter=100000", "checkpoint.save_iter=100000")
    started = launch.start(experiment, *words(clips, *long), processes=2)
    launch.wait_for("Iteration 3/")
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does, to all of them

    assert started.wait(60) != 0
    run = launch.folder / "posttraining" / "video2world" / "tiny"
    state = find_latest(run / "checkpoints" / "state").state
    assert state is not None
    stopped = f"stopped by SIGINT after iteration {state.iteration}/100000; the state is saved"
    assert launch.said.count(stopped) == 1
    more = state.iteration + 1
    status, said = launch.finish(experiment, *words(clips, f"trainer.max_iter={more}"), processes=2)
    assert status == 0, said[-3000:]
    assert f"Resuming from iteration {state.iteration}" in said
    assert [line["iteration"] for line in metrics(run)] == list(range(1, more + 1))


def test_a_clip_that_one_rank_cannot_read_is_told_once(launch: Launch, clips: Path, tmp_path: Path):
    """Only one leader of a clip meets it; the others hear of it by its end."""
    own = draw_clips(tmp_path / "own")
    started = launch.start(
        "--experiment=predict2_video2world_training_tiny",
        *words(own, "trainer.max_iter=100000"),
        processes=4,
    )
    launch.wait_for("Iteration 1/")
    for video in (own / "train" / "videos").glob("*.mp4"):
        video.write_bytes(b"no video")
    assert started.wait(LIMIT_S) != 0
    said = launch.said

    assert said.count("DataError: ") == 1, said[-3000:]
    assert "Traceback (most recent call last)" not in said.split("DataError: ")[0]

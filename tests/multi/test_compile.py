"""Compiled blocks compute what plain ones do, on one process and on several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.tiny import EXPERIMENT, STEPS_ONLY, draw_clips, metrics, state_of, tiny_words

ROOT = Path(__file__).parents[2]
COMPILED = "model.config.compile_blocks=True"
BLOCKS = "model.config.pipe_config.net.num_blocks=2"
LAYOUTS = {
    "one process": (1, ()),
    "one process with recompute": (
        1,
        ("model.config.pipe_config.net.sac_config.mode=block_wise",),
    ),
    "CP 2 by Ulysses": (2, ("model_parallel.context_parallel_size=2",)),
    "TP 2 with SP, shared out": (
        2,
        (
            "model_parallel.tensor_model_parallel_size=2",
            "model_parallel.sequence_parallel=True",
            "trainer.distributed_parallelism=fsdp",
            "model.config.fsdp_shard_size=-1",
        ),
    ),
}


def train(folder: Path, processes: int, *words: str) -> Path:
    """Train in processes of their own: checking types and compiling do not go together."""
    torchrun = Path(sys.executable).with_name("torchrun")
    line = [str(torchrun), f"--nproc_per_node={processes}", "--standalone", "-m", "scripts.train"]
    if processes == 1:
        line = [sys.executable, "-m", "scripts.train"]
    ended = subprocess.run(
        [*line, f"--experiment={EXPERIMENT}", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "IMAGINAIRE_OUTPUT_ROOT": str(folder),
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder / "posttraining" / "video2world" / "tiny"


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_with_compiled_blocks_equals_a_plain_one(layout: str, tmp_path: Path):
    processes, own = LAYOUTS[layout]
    words = (*tiny_words(draw_clips(tmp_path / "clips")), *STEPS_ONLY, BLOCKS, *own)
    plain = train(tmp_path / "plain", processes, *words)
    compiled = train(tmp_path / "compiled", processes, *words, COMPILED)

    for line, other in zip(metrics(compiled), metrics(plain), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert line["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-5)
    ours, theirs = (state_of(run, 4)[0]["masters"] for run in (compiled, plain))
    for name, weight in theirs.items():
        assert (ours[name] - weight).abs().max() <= 1e-5 * max(1.0, weight.abs().max().item())

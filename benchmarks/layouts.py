"""What each layout of processes costs on a CPU: seconds of a step, and memory of a process.

    OMP_NUM_THREADS=1 python -m benchmarks.layouts [--steps N] [--only NAME ...]

A step is forward, backward, clipping, AdamW and average of a network of 9 million weights in
float32 on four clips of 720 tokens, whatever the layout. Each layout has processes of its own,
of one thread. Printed is a table in Markdown: the median time of a step and its ratio to that
of one process; what the fullest process holds (weights, gradients, moments, average), and by
how much its memory grew at the peak, activations and what is gathered included. On two cores
more processes than two cannot be faster: the times show what it costs to talk.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from tests.multi.pool import Pool
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig
from worldtune.objectives.clip import scale_to_norm
from worldtune.parallel.apply import HowToRun, spread
from worldtune.parallel.gradients import norm_over_ranks, settle_over_tensor_ranks
from worldtune.parallel.layout import Layout
from worldtune.parallel.mesh import ProcessMesh, launched_rank
from worldtune.parallel.pieces import Pieces
from worldtune.train.average import WeightAverage
from worldtune.train.optimizer import MasterAdamW

CONFIG = TransformerConfig(
    model_channels=256,
    num_blocks=6,
    num_heads=8,
    text_channels=256,
    adaln_lora_dim=64,
    condition_mask=True,
)
CLIPS, FRAMES, ROWS, COLUMNS, TEXT_TOKENS = 4, 5, 24, 24, 64
LAYOUTS: dict[str, tuple[Layout, HowToRun]] = {
    "one process": (Layout(), HowToRun()),
    "one process, full recompute": (Layout(), HowToRun("block_wise")),
    "one process, predict2_2b_720": (Layout(), HowToRun("predict2_2b_720")),
    "DDP 2": (Layout(2), HowToRun()),
    "FSDP 2": (Layout(2, shard=2), HowToRun()),
    "CP 2": (Layout(2, context=2, shard=2), HowToRun()),
    "TP 2": (Layout(2, tensor=2), HowToRun()),
    "TP 2 with SP": (Layout(2, tensor=2, sequence=True), HowToRun()),
    "FSDP 4": (Layout(4, shard=4), HowToRun()),
    "HSDP 2 x 2": (Layout(4, shard=2), HowToRun()),
    "FSDP 4 with CP 2": (Layout(4, context=2, shard=4), HowToRun()),
    "FSDP 4 with CP 2, full recompute": (Layout(4, context=2, shard=4), HowToRun("block_wise")),
    "FSDP 2 x TP 2 with SP": (Layout(4, tensor=2, shard=2, sequence=True), HowToRun()),
    "CP 2 x TP 2 with SP": (
        Layout(4, context=2, tensor=2, shard=2, sequence=True),
        HowToRun(),
    ),
}
MIB = 2**20


def measure(layout: Layout, how: HowToRun, steps: int) -> tuple[list[float], int, int]:
    """Times of the steps, bytes held, and bytes that the process grew by at its peak."""
    torch.set_num_threads(1)
    before = _forget_peak()
    mesh = ProcessMesh(layout, launched_rank())
    network = build(CONFIG, seed=0)
    spread(network, mesh, how)
    pieces = Pieces(network, mesh)
    optimizer = MasterAdamW(
        dict(network.named_parameters()), betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1
    )
    average = WeightAverage(optimizer.parameters, rate=0.1)
    held = 5 * sum(weight.nbytes for weight in pieces.held.values())
    inputs, told = _inputs(CLIPS // layout.data)
    times = []
    _forget_peak()  # building the whole network is not what a step takes
    for number in range(steps + 1):
        mesh.barrier()
        started = time.perf_counter()
        loss = network(*inputs, **told).square().sum() / (CLIPS * FRAMES * ROWS * COLUMNS)
        loss.backward()
        gradients = optimizer.gradients()
        settle_over_tensor_ranks(gradients, mesh)
        scale_to_norm(list(gradients.values()), norm_over_ranks(gradients, mesh), 1.0)
        optimizer.step(1e-4)
        average.update(number)
        optimizer.forget_gradients()
        times.append(time.perf_counter() - started)
    return times[1:], held, _status("VmHWM") - before


def _inputs(clips: int) -> tuple[tuple[torch.Tensor, ...], Mapping[str, torch.Tensor]]:
    shape = (clips, CONFIG.latent_channels, FRAMES, ROWS, COLUMNS)
    latents = torch.randn(shape)
    text = torch.randn(clips, TEXT_TOKENS, CONFIG.text_channels)
    return (latents, torch.rand(clips, FRAMES), text), {}


def _forget_peak() -> int:
    """Let the peak begin anew; give the memory held now. Linux only."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Measure every layout and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    words = parser.parse_args()
    print("| layout | processes | s a step | ratio | held, MiB | peak growth, MiB |")
    print("|---|---|---|---|---|---|")
    first = None
    for name in words.only:
        layout, how = LAYOUTS[name]
        with Pool(layout.world) as pool:
            answers = pool.run(measure, layout, how, words.steps)
        seconds = statistics.median(answers[0][0])
        first = first or seconds
        held, grown = (max(answer[i] for answer in answers) / MIB for i in (1, 2))
        print(
            f"| {name} | {layout.world} | {seconds:.2f} | {seconds / first:.2f} "
            f"| {held:.0f} | {grown:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""A training step beside diffusers' network of the same size, alternating in one run.

    python -m benchmarks.step --dtype float32
    python -m benchmarks.step --dtype bfloat16 --compile

A step is forward, backward and a fused AdamW step of a network of 77 million weights on
1024 tokens, with a time for each frame. Both networks have the same weights and inputs, and
their losses are compared. What is printed: the time of each, their ratio, and the share of
the matmul rate of this machine that the step's matrix products reach; that rate is measured
between the steps, by the same clocks.

There are two clocks: the wall's, and the processor's, summed over the threads. On a machine
that others use as well only the second tells; set OMP_WAIT_POLICY=passive there, so that a
thread that waits for another does not count as busy.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.reference.diffusers_network import copy_weights, diffusers_network, run
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig

CONFIG = TransformerConfig(
    model_channels=512,
    num_blocks=12,
    num_heads=8,
    text_channels=1024,
    adaln_lora_dim=256,
    condition_mask=True,
)
FRAMES, ROWS, COLUMNS = 4, 32, 32  # latents: 4 x 16 x 16 = 1024 tokens
TEXT_TOKENS = 128
MATMUL = (1024, 512, 2048)  # tokens, width, MLP width


def matrix_flops() -> float:
    """Multiplications and additions of the matrix products of one step of our network.

    Forward once and backward twice, but for what needs no gradient (the text). The
    modulations count once a frame.
    """
    c, d = CONFIG, CONFIG.model_channels
    tokens = FRAMES * ROWS * COLUMNS // c.patch_volume
    per_token = 4 * d * d + 2 * d * d + 2 * d * c.mlp_channels
    attention = 2 * d * (tokens + TEXT_TOKENS)
    block = 3 * tokens * (per_token + attention)
    block += 2 * TEXT_TOKENS * 2 * d * c.text_channels
    block += 3 * FRAMES * 3 * c.adaln_lora_dim * 4 * d
    ends = 3 * tokens * d * c.patch_volume * (c.input_channels + c.out_channels)
    ends += 3 * FRAMES * 4 * d * d
    return 2.0 * (c.num_blocks * block + ends)


@dataclass(frozen=True)
class Seconds:
    """What something took, by two clocks."""

    wall: float
    cpu: float


class Stopwatch:
    """Started when made."""

    def __init__(self) -> None:
        self.begin = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """Seconds since the start."""
        return Seconds(time.perf_counter() - self.begin[0], time.process_time() - self.begin[1])


def time_matmul(dtype: torch.dtype, repeats: int = 20) -> Seconds:
    """Time of one matrix product as the MLP has it."""
    m, k, n = MATMUL
    a, b = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
    watch = Stopwatch()
    for _ in range(repeats):
        nn.functional.linear(a, b)
    taken = watch.read()
    return Seconds(taken.wall / repeats, taken.cpu / repeats)


def time_step(
    forward: Callable[[], Tensor], optimizer: torch.optim.Optimizer
) -> tuple[Seconds, float]:
    """Time of one step, and its loss."""
    watch = Stopwatch()
    loss = forward().float().square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return watch.read(), loss.item()


def inputs(dtype: torch.dtype) -> dict[str, Tensor]:
    """Random latents, times, text; no padding, one given frame."""
    draw = torch.Generator().manual_seed(1)
    given = torch.zeros(1, 1, FRAMES, ROWS, COLUMNS)
    given[:, :, :1] = 1
    tensors = {
        "latents": torch.randn(1, CONFIG.latent_channels, FRAMES, ROWS, COLUMNS, generator=draw),
        "time": torch.rand(1, FRAMES, generator=draw),
        "text": torch.randn(1, TEXT_TOKENS, CONFIG.text_channels, generator=draw),
        "condition_mask": given,
        "padding_mask": torch.zeros(1, 1, 8 * ROWS, 8 * COLUMNS),
    }
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def main() -> None:
    """Read the words, run, print."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    words.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    words.add_argument(
        "--compile", action="store_true", help="torch.compile for every block of both"
    )
    words.add_argument("--steps", type=int, default=10, help="measured, after 2 for warming up")
    words.add_argument("--threads", type=int, default=2)
    args = words.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)

    ours, theirs = build(CONFIG, seed=0, dtype=torch.float32), diffusers_network(CONFIG)
    copy_weights(ours, theirs)
    ours, theirs = ours.to(dtype).train(), theirs.to(dtype).train()
    if args.compile:
        for block in (*ours.blocks, *theirs.get_submodule("transformer_blocks").children()):
            block.compile()
    given = inputs(dtype)
    condition, padding = given["condition_mask"], given["padding_mask"]
    three = (given["latents"], given["time"], given["text"])
    sides = {
        "worldtune": (
            lambda: ours(*three, condition_mask=condition, padding_mask=padding),
            torch.optim.AdamW(ours.parameters(), fused=True),
        ),
        "diffusers": (
            lambda: run(theirs, *three, condition_mask=condition, padding_mask=padding),
            torch.optim.AdamW(theirs.parameters(), fused=True),
        ),
    }

    taken: dict[str, list[Seconds]] = {"worldtune": [], "diffusers": [], "matmul": []}
    for step in range(2 + args.steps):
        losses = {}
        for name, side in sides.items():
            seconds, losses[name] = time_step(*side)
            if step >= 2:
                taken[name].append(seconds)
        taken["matmul"].append(time_matmul(dtype))
        if step == 0 and abs(losses["worldtune"] / losses["diffusers"] - 1) > 1e-2:
            raise SystemExit(f"the two networks differ: {losses}")
    compiled = ", compiled" if args.compile else ""
    print(f"{args.dtype}{compiled}, {args.threads} threads, torch {torch.__version__}")
    report("wall", {name: [s.wall for s in all_] for name, all_ in taken.items()})
    report("processor", {name: [s.cpu for s in all_] for name, all_ in taken.items()})


def report(clock: str, taken: dict[str, list[float]]) -> None:
    """Print medians and bests by one clock, and the share of the matmul rate."""
    ours, theirs = taken["worldtune"], taken["diffusers"]
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    m, k, n = MATMUL
    rate = 2.0 * m * k * n / statistics.median(taken["matmul"])
    share = matrix_flops() / statistics.median(ours) / rate
    print(
        f"by the {clock}'s clock\n"
        f"  worldtune median {statistics.median(ours):.3f} s, best {min(ours):.3f} s\n"
        f"  diffusers median {statistics.median(theirs):.3f} s, best {min(theirs):.3f} s\n"
        f"  ratio     median {statistics.median(pairs):.3f}, "
        f"of the bests {min(ours) / min(theirs):.3f}\n"
        f"  matmul    {rate / 1e9:.0f} GFLOP/s; our step's {matrix_flops() / 1e9:.0f} GFLOP "
        f"reach {share:.0%} of that"
    )


if __name__ == "__main__":
    main()

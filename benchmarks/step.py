"""A training step beside diffusers' network of the same size, alternating in one run.

    python -m benchmarks.step --dtype float32
    python -m benchmarks.step --dtype bfloat16 --compile

A step is forward, backward and a fused AdamW step of a network of 77 million weights on
1024 tokens, with a time for each frame. Both networks have the same weights and inputs, and
their losses are compared. What is printed: the median time of each, their ratio, and the
share of the matmul rate of this machine that the step's matrix products reach; that rate is
measured between the steps, so a busy machine slows all three alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

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


def matmul_rate(dtype: torch.dtype) -> float:
    """Multiplications and additions a second, of a matrix product as the MLP has it."""
    m, k, n = MATMUL
    a, b = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
    begin = time.perf_counter()
    for _ in range(20):
        nn.functional.linear(a, b)
    return 20 * 2.0 * m * k * n / (time.perf_counter() - begin)


def timed_step(
    forward: Callable[[], Tensor], optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """Seconds of one step, and its loss."""
    begin = time.perf_counter()
    loss = forward().float().square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - begin, loss.item()


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
        for block in (*ours.blocks, *theirs.get_submodule("transformer_blocks")):
            block.compile()
    given = inputs(dtype)
    masks = {name: given[name] for name in ("condition_mask", "padding_mask")}
    three = (given["latents"], given["time"], given["text"])
    sides = {
        "worldtune": (
            lambda: ours(*three, **masks),
            torch.optim.AdamW(ours.parameters(), fused=True),
        ),
        "diffusers": (
            lambda: run(theirs, *three, **masks),
            torch.optim.AdamW(theirs.parameters(), fused=True),
        ),
    }

    seconds: dict[str, list[float]] = {name: [] for name in sides}
    rates: list[float] = []
    for step in range(2 + args.steps):
        losses = {}
        for name, side in sides.items():
            taken, losses[name] = timed_step(*side)
            if step >= 2:
                seconds[name].append(taken)
        rates.append(matmul_rate(dtype))
        if step == 0 and abs(losses["worldtune"] / losses["diffusers"] - 1) > 1e-2:
            raise SystemExit(f"the two networks differ: {losses}")
    report(args.dtype, args.compile, seconds, statistics.median(rates))


def report(dtype: str, compiled: bool, seconds: dict[str, list[float]], rate: float) -> None:
    """Print the medians, the best, and the share of the matmul rate."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = {name: min(times) for name, times in seconds.items()}
    weights = sum(w.numel() for w in build(CONFIG, device="meta").parameters())
    print(f"{weights / 1e6:.1f} million weights, {dtype}{', compiled' if compiled else ''}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    for name in seconds:
        print(f"{name:10} median {medians[name]:.3f} s, best {best[name]:.3f} s")
    print(f"ratio      median {medians['worldtune'] / medians['diffusers']:.3f}, "
          f"best {best['worldtune'] / best['diffusers']:.3f}")  # fmt: skip
    share = matrix_flops() / medians["worldtune"] / rate
    print(f"matmul     {rate / 1e9:.0f} GFLOP/s; our step's {matrix_flops() / 1e9:.0f} GFLOP "
          f"reach {share:.0%} of that")  # fmt: skip


if __name__ == "__main__":
    main()

"""In which dtype should an adapter be computed? Errors against float64, and seconds.

    OMP_NUM_THREADS=1 python benchmarks/lora_dtype.py

One bfloat16 layer of 1024 x 1024 on 1024 tokens at rank 16, forward and backward: the layer
as it is, and one that goes through A and B in float32.
"""

from time import perf_counter

import torch
from torch import Tensor, nn

from worldtune.models.lora import LoraLinear

WIDTH, TOKENS, RANK, REPEATS = 1024, 1024, 16, 10


class InFloat32(LoraLinear):
    """The other choice."""

    def forward(self, input: Tensor) -> Tensor:
        """Go through A and B in float32, and round the sum."""
        low = nn.functional.linear(input.float(), self.lora_A.weight) * self.scale
        change = nn.functional.linear(low, self.lora_B.weight)
        return (nn.functional.linear(input, self.weight).float() + change).to(input.dtype)


def step(layer: LoraLinear, x: Tensor, probe: Tensor) -> list[Tensor]:
    """Output, and the gradients of A, B and the input."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    (y.float() * probe).sum().backward()
    gradients = [layer.lora_A.weight.grad, layer.lora_B.weight.grad, x.grad]
    return [y.detach(), *[gradient for gradient in gradients if gradient is not None]]


def made(kind: type[LoraLinear], dtype: torch.dtype) -> LoraLinear:
    """A layer with adapters as in the middle of a run; the same numbers in each dtype."""
    draw = torch.Generator().manual_seed(0)
    linear = nn.Linear(WIDTH, WIDTH, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(WIDTH, WIDTH, generator=draw) * WIDTH**-0.5)
        linear.bfloat16().to(dtype)
        layer = kind(linear, RANK, 1.0, dora=False)
        layer.lora_A.weight.copy_(torch.randn(RANK, WIDTH, generator=draw) * (3 * WIDTH) ** -0.5)
        layer.lora_B.weight.copy_(torch.randn(WIDTH, RANK, generator=draw) * 0.01)
    return layer


def main() -> None:
    """Print one line for each choice."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(1, TOKENS, WIDTH, generator=draw).bfloat16()
    probe = torch.randn(1, TOKENS, WIDTH, generator=draw)
    exact = step(made(LoraLinear, torch.float64).double(), x.double(), probe.double())
    for name, kind in {"activations' dtype": LoraLinear, "float32": InFloat32}.items():
        layer = made(kind, torch.bfloat16)
        got = step(layer, x, probe)
        errors = [((a - b).norm() / b.norm()).item() for a, b in zip(got, exact, strict=True)]
        start = perf_counter()
        for _ in range(REPEATS):
            step(layer, x, probe)
        ms = (perf_counter() - start) / REPEATS * 1e3
        told = ", ".join(
            f"{what} {error:.1e}"
            for what, error in zip(("output", "A", "B", "input"), errors, strict=True)
        )
        print(f"{name:20} {ms:6.1f} ms; errors: {told}")


if __name__ == "__main__":
    main()

"""Finding the adapters that come nearest to what training changed in whole weights.

The change of every layer, W' - W, is cut off behind its largest singular values, which leaves
the smallest error that adapters of this rank can leave (Eckart and Young 1936). Large
matrices are not taken apart whole: a random projection, sharpened by passing it through the
matrix again and again, finds the largest directions (Halko, Martinsson and Tropp 2011). The
error is measured on the result, not estimated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from worldtune.checkpoint.whole_weights import WholeWeights
from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.initialise import named_generator
from worldtune.models.lora import Adapter
from worldtune.models.lora_config import DOWN, UP, LoraConfig, match_targets

# Up to this many rows or columns all singular values cost little.
WHOLE_UP_TO = 512
PASSES = 4
Progress = Callable[[int, int], None]  # layers done, layers in all


@dataclass(frozen=True)
class LayerError:
    """How much a layer changed, and how much of that its adapter does not hold."""

    layer: str
    change: float  # Frobenius norm of W' - W
    left: float  # and of W' - W - B A

    @property
    def share(self) -> float:
        """What is left, as a share of the change."""
        return self.left / self.change if self.change > 0 else 0.0


@dataclass(frozen=True)
class Extracted:
    """Adapters, and what they do not hold."""

    adapter: Adapter
    layers: tuple[LayerError, ...]
    outside: dict[str, float]  # changed weights that no adapter is on: norm of the change

    @property
    def left(self) -> float:
        """What the adapters do not hold of the change of their layers, as a share of it."""
        change = sqrt(sum(one.change**2 for one in self.layers))
        return sqrt(sum(one.left**2 for one in self.layers)) / change if change > 0 else 0.0

    @property
    def outside_share(self) -> float:
        """Changes of other weights as a share of all change."""
        inside = sum(one.change**2 for one in self.layers)
        outside = sum(change**2 for change in self.outside.values())
        return sqrt(outside / (inside + outside)) if outside > 0 else 0.0


def extract(
    tuned: WholeWeights,
    base: WholeWeights,
    config: LoraConfig,
    *,
    progress: Progress | None = None,
) -> Extracted:
    """Find the adapters of a rank that come nearest to tuned - base on the target layers.

    CheckpointError where the two are not of one network, RecipeError where a target matches
    no layer or a rank is larger than a layer.
    """
    _check_alike(tuned, base)
    layers = _layers(base, config)
    weights: dict[str, Tensor] = {}
    errors: list[LayerError] = []
    outside: dict[str, float] = {}
    for name in base.entries:
        change = tuned.read(name).float() - base.read(name).float()
        layer = name.removesuffix(".weight")
        if layer in layers:
            up, down = truncate(change, config.rank, layer)
            weights[f"{layer}.{DOWN}.weight"] = down
            weights[f"{layer}.{UP}.weight"] = up / config.scale
            left = (change - up @ down).norm().item()
            errors.append(LayerError(layer, change.norm().item(), left))
            if progress is not None:
                progress(len(errors), len(layers))
        elif change.any():
            outside[name] = change.norm().item()
        tuned.forget(name)
        base.forget(name)
    return Extracted(Adapter(config, weights), tuple(errors), outside)


def _check_alike(tuned: WholeWeights, base: WholeWeights) -> None:
    shapes = [{n: e.shape for n, e in whole.entries.items()} for whole in (tuned, base)]
    odd = [name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name)]
    if odd or tuned.table is not base.table:
        first = f", first {odd[0]}" if odd else ""
        raise CheckpointError(
            f"{tuned.path} and {base.path} are not of one network: {len(odd)} weights differ in "
            f"name or shape{first}."
        )


def _layers(base: WholeWeights, config: LoraConfig) -> Sequence[str]:
    matrices = [n for n, e in base.entries.items() if n.endswith(".weight") and len(e.shape) == 2]
    named = [name.removesuffix(".weight") for name in matrices]
    layers = match_targets(named, config.targets)
    for layer in layers:
        shape = base.entries[f"{layer}.weight"].shape
        if config.rank > min(shape):
            raise RecipeError(
                f"rank {config.rank} is more than {layer} has: its weight is {list(shape)}"
            )
    return layers


def truncate(change: Tensor, rank: int, name: str) -> tuple[Tensor, Tensor]:
    """Up [outputs, rank] and down [rank, inputs] whose product is nearest to the change.

    Each gets the root of the singular values. Random numbers come from the name alone.
    """
    if min(change.shape) <= max(WHOLE_UP_TO, 2 * rank + 16):
        left, values, right = torch.linalg.svd(change, full_matrices=False)
    else:
        left, values, right = _largest(change, 2 * rank + 8, name)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _largest(matrix: Tensor, count: int, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values and their directions, by subspace iteration."""
    start = torch.randn(matrix.shape[1], count, generator=named_generator(0, name))
    basis = torch.linalg.qr(matrix @ start)[0]
    for _ in range(PASSES):
        # Made orthogonal on each side, or small directions drown in rounding.
        other = torch.linalg.qr(matrix.T @ basis)[0]
        basis = torch.linalg.qr(matrix @ other)[0]
    left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ left, values, right

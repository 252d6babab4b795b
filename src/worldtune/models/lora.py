"""Low-rank adapters on the linear layers of any network.

    names = add_lora(network, LoraConfig(rank=16, alpha=16, targets=("q_proj",)), seed=0)

An adapted layer keeps its weight, under its own name, and never trains it; A and B stand
beside it as `lora_A.weight` and `lora_B.weight`. They are float32 whatever the layer's dtype
is, because small steps on bfloat16 numbers are lost in rounding.

The way through A and B is computed in the dtype of the activations. Against float64, in a
bfloat16 layer of 1024 x 1024 at rank 16, the output is as far off either way (2.3e-3, the
rounding of W x), the gradients of A and B are 3.3e-3 instead of 1.6e-3, and a step through
the layer takes 42 ms instead of 56 on one CPU thread (benchmarks/lora_dtype.py). A float32
way would also keep a float32 copy of every layer's input for the backward pass.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldtune.errors import CheckpointError
from worldtune.models.initialise import named_generator
from worldtune.models.lora_config import (
    DOWN,
    MAGNITUDE,
    UP,
    LoraConfig,
    is_adapter,
    match_targets,
    part_of,
    split_name,
)


@dataclass(frozen=True)
class LayerAdapter:
    """One layer's matrices; `magnitude` are the rows' lengths of DoRA."""

    down: Float[Tensor, "rank inputs"]
    up: Float[Tensor, "outputs rank"]
    magnitude: Float[Tensor, " outputs"] | None = None

    def merged(self, weight: Float[Tensor, "outputs inputs"], scale: float) -> Tensor:
        """The layer's weight with the adapter in it, in float32."""
        changed = torch.addmm(weight.float(), self.up.float(), self.down.float(), alpha=scale)
        if self.magnitude is None:
            return changed
        return changed * (self.magnitude.float() / _row_lengths(changed))[:, None]


@dataclass(frozen=True)
class Adapter:
    """Trained adapters by themselves: weights by their names in the network."""

    config: LoraConfig
    weights: Mapping[str, Tensor]

    def layers(self) -> dict[str, LayerAdapter]:
        """The matrices of each layer.

        Raises CheckpointError where one is missing or does not have the rank that is told.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for name, weight in self.weights.items():
            found = split_name(name)
            if found is None:
                raise CheckpointError(f"{name!r} is no weight of an adapter.")
            parts.setdefault(found[0], {})[found[1]] = weight
        wanted = {DOWN, UP, MAGNITUDE} if self.config.dora else {DOWN, UP}
        for layer, held in parts.items():
            if held.keys() != wanted:
                odd = ", ".join(sorted(held.keys() ^ wanted))
                raise CheckpointError(f"the adapter of {layer} differs in {odd}; it is not whole.")
            if held[DOWN].shape[0] != self.config.rank or held[UP].shape[1] != self.config.rank:
                raise CheckpointError(
                    f"the adapter of {layer} has A {list(held[DOWN].shape)} and B "
                    f"{list(held[UP].shape)}, and rank {self.config.rank} is told."
                )
        return {
            layer: LayerAdapter(held[DOWN], held[UP], held.get(MAGNITUDE))
            for layer, held in parts.items()
        }


class LoraLinear(nn.Linear):
    """A frozen linear layer and its adapter: y = W x + b + scale B A x.

    The weight is the very one of the layer that it stands for, not a copy.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float, *, dora: bool) -> None:
        """New matrices are NaN until they are drawn or loaded, so that a lost one shows."""
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.requires_grad_(False)
        self.scale = scale
        self.active = True
        device = linear.weight.device
        self.lora_A = _matrix((rank, linear.in_features), device)
        self.lora_B = _matrix((linear.out_features, rank), device)
        self.lora_magnitude_vector = _matrix((linear.out_features,), device) if dora else None

    def forward(self, input: Float[Tensor, "*any inputs"]) -> Float[Tensor, "*any outputs"]:
        """Add the low-rank change to what the frozen layer yields."""
        if not self.active:
            return nn.functional.linear(input, self.weight, self.bias)
        dtype = input.dtype
        low = nn.functional.linear(input, self.lora_A.weight.to(dtype)) * self.scale
        change = nn.functional.linear(low, self.lora_B.weight.to(dtype))
        if self.lora_magnitude_vector is None:
            return nn.functional.linear(input, self.weight, self.bias) + change
        turned = nn.functional.linear(input, self.weight) + change
        ratio = self.lora_magnitude_vector.weight / self._lengths()
        turned = turned * ratio.to(dtype)
        return turned if self.bias is None else turned + self.bias

    @torch.no_grad()
    def _lengths(self) -> Float[Tensor, " outputs"]:
        """Lengths of the rows of W + scale B A; constants to the gradient, as in the paper."""
        up, down = self.lora_B.weight, self.lora_A.weight
        return _row_lengths(torch.addmm(self.weight.float(), up, down, alpha=self.scale))


class _Values(nn.Module):
    """A weight in a module of its own, which gives it the name that other tools know."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


def _matrix(shape: tuple[int, ...], device: torch.device) -> _Values:
    return _Values(torch.full(shape, math.nan, device=device))


def _row_lengths(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32)


def find_layers(network: nn.Module, targets: Sequence[str]) -> tuple[str, ...]:
    """Linear layers whose names end in a target. Raises RecipeError where one matches none."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return match_targets(linear, targets)


def add_lora(
    network: nn.Module, config: LoraConfig, *, seed: int, as_no_change: bool = True
) -> tuple[str, ...]:
    """Freeze a network and give its target layers fresh adapters; yield the layers' names.

    A is uniform within 1 / sqrt(inputs), drawn from the seed and its name; B is 0, so that
    the network computes what it did before. Without as_no_change B is drawn like A. The
    magnitudes of DoRA are the lengths of the rows of W, so weights come first.

    Raises RecipeError where a target matches no layer.
    """
    assert not adapter_weights(network), "adapters on adapters"
    layers = find_layers(network, config.targets)
    network.requires_grad_(False)
    for layer in layers:
        _put(network, layer, config.rank, config.scale, dora=config.dora)
    with torch.no_grad():
        for name, weight in adapter_weights(network).items():
            _draw(network, name, weight, seed, as_no_change)
    return layers


def _put(network: nn.Module, layer: str, rank: int, scale: float, *, dora: bool) -> LoraLinear:
    """Put an adapted layer in the place of a linear one."""
    above, _, leaf = layer.rpartition(".")
    linear = network.get_submodule(layer)
    assert isinstance(linear, nn.Linear)
    adapted = LoraLinear(linear, rank, scale, dora=dora)
    adapted.train(linear.training)
    setattr(network.get_submodule(above), leaf, adapted)
    return adapted


def _draw(
    network: nn.Module, name: str, weight: nn.Parameter, seed: int, as_no_change: bool
) -> None:
    if weight.is_meta:
        return
    found = split_name(name)
    assert found is not None
    layer, part = found
    if part == MAGNITUDE:
        adapted = network.get_submodule(layer)
        assert isinstance(adapted, LoraLinear)
        weight.copy_(fresh_magnitude(adapted.weight))
    else:
        weight.copy_(fresh_matrix(name, tuple(weight.shape), seed, as_no_change=as_no_change))


def fresh_matrix(
    name: str, shape: tuple[int, ...], seed: int, *, as_no_change: bool = True
) -> Tensor:
    """The values, on the CPU, that an adapter's matrix A or B of this name starts with."""
    if as_no_change and part_of(name) == UP:
        return torch.zeros(shape)
    drawn = torch.rand(shape, generator=named_generator(seed, name))
    return (2 * drawn - 1) * shape[1] ** -0.5


def fresh_magnitude(weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, " outputs"]:
    """The lengths that DoRA starts with: those of the frozen weight's rows."""
    return _row_lengths(weight)


@contextmanager
def without_adapters(network: nn.Module) -> Iterator[None]:
    """Let a network compute what its frozen layers alone yield."""
    adapted = [module for module in network.modules() if isinstance(module, LoraLinear)]
    for module in adapted:
        module.active = False
    try:
        yield
    finally:
        for module in adapted:
            module.active = True


def adapter_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of all adapters by name."""
    return {name: p for name, p in network.named_parameters() if is_adapter(name)}


def adapted_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that have an adapter."""
    modules = network.named_modules()
    return tuple(name for name, module in modules if isinstance(module, LoraLinear))


def refuse_other_adapters(
    ours: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]
) -> None:
    """Raise CheckpointError where weights are not those of adapters of these shapes."""
    wrong = sorted(ours.keys() ^ weights.keys()) or [
        name for name in ours if ours[name] != tuple(weights[name].shape)
    ]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} of {len(ours)} weights of adapters are missing, left over or of "
            f"another shape, first {wrong[0]!r}; give rank and targets that they were made with"
        )


@torch.no_grad()
def fill_adapters(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network's adapters; they must be those, name by name.

    Raises CheckpointError where one is missing, left over or of another shape.
    """
    ours = adapter_weights(network)
    refuse_other_adapters({name: tuple(weight.shape) for name, weight in ours.items()}, weights)
    for name, weight in ours.items():
        weight.copy_(weights[name])


@torch.no_grad()
def attach(network: nn.Module, adapters: Sequence[tuple[Adapter, float]]) -> tuple[str, ...]:
    """Freeze a network and give it trained adapters, each times a factor; yield the layers.

    Several on one layer add up: their matrices stand side by side. Raises CheckpointError
    where an adapter does not fit the network, and where DoRA is not alone with factor 1: its
    lengths are of one sum and no other.
    """
    _check_alone(adapters)
    assert not adapter_weights(network), "adapters on adapters"
    parts: dict[str, list[tuple[LayerAdapter, float]]] = {}
    for adapter, factor in adapters:
        for layer, held in adapter.layers().items():
            parts.setdefault(layer, []).append((held, adapter.config.scale * factor))
    _check_fit(network, parts)
    for layer, held in parts.items():
        rank = sum(one.down.shape[0] for one, _ in held)
        dora = held[0][0].magnitude is not None
        # One alone keeps its scale and so the very numbers that it was trained with.
        alone = len(held) == 1
        adapted = _put(network, layer, rank, held[0][1] if alone else 1.0, dora=dora)
        factors = [1.0 if alone else scale for _, scale in held]
        adapted.lora_A.weight.copy_(torch.cat([one.down.float() for one, _ in held]))
        ups = [one.up.float() * f for (one, _), f in zip(held, factors, strict=True)]
        adapted.lora_B.weight.copy_(torch.cat(ups, dim=1))
        if adapted.lora_magnitude_vector is not None and held[0][0].magnitude is not None:
            adapted.lora_magnitude_vector.weight.copy_(held[0][0].magnitude)
    network.requires_grad_(False)
    return tuple(parts)


def _check_alone(adapters: Sequence[tuple[Adapter, float]]) -> None:
    if any(adapter.config.dora for adapter, _ in adapters) and (
        len(adapters) > 1 or adapters[0][1] != 1.0
    ):
        raise CheckpointError(
            "an adapter of DoRA is used alone and at weight 1; merge it into its base first "
            "(worldtune lora merge), or leave the others out"
        )


def _check_fit(
    network: nn.Module, parts: Mapping[str, Sequence[tuple[LayerAdapter, float]]]
) -> None:
    linear = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear)}
    lines = [f"{layer} is no linear layer of the network" for layer in parts if layer not in linear]
    for layer, held in parts.items():
        for one, _ in held if layer in linear else ():
            fits = (one.up.shape[0], one.down.shape[1])
            wanted = (linear[layer].out_features, linear[layer].in_features)
            if fits != wanted:
                lines.append(
                    f"{layer} is {list(wanted)} (outputs, inputs) in the network, and the "
                    f"adapter is for {list(fits)}"
                )
    if lines:
        more = f"\n  and {len(lines) - 6} more" if len(lines) > 6 else ""
        raise CheckpointError(
            "the adapter does not fit the network:\n  " + "\n  ".join(lines[:6]) + more + "\n"
            "Use the base that it was trained on."
        )

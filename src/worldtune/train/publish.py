"""Files that a run writes beside its own state, for other programs: made from it, after it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import JsonValue
from torch import Tensor

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import adapter_size, write_adapters
from worldtune.checkpoint.base import Base
from worldtune.checkpoint.layout import ADAPTERS, NATIVE_KINDS, adapter_name
from worldtune.checkpoint.matching import Which
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import (
    NativeModel,
    NativeOptimizer,
    native_name,
    native_size,
    write_native,
)
from worldtune.checkpoint.peft_names import named_for_peft
from worldtune.config.predict2 import Predict2Recipe
from worldtune.inference.pieces import adapter_config, network_dtype
from worldtune.models.lora import Adapter, adapted_layers
from worldtune.models.lora_config import LoraConfig
from worldtune.train.setup import Learner, learning_rate_schedule

# Whole tensors out of the parts that this process holds.
Whole = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@runtime_checkable
class Published(Protocol):
    """One kind of files, of any iteration."""

    def paths(self, iteration: int) -> tuple[Path, ...]:
        """The files of an iteration; empty where the recipe wants none."""
        ...

    def write(self, iteration: int, schedule_step: int) -> None:
        """Write them, each whole or not at all; older ones go as the recipe says.

        All processes call it: the first one writes what it gets from all.
        """

    def nbytes(self) -> int:
        """Bytes that a save of them takes."""
        ...


def published(
    recipe: Predict2Recipe, learner: Learner, facts: Mapping[str, JsonValue], checkpoints: Path
) -> tuple[Published, ...]:
    """What a recipe's run writes, the most useful first.

    A LoRA run writes its adapters; the model's file, which holds the base twice, only with
    `all`.
    """
    native = PublishersFiles(recipe, learner, checkpoints)
    config = adapter_config(recipe)
    if config is None:
        return (native,)
    adapters = AdapterFiles(recipe, learner, config, facts, checkpoints)
    return (adapters, native) if recipe.checkpoint.native == "all" else (adapters,)


class AdapterFiles:
    """`adapters/iter_N.safetensors`, and the average of the adapters beside it."""

    def __init__(
        self,
        recipe: Predict2Recipe,
        learner: Learner,
        config: LoraConfig,
        facts: Mapping[str, JsonValue],
        checkpoints: Path,
    ) -> None:
        self._recipe = recipe
        self._learner = learner
        self._config = config
        self._facts = facts
        self._checkpoints = checkpoints
        self._wanted = recipe.checkpoint.native != "none"

    def paths(self, iteration: int) -> tuple[Path, ...]:
        """The adapters', then their average's."""
        kinds = self._weights() if self._wanted else {}
        return tuple(self._checkpoints / ADAPTERS / adapter_name(iteration, k) for k in kinds)

    def write(self, iteration: int, schedule_step: int) -> None:
        """Write them in the network's precision."""
        if not self._wanted:
            return
        pieces = self._learner.pieces
        weights: dict[Which, Mapping[str, Tensor]] = {
            which: pieces.whole(some) for which, some in self._weights().items()
        }
        pieces.mesh.from_first(
            lambda: write_adapters(
                self._checkpoints,
                iteration,
                self._adapters(iteration, weights),
                dtype=network_dtype(self._recipe),
                keep_last=self._recipe.checkpoint.keep_last,
            )
        )

    def nbytes(self) -> int:
        """Bytes of both."""
        dtype = network_dtype(self._recipe)
        if not self._wanted:
            return 0
        pieces = self._learner.pieces
        sizes: dict[Which, Mapping[str, Tensor]] = {
            which: pieces.sizes_only(some) for which, some in self._weights().items()
        }
        pairs = self._adapters(0, sizes).values()
        return sum(adapter_size(adapter, notes, dtype) for adapter, notes in pairs)

    def _weights(self) -> dict[Which, Mapping[str, Tensor]]:
        learner = self._learner
        weights: dict[Which, Mapping[str, Tensor]] = {"network": learner.optimizer.masters}
        if learner.average is not None:
            weights["average"] = learner.average.values
        return weights

    def _adapters(
        self, iteration: int, weights: Mapping[Which, Mapping[str, Tensor]]
    ) -> dict[Which, tuple[Adapter, AdapterNotes]]:
        recipe, base = self._facts[named.RECIPE], self._facts[named.BASE]
        assert isinstance(recipe, dict)
        assert isinstance(base, dict)
        return {
            which: (
                Adapter(self._config, some),
                AdapterNotes(
                    config=self._config,
                    family=PREDICT2.family,
                    which=which,
                    iteration=iteration,
                    base=Base.from_json(base),
                    recipe=recipe,
                    pieces={key: self._facts[key] for key in (named.TOKENIZER, named.TEXT_ENCODER)},
                ),
            )
            for which, some in weights.items()
        }


class PublishersFiles:
    """The publishers' files; of a LoRA run with base and adapters, in peft's names."""

    def __init__(self, recipe: Predict2Recipe, learner: Learner, checkpoints: Path) -> None:
        self._recipe = recipe
        self._learner = learner
        self._checkpoints = checkpoints
        self._settings = recipe.checkpoint
        self._schedule: Callable[[int], float] = learning_rate_schedule(recipe.scheduler)

    def paths(self, iteration: int) -> tuple[Path, ...]:
        """The model's first."""
        kinds = {"none": (), "model": NATIVE_KINDS[:1], "all": NATIVE_KINDS}[self._settings.native]
        return tuple(self._checkpoints / kind / native_name(iteration) for kind in kinds)

    def write(self, iteration: int, schedule_step: int) -> None:
        """Write the model's, or all four."""
        files, whole = self._settings.native, self._learner.pieces.whole
        if files == "none":
            return
        model = self._model(whole)
        optimizer = self._optimizer(schedule_step, whole) if files == "all" else None
        self._learner.pieces.mesh.from_first(
            lambda: write_native(
                self._checkpoints,
                iteration,
                files,
                model,
                optimizer,
                keep_last=self._settings.keep_last,
            )
        )

    def nbytes(self) -> int:
        """Bytes of the model's, and of what is beside it."""
        if self._settings.native == "none":
            return 0
        sizes_only = self._learner.pieces.sizes_only
        size = native_size(self._model(sizes_only))
        if self._settings.native == "all":
            masters = sizes_only(self._learner.optimizer.masters)
            size += sum(2 * m.nbytes for m in masters.values())
        return size

    def _named(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return named_for_peft(weights, adapted_layers(self._learner.network))

    def _model(self, whole: Whole) -> NativeModel:
        learner = self._learner
        average = None if learner.average is None else self._named(whole(learner.average.values))
        return NativeModel(
            table=PREDICT2,
            config=learner.network.config,
            weights=self._named(whole(learner.weights())),
            average=average,
        )

    def _optimizer(self, schedule_step: int, whole: Whole) -> NativeOptimizer:
        settings, optimizer = self._recipe.optimizer, self._learner.optimizer
        return NativeOptimizer(
            moments={kind: self._named(whole(some)) for kind, some in optimizer.moments().items()},
            steps_taken=optimizer.steps_taken(),
            learning_rate=settings.lr * self._schedule(max(0, schedule_step - 1)),
            base_learning_rate=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )

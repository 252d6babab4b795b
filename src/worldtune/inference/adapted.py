"""A network with the adapters that a user names, or that a LoRA run trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from worldtune.checkpoint import sections
from worldtune.checkpoint.adapters import (
    SavedAdapter,
    adapters_beside_base,
    find_adapter,
    read_adapter,
)
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.matching import Which
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.trees import AVERAGE as AVERAGE_PREFIX
from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference.checkpoints import (
    Checkpoint,
    LoadedNetwork,
    drawn,
    find_checkpoint,
    load_network,
)
from worldtune.inference.pieces import adapter_config
from worldtune.models.lora import Adapter, attach
from worldtune.models.lora_config import UP, LoraConfig, part_of


@dataclass(frozen=True)
class UsedAdapter:
    """An adapter's file and the weight at which it is added."""

    saved: SavedAdapter
    weight: float = 1.0

    def __str__(self) -> str:
        """As messages and records name it."""
        config = self.saved.adapter.config
        return (
            f"{self.saved.path} at weight {self.weight:g} ({config.kind}, rank {config.rank}, "
            f"alpha {config.alpha:g})"
        )


@dataclass(frozen=True)
class LoadedBase:
    """A frozen network, and how it is known again."""

    network: LoadedNetwork
    base: Base


def read_used(word: str, average: bool | None = None) -> UsedAdapter:
    """Read what `--lora FILE[:WEIGHT]` names: a file, or a LoRA run's folder.

    average chooses in a folder or file that holds both. Errors: RecipeError where the weight
    is no number, CheckpointError for the file.
    """
    path, weight = Path(word), 1.0
    if not path.exists() and ":" in word:
        name, _, number = word.rpartition(":")
        path = Path(name)
        try:
            weight = float(number)
        except ValueError:
            raise RecipeError(
                f"--lora {word}: {number!r} is no number; expected FILE or FILE:WEIGHT, such as "
                f"{name}:0.8"
            ) from None
    which: Which = "average" if average else "network"
    return UsedAdapter(read_adapter(find_adapter(path, average), which=which), weight)


def as_checkpoint(used: UsedAdapter) -> Checkpoint:
    """The file as weights that were trained with a tokenizer and a text encoder."""
    return Checkpoint(used.saved.path, "file", None, used.saved.notes.pieces or {})


def base_checkpoint(base: Base) -> Checkpoint:
    """Find the base that an adapter says it was trained on.

    Errors: CheckpointError where it is not there, with the next step.
    """
    if base.path is None:
        assert base.seed is not None
        return drawn(base.seed)
    return find_checkpoint(Path(base.path))


def load_base(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    *,
    device: torch.device | str,
    average: bool,
    leave_adapters: bool,
) -> LoadedBase:
    """Load the frozen weights under adapters, whole, and take their fingerprint.

    With leave_adapters, those beside the base in a file of the publishers' trainer stay there;
    without, they are an error. Errors are those of `load_network`.
    """
    loaded = load_network(
        checkpoint,
        recipe,
        device=device,
        average=average and checkpoint.kind != "seed",
        leave_adapters=leave_adapters,
    )
    base = Base(
        fingerprint=fingerprint(loaded.network.named_parameters()),
        path=None if checkpoint.kind == "seed" else str(checkpoint.path),
        which=loaded.which,
        seed=checkpoint.seed,
    )
    return LoadedBase(loaded, base)


def load_adapted(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    *,
    device: torch.device | str,
    average: bool | None = None,
    adapters: Sequence[UsedAdapter] = (),
) -> tuple[LoadedNetwork, tuple[str, ...]]:
    """Load what a checkpoint holds, put adapters on it, and yield it with notices.

    A LoRA run's own adapters come first, on the base that it was trained on. Errors are those
    of `load_network`, and CheckpointError where an adapter does not fit.
    """
    if checkpoint.holds_adapters:
        loaded, own = _of_lora_run(checkpoint, recipe, device, average)
    elif checkpoint.kind == "file" and _has_adapters(checkpoint.path):
        loaded, own = _of_publishers(checkpoint, recipe, device, average)
    else:
        loaded, own = load_network(checkpoint, recipe, device=device, average=average), []
    if not adapters and not own:
        return loaded, ()
    notices = _notices(loaded, adapters, checkpoint)
    used = [*own, *((used.saved.adapter, used.weight) for used in adapters)]
    attach(loaded.network, used)
    told = "".join(f"; with {adapter}" for adapter in adapters)
    return LoadedNetwork(loaded.network, loaded.which, loaded.report + told), notices


Own = list[tuple[Adapter, float]]


def _of_lora_run(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    device: torch.device | str,
    average: bool | None,
) -> tuple[LoadedNetwork, Own]:
    """The base of a LoRA run, which must be the one of its training, and its adapters."""
    told = Base.from_json(checkpoint.recorded[sections.BASE])
    found = load_base(
        base_checkpoint(told),
        recipe,
        device=device,
        average=told.which == "average",
        leave_adapters=True,
    )
    check_same_base(checkpoint.path, told, found.base)
    config = LoraConfig.from_json(checkpoint.recorded[sections.ADAPTER])
    which, adapter = read_state_adapter(checkpoint.path, config, average)
    count = len(adapter.weights)
    report = (
        f"{found.network.report}; {count} of {count} adapter tensors from {checkpoint.path} "
        f"({which})"
    )
    return LoadedNetwork(found.network.network, which, report), [(adapter, 1.0)]


def check_same_base(trained: Path | str, told: Base, found: Base) -> None:
    """Raise CheckpointError where a base is not the one that adapters were trained on."""
    if told.fingerprint == found.fingerprint:
        return
    raise CheckpointError(
        f"the adapters in {trained} were trained on {told} (fingerprint {told.fingerprint}), and "
        f"the base that was found, {found}, has fingerprint {found.fingerprint}: it is another "
        "one, or was changed since. Bring the former back"
    )


def read_state_adapter(
    path: Path, config: LoraConfig, average: bool | None
) -> tuple[Which, Adapter]:
    """Adapters, or their average, out of a LoRA run's state; None: the average if there is one."""
    with SavedState(path) as state:
        names = {which: f"{section}/" for which, section in _SECTIONS.items()}
        has_average = any(key.startswith(names["average"]) for key in state.tensors)
        if average and not has_average:
            raise CheckpointError(f"{path} keeps no average; leave out --ema, or use --no-ema")
        which: Which = "average" if (has_average if average is None else average) else "network"
        keys = [key for key in state.tensors if key.startswith(names[which])]
        weights = {key.removeprefix(names[which]): state.read(key).clone() for key in keys}
    return which, Adapter(config, weights)


_SECTIONS: dict[Which, str] = {"network": sections.MASTERS, "average": sections.AVERAGE}


def _has_adapters(path: Path) -> bool:
    with open_weights(path) as file:
        return any(".lora_A." in name for name in file.entries)


def _of_publishers(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    device: torch.device | str,
    average: bool | None,
) -> tuple[LoadedNetwork, Own]:
    """A file that holds base and adapters; rank and alpha are in the settings beside it."""
    config = adapter_config(recipe)
    if config is None:
        raise CheckpointError(
            f"{checkpoint.path} holds adapters beside their base and does not say their alpha; "
            "name the settings of its run with --config, or take them out with `worldtune lora "
            "export --alpha` and give them with --lora"
        )
    with open_weights(checkpoint.path) as file:
        if average is None:
            average = any(name.startswith(AVERAGE_PREFIX) for name in file.entries)
        which: Which = "average" if average else "network"
        weights, _ = adapters_beside_base(file, which)
    # The average's copy of the base is the same weights in float32.
    loaded = load_network(checkpoint, recipe, device=device, average=average, leave_adapters=True)
    report = f"{loaded.report}; {len(weights)} adapter tensors, rank {config.rank}"
    own = [(Adapter(config, weights), 1.0)]
    return LoadedNetwork(loaded.network, which, report), own


def _notices(
    loaded: LoadedNetwork, adapters: Sequence[UsedAdapter], checkpoint: Checkpoint
) -> tuple[str, ...]:
    """What the user should know of adapters and the base they are put on."""
    told = [warning for used in adapters for warning in used.saved.warnings]
    bases = [used for used in adapters if used.saved.notes.base is not None]
    mark = fingerprint(loaded.network.named_parameters()) if bases else ""
    for used in bases:
        base = used.saved.notes.base
        if base is not None and base.fingerprint != mark:
            told.append(
                f"{used.saved.path} was trained on {base} (fingerprint {base.fingerprint}); it "
                f"is put on {checkpoint.path} (fingerprint {mark})"
            )
    for used in adapters:
        if changes_nothing(used.saved.adapter):
            told.append(f"{used.saved.path} changes nothing: its B is 0 everywhere")
    return tuple(told)


def changes_nothing(adapter: Adapter) -> bool:
    """Whether every B is 0, as before the first step."""
    ups = [weight for name, weight in adapter.weights.items() if part_of(name) == UP]
    return not any(bool(weight.any()) for weight in ups) and not adapter.config.dora

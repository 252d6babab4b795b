"""How a LoRA run begins: a frozen base, loaded whole, and adapters that change nothing yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.adapter_notes import is_own
from worldtune.checkpoint.adapters import SavedAdapter, adapters_beside_base, read_adapter
from worldtune.checkpoint.base import Base
from worldtune.checkpoint.disk import gib
from worldtune.checkpoint.matching import Which
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.state import read_state
from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import CheckpointError, RunError
from worldtune.inference.adapted import check_same_base, load_base
from worldtune.inference.checkpoints import Checkpoint, drawn, find_checkpoint
from worldtune.inference.pieces import pipeline
from worldtune.models.initialise import named_generator
from worldtune.models.lora import adapter_weights, add_lora, fill_adapters
from worldtune.models.lora_config import LoraConfig
from worldtune.models.transformer import Transformer
from worldtune.train.logs import log
from worldtune.train.origin import Origin, SavedTraining, Start

# DoRA divides by a length that it multiplies with; LoRA adds 0 and changes no bit.
DORA_TOLERANCE = 1e-6


def find_base(recipe: Predict2Recipe, origin: Origin, load_path: Origin | None) -> Origin:
    """Tell base from adapters in what a run starts from; nothing large is read.

    What load_path names is the base where it holds whole weights; where it holds adapters,
    they are gone on from, on the base of dit_path or fresh_weights. Raises CheckpointError
    where a base is not there, with the command that fetches it.
    """
    if origin.native is not None:
        return origin.on(Checkpoint(origin.native.model, "file", None, {}))
    if load_path is not None and not _holds_adapters(load_path):
        path = load_path.state.path if load_path.state is not None else load_path.path
        assert path is not None
        base = find_checkpoint(path)
        if origin.kind != "load_path":
            return origin.on(base)
        _refuse_training_state(recipe, path)
        return Origin("load_path", path, base=base)
    config = recipe.model.config
    if config.fresh_weights:
        return origin.on(drawn(recipe.trainer.seed))
    return origin.on(find_checkpoint(Path(config.model_manager_config.dit_path)))


def _refuse_training_state(recipe: Predict2Recipe, path: Path) -> None:
    if recipe.checkpoint.load_training_state:
        raise CheckpointError(
            f"checkpoint.load_training_state is True and checkpoint.load_path is {path}, which "
            "holds whole weights; their training state is not that of adapters. Leave it False "
            "to take the weights as the base"
        )


def _holds_adapters(origin: Origin) -> bool:
    """Whether load_path is a state, or a file, of adapters alone."""
    if origin.state is not None:
        with SavedState(origin.state.path) as state:
            return named.ADAPTER in state.info
    assert origin.path is not None
    with open_weights(origin.path) as file:
        return is_own(file.metadata)


def start_adapted(
    recipe: Predict2Recipe, origin: Origin, config: LoraConfig, device: torch.device
) -> Start:
    """Load the base whole, put fresh adapters on it, and hold the output to the base's.

    Raises CheckpointError where the base is not whole, or is not the one that saved adapters
    were trained on; RecipeError where a target matches no layer.
    """
    assert origin.base is not None
    saved, file = _read_saved(origin, config), read_adapter_file(origin, config)
    told = Base.from_json(saved.info[named.BASE]) if saved is not None else None
    told = file.notes.base if file is not None else told
    found = load_base(
        origin.base,
        recipe,
        device=device,
        average=takes_average(recipe, origin, told),
        leave_adapters=origin.native is not None,
    )
    network, base = found.network.network, found.base
    accept_base(origin, found.network.report, base, told)
    _add_adapters(network, config, recipe)
    if origin.native is not None:
        fill_adapters(network, native_adapters(origin.native.model, "network"))
    elif file is not None:
        fill_adapters(network, file.adapter.weights)
        log.info(f"Adapters: {len(file.adapter.weights)} tensors from {file.path}")
    return adapted_start(network, origin, base, config, saved)


def adapted_start(
    network: Transformer,
    origin: Origin,
    base: Base,
    config: LoraConfig,
    saved: SavedTraining | None,
) -> Start:
    """A network with its adapters, as a run begins with it; saved is of what origin names."""
    return Start(
        network,
        str(origin.path or base),
        resumed=saved if origin.kind == "state" else None,
        borrowed=saved if origin.kind == "load_path" else None,
        native=origin.native,
        fresh=base.path is None,
        base=base,
        adapters=config,
    )


def takes_average(recipe: Predict2Recipe, origin: Origin, told: Base | None) -> bool:
    """Whether the base is an average: as it was for saved adapters, else as the recipe says."""
    if told is not None:
        return told.which == "average"
    return recipe.checkpoint.load_ema_to_reg and origin.native is None


def accept_base(origin: Origin, report: str, base: Base, told: Base | None) -> None:
    """Say what the frozen weights are, and warn where they know nothing.

    Raises CheckpointError where they are not those that saved adapters tell of.
    """
    log.info(f"Base: {report} (fingerprint {base.fingerprint})")
    if base.path is None:
        log.warning(
            "The frozen base is random weights (model.config.fresh_weights): adapters learn "
            "little on it"
        )
    if told is not None:
        assert origin.path is not None
        check_same_base(origin.path, told, base)


def _add_adapters(network: Transformer, config: LoraConfig, recipe: Predict2Recipe) -> None:
    """Put fresh adapters on the base, tell them, and check that they change nothing."""
    before = probe(network)
    as_no_change = recipe.model.config.init_lora_weights
    add_lora(network, config, seed=recipe.trainer.seed, as_no_change=as_no_change)
    for line in adapter_lines(network, config, average=pipeline(recipe).ema.enabled):
        log.info(line)
    if as_no_change:
        check_no_change(before, probe(network), config)
    else:
        log.warning("model.config.init_lora_weights is false: adapters start as random changes")


def _read_saved(origin: Origin, config: LoraConfig) -> SavedTraining | None:
    """The state that a run goes on from, where it is of adapters like these."""
    if origin.state is None:
        return None
    sections, info = read_state(origin.state)
    check_same_adapters(origin.state.path, info, config)
    return SavedTraining(sections, info)


def read_adapter_file(origin: Origin, config: LoraConfig) -> SavedAdapter | None:
    """The adapters in a file of adapters alone that load_path names."""
    if origin.kind != "load_path" or origin.state is not None or _is_base(origin):
        return None
    assert origin.path is not None
    saved = read_adapter(origin.path)
    _refuse_others(origin.path, saved.adapter.config, config)
    return saved


def _is_base(origin: Origin) -> bool:
    """Whether what load_path names is the base itself."""
    return origin.base is not None and origin.path == origin.base.path


def check_same_adapters(path: Path, info: Mapping[str, Any], config: LoraConfig) -> None:
    """Raise CheckpointError where a state is not of adapters like those of the settings."""
    if named.ADAPTER not in info:
        raise CheckpointError(
            f"{path} holds whole weights, and model.config.train_architecture is 'lora'; give "
            "this run another job.name, and name the former's weights in "
            "model.config.model_manager_config.dit_path"
        )
    _refuse_others(path, LoraConfig.from_json(info[named.ADAPTER]), config)


def _refuse_others(path: Path, saved: LoraConfig, config: LoraConfig) -> None:
    before, now = saved.to_json(), config.to_json()
    changed = [f"{key} {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        raise CheckpointError(
            f"the adapters in {path} are not those of the settings: {'; '.join(changed)}. Go back "
            "to the former, or give the run another job.name"
        )


def native_adapters(path: Path, which: Which) -> dict[str, Tensor]:
    """Adapters, or their average, out of a file of the publishers' trainer."""
    with open_weights(path) as file:
        return adapters_beside_base(file, which)[0]


# --- what is told and checked ---


def adapter_lines(
    network: torch.nn.Module, config: LoraConfig, *, average: bool, ranks: int = 1
) -> list[str]:
    """The documents' two lines on adapters, and one on what is really held by `ranks` together.

    The documents count the network and its average, base and adapters alike, because the
    publishers' trainer holds and marks both.
    """
    adapters = adapter_weights(network).values()
    trained = sum(weight.numel() for weight in adapters)
    frozen = [p for p in network.parameters() if not p.requires_grad]
    count = sum(weight.numel() for weight in frozen)
    copies = 2 if average else 1
    targets = list(config.targets)
    size, dtype = gib(sum(w.nbytes for w in adapters)), str(frozen[0].dtype).removeprefix("torch.")
    where = "in memory" if ranks == 1 else f"in the memory of {ranks} ranks together"
    held = (
        f"Held {where}: the base once, {gib(sum(w.nbytes for w in frozen))} in {dtype} "
        f"({count:,} weights); adapters, {size} in float32 ({trained:,} weights, {config.kind})"
    )
    return [
        f"Adding LoRA adapters: rank={config.rank}, alpha={config.alpha:g}, targets={targets}",
        f"Total parameters: {copies * (count + trained) / 1e9:.2f}B, Frozen parameters: "
        f"{copies * count:,}, Trainable parameters: {copies * trained:,}",
        held + (f"; their average, {size}" if average else ""),
    ]


@torch.no_grad()
def probe(network: Transformer, frames: int = 2) -> Tensor:
    """The network's output on a tiny clip of noise, the same every time."""
    config, device = network.config, next(network.parameters()).device
    draw = named_generator(0, "probe")
    side = 2 * config.patch_spatial
    length = frames * config.patch_temporal * config.num_views
    shape = (1, config.latent_channels, length, side, side)
    latents = torch.randn(shape, generator=draw).to(device)
    width = config.text_input_channels or config.text_channels
    text = torch.randn(1, 2 * config.num_views, width, generator=draw).to(device)
    return network(latents, torch.full((1,), 0.5, device=device), text)


def check_no_change(before: Tensor, after: Tensor, config: LoraConfig) -> None:
    """Raise RunError where fresh adapters change the network's output.

    LoRA must keep every bit, DoRA 1e-6 of the largest value.
    """
    allowed = DORA_TOLERANCE * before.abs().max().item() if config.dora else 0.0
    found = (after - before).abs().max().item()
    if not found <= allowed:
        raise RunError(
            f"fresh adapters change the network's output by {found:g}, and {allowed:g} is "
            "allowed; this is a fault of the program or the machine. Nothing was trained"
        )

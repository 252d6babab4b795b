"""Where a run's weights come from before its first step."""

from pathlib import Path

import torch

from worldtune.checkpoint.load import load_weights
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import find_native
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.state import read_state
from worldtune.checkpoint.state_folder import StateRef, find_latest
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.settings import CheckpointSettings
from worldtune.errors import CheckpointError
from worldtune.inference.pieces import adapter_config, network_config, network_dtype
from worldtune.models.build import build
from worldtune.parallel.apply import spread
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.train.adapters import find_base, start_adapted
from worldtune.train.logs import log
from worldtune.train.origin import Origin, SavedTraining, Start
from worldtune.train.setup import how_to_run
from worldtune.train.spread_start import start_spread

CHECKPOINTS = Path("checkpoints")
STATES = CHECKPOINTS / "state"


def find_origin(recipe: Predict2Recipe, folder: Path) -> Origin:
    """Choose the run's own state, else its published files, load_path, dit_path, random weights.

    Of a LoRA run, the base is found too. Raises CheckpointError where the chosen file is not
    there, with the command that fetches it. That one is chosen is part of checking the settings.
    """
    origin = _choose(recipe, folder)
    if adapter_config(recipe) is None:
        return origin
    # A run that goes on from its own state needs the base that it began with.
    load_path = recipe.checkpoint.load_path
    there = bool(load_path) and Path(load_path).exists()
    return find_base(recipe, origin, _at_load_path(recipe.checkpoint) if there else None)


def _choose(recipe: Predict2Recipe, folder: Path) -> Origin:
    latest = find_latest(folder / STATES)
    for warning in latest.warnings:
        log.warning(warning)
    if latest.state is not None:
        return Origin("state", latest.state.path, latest.state)
    if latest.warnings:
        raise CheckpointError(
            f"no state in {folder / STATES} is whole, so this run cannot go on. Remove the folder "
            "to start it anew, or give the run another job.name"
        )
    native = find_native(folder / CHECKPOINTS)
    if native is not None:
        return Origin("native", native.model, native=native)
    config = recipe.model.config
    if recipe.checkpoint.load_path:
        return _at_load_path(recipe.checkpoint)
    if config.fresh_weights:
        return Origin("fresh")
    path = Path(config.model_manager_config.dit_path)
    if not path.exists():
        raise weights_not_found(path)
    return Origin("dit_path", path)


def _at_load_path(settings: CheckpointSettings) -> Origin:
    path = Path(settings.load_path)
    if not path.exists():
        raise CheckpointError(f"checkpoint.load_path is {path}, which does not exist")
    for states in (path, path / STATES):
        if (states / "manifest.json").exists():
            return Origin("load_path", path, StateRef(states, -1))
        latest = find_latest(states) if states.is_dir() else None
        if latest is not None and latest.state is not None:
            return Origin("load_path", path, latest.state)
    if path.is_dir():
        raise CheckpointError(
            f"checkpoint.load_path is {path}, a folder that holds no training state; expected a "
            "run's folder, a state's folder, or a file of weights"
        )
    for name in ("load_training_state", "only_load_scheduler_state"):
        if getattr(settings, name):
            raise CheckpointError(
                f"checkpoint.{name} is True and checkpoint.load_path is {path}, a file of weights; "
                "expected the folder of a run or of a state of it, or "
                f"checkpoint.{name}=False to take the weights alone"
            )
    return Origin("load_path", path)


def start_network(
    recipe: Predict2Recipe, origin: Origin, device: torch.device, mesh: ProcessMesh = ALONE
) -> Start:
    """Build the network and fill it, over all processes. Random weights follow from the seed."""
    if not mesh.alone:
        return start_spread(recipe, origin, device, mesh)
    start = _start_alone(recipe, origin, device)
    spread(start.network, mesh, how_to_run(recipe))
    return start


def _start_alone(recipe: Predict2Recipe, origin: Origin, device: torch.device) -> Start:
    adapters = adapter_config(recipe)
    if adapters is not None:
        return start_adapted(recipe, origin, adapters, device)
    config, dtype = network_config(recipe), network_dtype(recipe)
    if origin.kind == "fresh":
        network = build(config, device=device, dtype=dtype, seed=recipe.trainer.seed)
        log.info("Starting from random weights (model.config.fresh_weights)")
        return Start(network, "random weights", fresh=True)
    network = build(config, device=device, dtype=dtype, seed=None)
    told = str(origin.path)
    if origin.state is not None:
        sections, info = read_state(origin.state)
        saved = SavedTraining(sections, info)
        if origin.kind == "state":
            return Start(network, told, resumed=saved)
        return Start(network, told, borrowed=saved)
    assert origin.path is not None
    average = recipe.checkpoint.load_ema_to_reg and origin.native is None
    report = load_weights(
        network,
        origin.path,
        PREDICT2,
        dtype=dtype,
        device=device,
        which="average" if average else "network",
    )
    log.info(f"Weights: {report}")
    return Start(network, told, native=origin.native)

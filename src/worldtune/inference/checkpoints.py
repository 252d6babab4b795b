"""From what the user named to a network with its weights: a run's folder, a state, or a file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from worldtune.checkpoint import sections
from worldtune.checkpoint.layout import NATIVE_KINDS, STATES
from worldtune.checkpoint.load import load_weights
from worldtune.checkpoint.manifest import FILE_NAME as MANIFEST
from worldtune.checkpoint.matching import Which
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import find_native
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.state_folder import find_latest
from worldtune.checkpoint.trees import AVERAGE as AVERAGE_PREFIX
from worldtune.config.files import CONFIG_FILE
from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import CheckpointError
from worldtune.inference.pieces import network_config, network_dtype
from worldtune.models.build import build
from worldtune.models.transformer import Transformer

CHECKPOINTS = "checkpoints"
MODELS = NATIVE_KINDS[0]
# In place of the fingerprint of a text encoder whose vectors a run read from files.
STORED_EMBEDDINGS = "stored embeddings"


@dataclass(frozen=True)
class Checkpoint:
    """Weights that were found and not read yet.

    path is a training state's folder or a file; run is the folder of the run it belongs to.
    recorded holds what the state says of the tokenizer and the text encoder it was trained
    with; it is empty for a file, which says nothing. notices are for the user. Weights of
    kind "seed" are drawn, and their path is only a name.
    """

    path: Path
    kind: Literal["state", "file", "seed"]
    run: Path | None
    recorded: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def holds_adapters(self) -> bool:
        """Whether it is a state of adapters without their base."""
        return sections.ADAPTER in self.recorded

    @property
    def config(self) -> Path | None:
        """The run's settings, or None for a file by itself."""
        return None if self.run is None else self.run / CONFIG_FILE

    def sha256(self) -> str:
        """Of the file, or of the state's manifest, which holds checksums of all it lists.

        Of a folder of shards: of their own sums, one a line, in the order of their names. Of
        drawn weights: of their name.
        """
        if self.kind == "seed":
            return hashlib.sha256(str(self.path).encode()).hexdigest()
        if self.kind == "state":
            return file_sha256(self.path / MANIFEST)
        if self.path.is_dir():
            sums = [file_sha256(shard) for shard in sorted(self.path.glob("*.safetensors"))]
            return hashlib.sha256("\n".join(sums).encode()).hexdigest()
        return file_sha256(self.path)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights; `report` is one line about them."""

    network: Transformer
    which: Which
    report: str


def drawn(seed: int) -> Checkpoint:
    """Random weights, which are a function of their seed."""
    return Checkpoint(Path(f"random weights of seed {seed}"), "seed", None, {}, (), seed)


def file_sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_checkpoint(path: Path) -> Checkpoint:
    """Find the weights behind a path; of a run's folder, those of the latest state.

    A run without a state of its own gives its latest published file. Errors: CheckpointError
    with the next step.
    """
    if not path.exists():
        raise weights_not_found(path)
    run = _run_of(path)
    if run is not None and path in (run, run / CHECKPOINTS):
        return _latest_of(run)
    if path.is_dir() and (path / MANIFEST).is_file():
        with SavedState(path) as state:
            state.verify()
            return Checkpoint(path, "state", run, dict(state.info))
    if path.is_dir() and not any(path.glob("*.safetensors")):
        raise CheckpointError(
            f"{path} is neither a run (it holds no {CONFIG_FILE}) nor weights; expected a run's "
            "folder, a .pt or a .safetensors file"
        )
    return Checkpoint(path, "file", run, {})


def _run_of(path: Path) -> Path | None:
    """The run that a path lies in, at the places where a run keeps weights."""
    inside = path.resolve()
    places = [inside, inside.parent if inside.name == CHECKPOINTS else inside]
    if inside.parent.name in (STATES, MODELS) and inside.parent.parent.name == CHECKPOINTS:
        places.append(inside.parents[2])
    found = next((place for place in places if (place / CONFIG_FILE).is_file()), None)
    if found is None:
        return None
    # As the user wrote it, where that can be kept.
    return next((given for given in (path, *path.parents) if given.resolve() == found), found)


def _latest_of(run: Path) -> Checkpoint:
    folder = run / CHECKPOINTS
    latest = find_latest(folder / STATES) if (folder / STATES).is_dir() else None
    notices = () if latest is None else tuple(latest.warnings)
    if latest is not None and latest.state is not None:
        with SavedState(latest.state.path) as state:
            return Checkpoint(latest.state.path, "state", run, dict(state.info), notices)
    native = find_native(folder) if (folder / MODELS).is_dir() else None
    if native is None:
        told = "".join(f"\n  {notice}" for notice in notices)
        raise CheckpointError(
            f"{run} holds no whole state and no file of weights under {folder}; train it, or "
            f"name a file{told}"
        )
    return Checkpoint(native.model, "file", run, {}, (*notices, *native.warnings))


def check_pieces(checkpoint: Checkpoint, found: Mapping[str, tuple[str, str]]) -> None:
    """Hold the tokenizer and text encoder against those that the state was trained with.

    found maps the section's names (`tokenizer`, `text_encoder`) to name and fingerprint. A
    file by itself records neither, so it is taken at its word.
    Errors: CheckpointError with every difference.
    """
    mistakes = []
    for key, (name, fingerprint) in found.items():
        told = checkpoint.recorded.get(key)
        if told is None or (told["name"], told["fingerprint"]) == (name, fingerprint):
            continue
        if told == {"name": name, "fingerprint": STORED_EMBEDDINGS}:
            continue
        mistakes.append(
            f"the {key.replace('_', ' ')} is {name} ({fingerprint}), and {checkpoint.path} was "
            f"trained with {told['name']} ({told['fingerprint']})"
        )
    if mistakes:
        raise CheckpointError(
            "\n".join(mistakes)
            + "\nSet model.config.pipe_config to what the run was trained with, in a settings "
            "file given by --config, and check that its weights are the same"
        )


def load_network(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    *,
    device: torch.device | str,
    average: bool | None = None,
    leave_adapters: bool = False,
) -> LoadedNetwork:
    """Build the recipe's network and fill it with whole weights, strictly.

    average None takes the running average where there is one. Weights are cast to the
    recipe's precision. With leave_adapters, adapters beside the weights of a file stay there.
    Errors: CheckpointError where names or shapes differ, where the average is asked for and
    there is none, or where there are adapters alone.
    """
    if checkpoint.holds_adapters:
        raise CheckpointError(
            f"{checkpoint.path} holds adapters without their base; merge them into it first "
            "(worldtune lora merge), or give a file of whole weights"
        )
    config, dtype = network_config(recipe), network_dtype(recipe)
    if checkpoint.kind == "seed":
        network = build(config, device=device, dtype=dtype, seed=checkpoint.seed)
        network.eval().requires_grad_(False)
        return LoadedNetwork(network, "network", str(checkpoint.path))
    network = build(config, device=device, dtype=dtype)
    network.eval().requires_grad_(False)
    if checkpoint.kind == "state":
        which, report = _fill_from_state(network, checkpoint.path, average)
    else:
        which, report = _fill_from_file(network, checkpoint.path, average, device, leave_adapters)
    return LoadedNetwork(network, which, report)


def _fill_from_file(
    network: Transformer,
    path: Path,
    average: bool | None,
    device: torch.device | str,
    leave_adapters: bool,
) -> tuple[Which, str]:
    with open_weights(path) as file:
        if average is None:
            average = any(name.startswith(AVERAGE_PREFIX) for name in file.entries)
        which: Which = "average" if average else "network"
        report = load_weights(
            network,
            file,
            PREDICT2,
            dtype=network.dtype,
            device=device,
            which=which,
            leave_adapters=leave_adapters,
        )
    return which, str(report)


def _fill_from_state(network: Transformer, path: Path, average: bool | None) -> tuple[Which, str]:
    """Copy a state's masters or average; its data was verified when it was found."""
    with SavedState(path) as state:
        weights = network.state_dict()
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        section = section_of(state, shapes, average=average)
        which: Which = "average" if section == sections.AVERAGE else "network"
        for name, weight in weights.items():
            weight.copy_(state.read(f"{section}/{name}"))
    count = len(weights)
    return which, f"{count} of {count} tensors from {path} ({which}, iteration {state.iteration})"


def section_of(
    state: SavedState, wanted: Mapping[str, tuple[int, ...]], *, average: bool | None
) -> str:
    """The section of a state that holds whole weights of these names and shapes.

    average None takes the average where there is one. Errors: CheckpointError where there is
    none and it is asked for, and where names or shapes differ.
    """
    has_average = any(key.startswith(f"{sections.AVERAGE}/") for key in state.tensors)
    if average and not has_average:
        raise CheckpointError(f"{state.path} keeps no average; leave out --ema, or use --no-ema")
    takes = has_average if average is None else average
    section = sections.AVERAGE if takes else sections.MASTERS
    _check_names(state, section, {name: list(shape) for name, shape in wanted.items()})
    return section


def _check_names(state: SavedState, section: str, wanted: Mapping[str, list[int]]) -> None:
    found = {
        key.partition("/")[2]: row.shape
        for key, row in state.tensors.items()
        if key.startswith(f"{section}/")
    }
    lines = [f"missing in the state: {name}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"extra in the state: {name}" for name in sorted(found.keys() - wanted.keys())]
    lines += [
        f"of another shape: {name} is {found[name]} in the state and {shape} in the network"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    if lines:
        most = 12
        rest = [f"and {len(lines) - most} more"] if len(lines) > most else []
        raise CheckpointError(
            f"{state.path} does not fit the network of the settings:\n"
            + "\n".join(f"  {line}" for line in [*lines[:most], *rest])
        )

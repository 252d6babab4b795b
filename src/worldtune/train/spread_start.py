"""How a run of several processes begins: each fills the parts of the weights that it holds.

The network is built without memory, spread over the processes, and only then given any.
Weights pass by one whole tensor at a time, out of the file's pages or fresh from their
generators, and every process keeps its part; so no process ever holds a whole network.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.adapters import SavedAdapter
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.load import stream_weights
from worldtune.checkpoint.matching import Which, match_names
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.reader import open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import CheckpointError
from worldtune.inference.checkpoints import Checkpoint, section_of
from worldtune.inference.pieces import adapter_config, network_config, network_dtype, pipeline
from worldtune.models.initialise import fresh_weight
from worldtune.models.lora import (
    adapted_layers,
    add_lora,
    fresh_magnitude,
    fresh_matrix,
    refuse_other_adapters,
    without_adapters,
)
from worldtune.models.lora_config import MAGNITUDE, LoraConfig, is_adapter, split_name
from worldtune.models.transformer import Transformer
from worldtune.parallel.apply import spread
from worldtune.parallel.mesh import ProcessMesh
from worldtune.parallel.pieces import Pieces, Shape, local
from worldtune.train.adapters import (
    accept_base,
    adapted_start,
    adapter_lines,
    check_no_change,
    check_same_adapters,
    native_adapters,
    probe,
    read_adapter_file,
    takes_average,
)
from worldtune.train.logs import log
from worldtune.train.origin import Origin, SavedTraining, Start
from worldtune.train.setup import how_to_run
from worldtune.train.state import read_pieces

Named = Iterable[tuple[str, Tensor]]


def start_spread(
    recipe: Predict2Recipe, origin: Origin, device: torch.device, mesh: ProcessMesh
) -> Start:
    """Build the network over all processes and fill it; errors are those of one process."""
    adapters = adapter_config(recipe)
    if adapters is not None:
        return _start_adapted(recipe, origin, adapters, device, mesh)
    held = _Held(_spread_network(recipe, None, device, mesh), mesh, network_dtype(recipe))
    told = str(origin.path)
    if origin.kind == "fresh":
        held.fill(_drawn(recipe, held.shapes()))
        log.info("Starting from random weights (model.config.fresh_weights)")
        return Start(held.network, "random weights", fresh=True)
    if origin.state is not None:
        saved = SavedTraining(*read_pieces(origin.state.path, held.pieces))
        if origin.kind == "state":
            return Start(held.network, told, resumed=saved)
        return Start(held.network, told, borrowed=saved)
    assert origin.path is not None
    average = recipe.checkpoint.load_ema_to_reg and origin.native is None
    size = f"{origin.path.stat().st_size:,} bytes" if origin.path.is_file() else "a folder"
    _refuse_differences(mesh, f"size of {origin.path}", size)
    file = Checkpoint(origin.path, "file", None, {})
    with whole_weights(file, recipe, held.shapes(), average=average) as (_, report, weights):
        held.fill(weights)
    log.info(f"Weights: {report}")
    return Start(held.network, told, native=origin.native)


def _start_adapted(
    recipe: Predict2Recipe,
    origin: Origin,
    config: LoraConfig,
    device: torch.device,
    mesh: ProcessMesh,
) -> Start:
    """A frozen base, whole over all processes, and adapters that change nothing yet."""
    assert origin.base is not None
    file, told = read_adapter_file(origin, config), _told_base(origin, config)
    told = file.notes.base if file is not None else told
    held = _Held(_spread_network(recipe, config, device, mesh), mesh, network_dtype(recipe))
    base, report = _fill_base(held, recipe, origin, told)
    accept_base(origin, report, base, told)
    _fill_adapters(held, recipe, origin, config, file)
    saved = None
    if origin.state is not None:
        saved = SavedTraining(*read_pieces(origin.state.path, held.pieces))
    return adapted_start(held.network, origin, base, config, saved)


def _spread_network(
    recipe: Predict2Recipe, adapters: LoraConfig | None, device: torch.device, mesh: ProcessMesh
) -> Transformer:
    """The recipe's network with memory for this process's parts, which are NaN.

    Weights that train are kept in float32 and gathered in the precision of the computation;
    a frozen base is kept in it.
    """
    dtype = network_dtype(recipe)
    with torch.device("meta"):
        network = Transformer(network_config(recipe))
    network.to(torch.float32 if adapters is None else dtype)
    if adapters is not None:
        add_lora(network, adapters, seed=recipe.trainer.seed)
        average = pipeline(recipe).ema.enabled
        ranks = mesh.layout.shard * mesh.layout.tensor
        for line in adapter_lines(network, adapters, average=average, ranks=ranks):
            log.info(line)
    compute = dtype if adapters is None and dtype != torch.float32 else None
    spread(network, mesh, how_to_run(recipe), compute=compute)
    network.to_empty(device=device)
    with torch.no_grad():
        for weight in network.parameters():
            local(weight).fill_(torch.nan)
    return network


class _Held:
    """A network's weights on this process, to be filled from whole ones."""

    def __init__(self, network: Transformer, mesh: ProcessMesh, dtype: torch.dtype) -> None:
        self.network, self._dtype = network, dtype
        self.pieces = Pieces(network, mesh)

    def shapes(self) -> dict[str, Shape]:
        """Whole shapes of all weights but the adapters'."""
        shapes = self.pieces.shapes()
        return {name: shape for name, shape in shapes.items() if not is_adapter(name)}

    def filling(self, weights: Named) -> Iterator[tuple[str, Tensor]]:
        """Keep the parts of weights as they pass by, rounded to the computation's precision."""
        for name, whole in weights:
            rounded = whole.to(self._dtype)
            self.keep(name, rounded)
            yield name, rounded

    def fill(self, weights: Named) -> None:
        """Keep the parts of weights."""
        for _ in self.filling(weights):
            pass

    def fill_adapters(self, weights: Mapping[str, Tensor]) -> None:
        """Keep the parts of adapters, in float32; every one must be there."""
        shapes = self.pieces.shapes()
        refuse_other_adapters({n: s for n, s in shapes.items() if is_adapter(n)}, weights)
        for name, whole in weights.items():
            self.keep(name, whole)

    def keep(self, name: str, whole: Tensor) -> None:
        """Keep this process's part of one weight."""
        self.pieces.held[name].copy_(self.pieces[name].cut(whole))


def _fill_base(
    held: _Held, recipe: Predict2Recipe, origin: Origin, told: Base | None
) -> tuple[Base, str]:
    """Fill the frozen weights, and the magnitudes of DoRA, which are their rows' lengths."""
    checkpoint = origin.base
    assert checkpoint is not None
    average = takes_average(recipe, origin, told) and checkpoint.kind != "seed"
    adapted = {f"{layer}.weight": layer for layer in adapted_layers(held.network)}
    magnitudes = {n: s for n, s in held.pieces.shapes().items() if MAGNITUDE in n}

    def passing(weights: Named) -> Iterator[tuple[str, Tensor]]:
        for name, weight in held.filling(weights):
            if magnitudes and name in adapted:
                lengths = fresh_magnitude(weight)
                held.keep(f"{adapted[name]}.{MAGNITUDE}.weight", lengths)
            yield name, weight

    leave = origin.native is not None
    opened = whole_weights(checkpoint, recipe, held.shapes(), average=average, leave_adapters=leave)
    with opened as (which, report, weights):
        mark = fingerprint(passing(weights))
    _refuse_differences(held.pieces.mesh, f"fingerprint of the base {checkpoint.path}", mark)
    path = None if checkpoint.kind == "seed" else str(checkpoint.path)
    return Base(fingerprint=mark, path=path, which=which, seed=checkpoint.seed), report


def _fill_adapters(
    held: _Held,
    recipe: Predict2Recipe,
    origin: Origin,
    config: LoraConfig,
    file: SavedAdapter | None,
) -> None:
    """Fresh adapters, held to change nothing; then those of a file, where there is one."""
    no_change, seed = recipe.model.config.init_lora_weights, recipe.trainer.seed
    for name, shape in held.pieces.shapes().items():
        found = split_name(name)
        if found is not None and found[1] != MAGNITUDE:
            held.keep(name, fresh_matrix(name, shape, seed, as_no_change=no_change))
    if no_change:
        network, frames = held.network, max(2, held.pieces.mesh.layout.frame_pieces)
        with without_adapters(network):
            before = probe(network, frames)
        check_no_change(before, probe(network, frames), config)
    else:
        log.warning("model.config.init_lora_weights is false: adapters start as random changes")
    if origin.native is not None:
        held.fill_adapters(native_adapters(origin.native.model, "network"))
    elif file is not None:
        held.fill_adapters(file.adapter.weights)
        log.info(f"Adapters: {len(file.adapter.weights)} tensors from {file.path}")


def _told_base(origin: Origin, config: LoraConfig) -> Base | None:
    """The base that the state which is gone on from says it is on."""
    if origin.state is None:
        return None
    with SavedState(origin.state.path) as state:
        check_same_adapters(origin.state.path, state.info, config)
        return Base.from_json(state.info[named.BASE])


def _refuse_differences(mesh: ProcessMesh, what: str, own: str) -> None:
    """Raise CheckpointError where machines have other files under one name."""
    found = mesh.gather_things(own)
    for rank, theirs in enumerate(found):
        if theirs != found[0]:
            raise CheckpointError(
                f"the {what} is {theirs} for rank {rank} and {found[0]} for rank 0; give all "
                "machines the same files"
            )


# --- whole weights, one at a time ---


@contextmanager
def whole_weights(
    checkpoint: Checkpoint,
    recipe: Predict2Recipe,
    shapes: Mapping[str, Shape],
    *,
    average: bool,
    leave_adapters: bool = False,
) -> Iterator[tuple[Which, str, Named]]:
    """Open whole weights: of network or average, a line on them, and the tensors one by one.

    Errors: CheckpointError where names or shapes differ from those wanted, before any is read.
    """
    which: Which = "average" if average else "network"
    if checkpoint.kind == "seed":
        assert checkpoint.seed is not None
        yield which, str(checkpoint.path), _drawn(recipe, shapes, checkpoint.seed)
    elif checkpoint.kind == "state":
        with SavedState(checkpoint.path) as state:
            section = section_of(state, shapes, average=average)
            tensors = ((name, state.read(f"{section}/{name}")) for name in shapes)
            count = len(shapes)
            told = f"{count} of {count} tensors from {checkpoint.path}"
            yield which, f"{told} ({which}, iteration {state.iteration})", tensors
    else:
        with open_weights(checkpoint.path) as file:
            report = match_names(shapes, file, PREDICT2, which=which, leave_adapters=leave_adapters)
            yield which, str(report), stream_weights(file, report)


def _drawn(
    recipe: Predict2Recipe, shapes: Mapping[str, Shape], seed: int | None = None
) -> Iterator[tuple[str, Tensor]]:
    family = network_config(recipe).family
    seed = recipe.trainer.seed if seed is None else seed
    return ((name, fresh_weight(name, shape, family, seed)) for name, shape in shapes.items())

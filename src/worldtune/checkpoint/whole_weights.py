"""Whole weights by the network's names, whether they lie in a file or in a run's state.

    with open_whole(path) as whole:
        whole.read("blocks.0.mlp.layer1.weight")

Names and shapes are held against those of the network that they make up before any data is
read: what is opened is whole.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worldtune.checkpoint import sections
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.manifest import FILE_NAME as MANIFEST
from worldtune.checkpoint.matching import Which, find_prefix
from worldtune.checkpoint.names import PREDICT2, Kind, NameTable
from worldtune.checkpoint.networks import describe_network, find_table
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.trees import NETWORK
from worldtune.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

SECTIONS: dict[Which, str] = {"network": sections.MASTERS, "average": sections.AVERAGE}


@dataclass(frozen=True)
class WholeWeights:
    """All weights of one network; `beside` are entries of its file that are rebuilt.

    Tensors lie in the file's pages: copy what is kept.
    """

    path: Path
    which: Which
    table: NameTable
    entries: Mapping[str, TensorEntry]
    beside: Mapping[str, "Tensor"]  # by their names in a published file, with `net.`
    read: Callable[[str], "Tensor"]
    forget: Callable[[str], None]

    def published_name(self, name: str) -> str:
        """A weight's name in a published file."""
        return f"{NETWORK}{self.table.to_file(name)}"

    def stream(self) -> Iterator[tuple[str, "Tensor"]]:
        """Every weight, one by one; each is gone with the next step."""
        for name in self.entries:
            yield name, self.read(name)
            self.forget(name)


@contextmanager
def open_whole(path: Path, which: Which = "network") -> Iterator[WholeWeights]:
    """Open a file of weights, or the folder of a training state.

    CheckpointError where there is nothing whole: a part is missing, or adapters lie there.
    """
    if path.is_dir() and (path / MANIFEST).exists():
        with SavedState(path) as state:
            yield _checked(_of_state(path, state, which))
        return
    with open_weights(path) as file:
        yield _checked(_of_file(file, which))


def _of_state(path: Path, state: SavedState, which: Which) -> WholeWeights:
    if sections.ADAPTER in state.info:
        raise CheckpointError(
            f"{path} is the state of a LoRA run: it holds adapters without their base. Expected "
            "whole weights."
        )
    begin = f"{SECTIONS[which]}/"
    entries = {
        key.removeprefix(begin): TensorEntry(tuple(row.shape), row.dtype)
        for key, row in state.tensors.items()
        if key.startswith(begin)
    }
    if not entries:
        raise CheckpointError(f"{path} keeps no {which}.")
    return WholeWeights(
        path=path,
        which=which,
        table=PREDICT2,
        entries=entries,
        beside={},
        read=lambda name: state.read(begin + name),
        forget=lambda name: None,
    )


def _of_file(file: WeightsFile, which: Which) -> WholeWeights:
    prefix = find_prefix(file, which)
    inside = [name for name in file.entries if name.startswith(prefix)]
    table = find_table(name.removeprefix(prefix) for name in inside)
    if table is None:
        raise CheckpointError(f"{file.path} holds no network of a known family.")
    names: dict[str, str] = {}
    beside: dict[str, Tensor] = {}
    for name in inside:
        bare = name.removeprefix(prefix)
        module = table.to_module(bare)
        if table.kind(bare) is Kind.REBUILT:
            beside[f"{NETWORK}{bare}"] = file.read(name).clone()
        elif module is not None:
            names[module] = name
    return WholeWeights(
        path=file.path,
        which=which,
        table=table,
        entries={module: file.entries[name] for module, name in names.items()},
        beside=beside,
        read=lambda module: file.read(names[module]),
        forget=lambda module: file.forget(names[module]),
    )


def _checked(whole: WholeWeights) -> WholeWeights:
    """Raise CheckpointError where the weights are not all of one network."""
    named = {whole.table.to_file(name) or name: entry for name, entry in whole.entries.items()}
    found = describe_network("", named)
    if found is None:
        raise CheckpointError(f"{whole.path} holds no whole network.")
    if found.adapter_rank:
        raise CheckpointError(
            f"{whole.path} holds adapters beside their base. Take them out with `worldtune lora "
            "export --to worldtune`; the base is the file that the run was started on."
        )
    if not found.complete:
        lines = "\n  ".join(found.lines()[2:])
        raise CheckpointError(f"{whole.path} is not whole:\n  {lines}")
    return whole

"""Loading weights into a network: strictly, one tensor at a time.

    with open_weights(path) as file:
        report = load_weights(network, file, PREDICT2, dtype=torch.bfloat16)

Names and shapes are all checked before the first byte is read. Memory beyond the network
itself is one tensor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from worldtune.checkpoint.matching import LoadReport, Which, match_names
from worldtune.checkpoint.names import Kind, NameTable
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.errors import CheckpointError

# Parts that wrappers put into module paths and leave out of the names of a state dict.
WRAPPER_PARTS = ("_checkpoint_wrapped_module", "_orig_mod")


@dataclass(frozen=True)
class _Slot:
    """A parameter or buffer and the module that owns it."""

    owner: nn.Module
    leaf: str

    @property
    def tensor(self) -> Tensor:
        return getattr(self.owner, self.leaf)


def load_weights(
    network: nn.Module,
    file: WeightsFile | str | Path,
    table: NameTable,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str = "cpu",
    which: Which = "network",
    prefix: str | None = None,
    leave_adapters: bool = False,
    verify: bool = True,
) -> LoadReport:
    """Fill a network from a file and report n of n tensors.

    A tensor on the meta device is replaced by one on `device`, in `dtype` (None: the
    file's); any other keeps its place and dtype, which must then be `dtype` (None: must be
    the file's). Floating point is cast to `dtype`, whole numbers never are. The keywords
    `which`, `prefix` and `leave_adapters` are those of `match_names`.

    CheckpointError where names or shapes differ (before anything is changed), where a
    dtype would change unasked, or where the data is damaged.
    """
    if not isinstance(file, WeightsFile):
        with open_weights(file) as opened:
            return load_weights(
                network,
                opened,
                table,
                dtype=dtype,
                device=device,
                which=which,
                prefix=prefix,
                leave_adapters=leave_adapters,
                verify=verify,
            )
    slots = network_slots(network)
    report = match_names(
        {name: tuple(slot.tensor.shape) for name, slot in slots.items()},
        file,
        table,
        which=which,
        prefix=prefix,
        leave_adapters=leave_adapters,
    )
    targets = {
        name: _target_dtype(name, slots[name], report, file, dtype) for name in report.sources
    }
    with torch.no_grad():
        for name, tensor in stream_weights(file, report, verify=verify):
            _fill(slots[name], tensor, targets[name], torch.device(device))
    return report


def stream_weights(
    file: WeightsFile, report: LoadReport, *, verify: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """Give (name in the network, tensor) one by one, in the order of the file.

    Each tensor lies in the file's pages and is gone with the next step: copy what is kept.
    """
    wanted = {source: name for name, source in report.sources.items()}
    for source in file.entries:
        if source in wanted:
            yield wanted[source], file.read(source, verify=verify)
            file.forget(source)


def read_beside(file: WeightsFile, table: NameTable) -> dict[str, Tensor]:
    """Copies of the entries that lie beside the network: the objective's, by name."""
    names = [name for name in file.entries if table.kind(name) is Kind.BESIDE]
    return {name: file.read(name).clone() for name in names}


def network_slots(network: nn.Module) -> dict[str, _Slot]:
    """Every parameter and saved buffer by its name in the state dict."""
    slots: dict[str, _Slot] = {}
    for path, module in network.named_modules():
        parts = [part for part in path.split(".") if part and part not in WRAPPER_PARTS]
        own = [name for name, value in module._parameters.items() if value is not None]
        own += [
            name
            for name, value in module._buffers.items()
            if value is not None and name not in module._non_persistent_buffers_set
        ]
        slots |= {".".join([*parts, leaf]): _Slot(module, leaf) for leaf in own}
    return slots


def _target_dtype(
    name: str, slot: _Slot, report: LoadReport, file: WeightsFile, dtype: torch.dtype | None
) -> torch.dtype:
    """The dtype a tensor will have; CheckpointError where that is not what was asked for."""
    held: torch.dtype = getattr(torch, file.entries[report.sources[name]].dtype)
    ours = slot.tensor.dtype
    target = dtype if dtype is not None and held.is_floating_point else held
    if not slot.tensor.is_meta and ours != target:
        raise CheckpointError(
            f"{report.path}: {name} is {_name(held)} in the file and {_name(ours)} in the "
            f"network, and {_name(target)} was asked for. Build the network in "
            f"{_name(target)}, or ask for {_name(ours)}."
        )
    return target


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _fill(slot: _Slot, tensor: Tensor, dtype: torch.dtype, device: torch.device) -> None:
    old = slot.tensor
    if not old.is_meta:
        old.copy_(tensor)
        return
    new = torch.empty(tensor.shape, dtype=dtype, device=device)
    new.copy_(tensor)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(slot.owner, slot.leaf, new)

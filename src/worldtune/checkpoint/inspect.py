"""Saying what a file or folder is, without reading its data and without torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from worldtune.checkpoint.adapter_forms import find_form
from worldtune.checkpoint.adapter_notes import is_own
from worldtune.checkpoint.description import Description, NetworkDescription
from worldtune.checkpoint.disk import gib
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.inspect_adapters import describe_adapter, tell_foreign
from worldtune.checkpoint.layout import (
    ADAPTER_FILE,
    ADAPTERS,
    NATIVE_FILE,
    NATIVE_KINDS,
    NATIVE_POINTER,
    PART_FILE,
    STATES,
)
from worldtune.checkpoint.manifest import FILE_NAME as MANIFEST
from worldtune.checkpoint.names import Kind
from worldtune.checkpoint.networks import (
    count_dtypes,
    describe_network,
    find_table,
    split_roles,
)
from worldtune.checkpoint.published import weights_not_found
from worldtune.checkpoint.reader import WeightsFile, open_weights
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.state_folder import POINTER, find_latest, list_states
from worldtune.errors import CheckpointError

WEIGHTS = ("*.pt", "*.pth", "*.safetensors")
BESIDE = {
    Kind.BESIDE: "of the objective (log-variance)",
    Kind.SKIPPED: "left by a kernel library, no weights",
    Kind.REBUILT: "made anew when the network is built",
    Kind.WEIGHT: "weights of no whole network",
    Kind.UNKNOWN: "of unknown names",
}
# Models of others that lie beside the networks: a name's begin, and what it tells.
OTHERS = {
    "transformer_blocks.": "diffusers transformer",
    "encoder.down_blocks.": "diffusers video autoencoder",
    "encoder.downsamples.": "video tokenizer (Wan 2.1)",
    "encoder.block.": "text encoder (T5)",
    "text_model.encoder.": "text encoder (CLIP)",
}


def describe(path: str | Path, *, verify: bool = False) -> Description:
    """Say what a file of weights, a run or any folder of either is.

    With verify all data is read and held against the checksums that there are.
    CheckpointError where a file is not there, damaged or holds no weights.
    """
    path = Path(path)
    if not path.exists():
        raise weights_not_found(path)
    if path.is_dir():
        return _describe_folder(path, verify)
    return _describe_file(path, verify)


# --- one file ---


def _describe_file(path: Path, verify: bool) -> Description:
    with open_weights(path) as file:
        if verify:
            file.verify()
        if is_own(file.metadata):
            return describe_adapter(file)
        networks, beside = _networks(file)
        kind, notes = _kind(file, networks)
        if verify:
            notes = [*notes, "all data read; it fits the file's checksums, where it keeps any"]
        return Description(
            path=file.path,
            kind=kind,
            nbytes=_size(file.path) if file.path == path else file.nbytes,
            container=file.kind.value,
            iteration=_iteration(file),
            part=_part(path, networks),
            networks=networks,
            beside=beside,
            notes=tuple(notes),
        )


def _networks(file: WeightsFile) -> tuple[tuple[NetworkDescription, ...], dict[str, int]]:
    """The networks of a file, and how many entries are none of theirs, by what they are."""
    networks: list[NetworkDescription] = []
    beside: dict[str, int] = {}
    for prefix, entries in split_roles(file.entries).items():
        network = describe_network(prefix, entries)
        if network is not None:
            networks.append(network)
        table = find_table(entries)
        for kind in map(table.kind, entries) if table is not None else ():
            if kind is not Kind.WEIGHT or network is None:
                beside[BESIDE[kind]] = beside.get(BESIDE[kind], 0) + 1
    left = sum(name.endswith("_extra_state") for name in file.others)
    if left:
        beside[BESIDE[Kind.SKIPPED]] = beside.get(BESIDE[Kind.SKIPPED], 0) + left
    return tuple(networks), beside


def _kind(file: WeightsFile, networks: tuple[NetworkDescription, ...]) -> tuple[str, list[str]]:
    """What a file is in a few words, and what was seen where that is unknown."""
    if networks:
        return _network_kind(networks), []
    names = list(file.entries)
    for begin, what in OTHERS.items():
        if any(name.startswith(begin) for name in names):
            return what, [_seen(file.entries)]
    keys = set(file.tree) if isinstance(file.tree, dict) else set()
    if {"state", "param_groups"} <= keys:
        return "optimizer state of the publishers' trainer", [_seen(file.entries)]
    if "base_lrs" in keys:
        return "schedule of the publishers' trainer", []
    if "grad_scaler" in keys:
        return "trainer's marker of an iteration", []
    form = find_form(file.entries)
    if form is not None:
        return f"adapters in {form.name}'s names", [tell_foreign(file, form)]
    if names and all("lora_" in name for name in names):
        return "adapters without their network", [_seen(file.entries)]
    return "weights of an unknown network", [_seen(file.entries)]


def _network_kind(networks: tuple[NetworkDescription, ...]) -> str:
    roles = {network.role for network in networks}
    branch = "control branch" if "control branch" in networks[0].title else "network"
    if roles == {"average"}:
        return f"the average of a {branch}"
    beside = [role for role in ("average", "frozen base") if role in roles]
    return f"{branch} and its {' and '.join(beside)}" if beside else branch


def _seen(entries: Mapping[str, TensorEntry]) -> str:
    """What names and dtypes there are, the most frequent first."""
    if not entries:
        return "no tensors in it"
    begins: dict[str, int] = {}
    for name in entries:
        begin = name.replace("/", ".").split(".")[0]
        begins[begin] = begins.get(begin, 0) + 1
    order = sorted(begins.items(), key=lambda row: -row[1])
    names = ", ".join(f"{begin}.* ({count})" for begin, count in order[:6])
    more = f" and {len(order) - 6} more" if len(order) > 6 else ""
    dtypes = ", ".join(
        f"{count} {dtype}" for dtype, count in count_dtypes(entries.values()).items()
    )
    return f"{len(entries)} tensors ({dtypes}), names {names}{more}"


def _iteration(file: WeightsFile) -> int | None:
    for key in ("iteration", "trained_data_record/iteration", "last_epoch"):
        value = file.others.get(key)
        if isinstance(value, int):
            return value
    match = NATIVE_FILE.fullmatch(file.path.name)
    return int(match["iteration"]) if match else None


def _part(path: Path, networks: tuple[NetworkDescription, ...]) -> tuple[int, int] | None:
    """The number in the name, and the count that the shapes tell, else the files beside it."""
    match = PART_FILE.fullmatch(path.name)
    if match is None:
        return None
    pattern = f"{match['stem']}_model_mp_*.pt"
    told = max((network.parts for network in networks), default=1)
    count = told if told > 1 else len(list(path.parent.glob(pattern)))
    return int(match["part"]), count


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


# --- folders ---


def _describe_folder(path: Path, verify: bool) -> Description:
    if (path / MANIFEST).exists():
        return _describe_state(path, verify)
    if (path / POINTER).exists() or list_states(path):
        return _describe_states(path, verify)
    if (path / "checkpoints").is_dir():
        below = _describe_folder(path / "checkpoints", verify)
        return Description(path, "run", _size(path), inside=(below,))
    if (path / STATES).is_dir() or (path / NATIVE_KINDS[0]).is_dir():
        return _describe_checkpoints(path, verify)
    parts = sorted(file for file in path.glob("*_model_mp_*.pt"))
    files = sorted(file for pattern in WEIGHTS for file in path.glob(pattern))
    if parts:
        return _describe_parts(path, parts, verify)
    if len(files) > 1 and not list(path.glob("*.index.json")):
        inside = tuple(_describe_or_tell(file, verify) for file in files)
        return Description(
            path, f"folder of {len(files)} files of weights", _size(path), inside=inside
        )
    return _describe_file(path, verify)


def _describe_or_tell(path: Path, verify: bool) -> Description:
    """Describe one of several; what is wrong with it does not hide the others."""
    try:
        return _describe_file(path, verify)
    except CheckpointError as fault:
        return Description(path, "not read", _size(path), notes=(str(fault),))


def _describe_state(path: Path, verify: bool) -> Description:
    with SavedState(path) as state:
        if verify:
            state.verify()
        sections: dict[str, list[TensorEntry]] = {}
        for key, row in state.tensors.items():
            entry = TensorEntry(tuple(row.shape), row.dtype)
            sections.setdefault(key.split("/", 1)[0], []).append(entry)
        shards = len(state.manifest.shards)
        notes = [f"{shards} shard{'s' * (shards != 1)}, written by {state.manifest.written_by}"]
        notes += [_told_section(name, entries) for name, entries in sections.items()]
        notes.append(f"beside the tensors: {', '.join(state.info) or 'nothing'}")
        notes.append(
            "whole: all data read and verified" if verify else "sizes and headers are whole"
        )
        return Description(
            path, "training state", _size(path), iteration=state.iteration, notes=tuple(notes)
        )


def _told_section(name: str, entries: Iterable[TensorEntry]) -> str:
    entries = list(entries)
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in count_dtypes(entries).items())
    return f"{name}: {dtypes}, {gib(sum(entry.nbytes for entry in entries))}"


def _describe_states(path: Path, verify: bool) -> Description:
    latest = find_latest(path, verify=verify)
    names = [state.name for state in list_states(path)]
    notes = [f"{len(names)} states: {', '.join(names)}", *latest.warnings]
    inside = (_describe_state(latest.state.path, False),) if latest.state else ()
    iteration = latest.state.iteration if latest.state else None
    return Description(
        path,
        "training states of a run",
        _size(path),
        iteration=iteration,
        notes=tuple(notes),
        inside=inside,
    )


def _describe_checkpoints(path: Path, verify: bool) -> Description:
    """A run's `checkpoints/`: own states, published files, and which a resume takes."""
    inside: list[Description] = []
    notes: list[str] = []
    if (path / STATES).is_dir():
        inside.append(_describe_states(path / STATES, verify))
    files = sorted((path / NATIVE_KINDS[0]).glob("iter_*.pt"))
    if files:
        notes.append(f"published files: {', '.join(file.stem for file in files)}")
        inside.append(_describe_or_tell(files[-1], verify))
    adapters = sorted(f for f in (path / ADAPTERS).glob("iter_*") if ADAPTER_FILE.match(f.name))
    if adapters:
        notes.append(f"adapters: {', '.join(file.stem for file in adapters)}")
        inside.append(_describe_or_tell(adapters[-1], verify))
    pointer = path / NATIVE_POINTER
    if pointer.exists():
        notes.append(f"{NATIVE_POINTER}: {pointer.read_text(errors='replace').strip()[:60]}")
    return Description(
        path, "checkpoints of a run", _size(path), notes=tuple(notes), inside=tuple(inside)
    )


def _describe_parts(path: Path, parts: list[Path], verify: bool) -> Description:
    """Tensor-parallel parts: the first of each set described, and the numbers that are there."""
    sets: dict[str, list[int]] = {}
    for file in parts:
        match = PART_FILE.fullmatch(file.name)
        if match is not None:
            sets.setdefault(match["stem"], []).append(int(match["part"]))
    inside, notes = [], []
    for stem, numbers in sets.items():
        first = path / f"{stem}_model_mp_{min(numbers)}.pt"
        described = _describe_or_tell(first, verify)
        count = described.part[1] if described.part else len(numbers)
        absent = sorted(set(range(count)) - set(numbers))
        told = f"{len(numbers)} of {count} parts"
        notes.append(
            f"{stem}: {told}" + (f", missing {', '.join(map(str, absent))}" if absent else "")
        )
        inside.append(described)
    return Description(
        path, "tensor-parallel parts", _size(path), notes=tuple(notes), inside=tuple(inside)
    )

"""Telling which networks a list of names and shapes holds, and whether they are whole."""

from collections.abc import Iterable, Mapping

from worldtune.checkpoint.description import NetworkDescription
from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.names import TABLES, Kind, NameTable
from worldtune.checkpoint.peft_names import from_peft
from worldtune.checkpoint.shapes import Sizes, count_weights, network_shapes, read_sizes
from worldtune.models.config import TransformerConfig
from worldtune.models.lora_config import DOWN, is_adapter, split_name

# From the longest prefix: `base_model.net.` before `net.` before none.
ROLES = {
    "base_model.net.": "frozen base",
    "net_ema.": "average",
    "net.": "network",
    "": "network",
}
# Family, width and blocks of the published sizes.
SIZE_NAMES = {
    ("predict2", 2048, 28): "2B",
    ("predict2", 5120, 36): "14B",
    ("transfer1", 4096, 28): "7B",
}


def split_roles(entries: Mapping[str, TensorEntry]) -> dict[str, dict[str, TensorEntry]]:
    """Entries by prefix, without it. What has no prefix is a network's own only by itself."""
    groups: dict[str, dict[str, TensorEntry]] = {}
    for name, entry in entries.items():
        prefix = next(prefix for prefix in ROLES if name.startswith(prefix))
        groups.setdefault(prefix, {})[name.removeprefix(prefix)] = entry
    return groups


def find_table(names: Iterable[str]) -> NameTable | None:
    """The family to which most of the names belong; None where most belong to none."""
    names = list(names)
    counts = {
        table.family: sum(table.kind(name) is not Kind.UNKNOWN for name in names)
        for table in TABLES.values()
    }
    family = max(counts, key=counts.__getitem__)
    return TABLES[family] if counts[family] * 2 > len(names) else None


def describe_network(prefix: str, entries: Mapping[str, TensorEntry]) -> NetworkDescription | None:
    """Describe the network that names without prefix make up; None where they make none."""
    table = find_table(entries)
    if table is None:
        return None
    weights: dict[str, TensorEntry] = {}
    adapters: dict[str, TensorEntry] = {}
    extra: list[str] = []
    for name, entry in entries.items():
        module = table.to_module(name)
        if module is not None:
            module = from_peft(module)
            where = adapters if is_adapter(module) else weights
            where[module] = entry
        elif table.kind(name) is Kind.UNKNOWN:
            extra.append(prefix + name)
    sizes = read_sizes({name: entry.shape for name, entry in weights.items()}, table.family)
    if sizes is None:
        return None
    expected = network_shapes(sizes)
    missing = [name for name in expected if name not in weights]
    extra += [prefix + (table.to_file(name) or name) for name in weights if name not in expected]
    shared = [name for name in expected if name in weights]
    return NetworkDescription(
        role=ROLES[prefix],
        family=table.family,
        title=_title(sizes),
        parameters=count_weights(sizes),
        tensors=len(shared),
        expected=len(expected),
        dtypes=count_dtypes([*weights.values(), *adapters.values()]),
        sizes=_told_sizes(sizes),
        parts=sizes.parts,
        adapter_rank=adapter_ranks(adapters),
        adapter_targets=adapter_targets(adapters),
        missing=tuple(prefix + (table.to_file(name) or name) for name in missing),
        extra=tuple(extra),
        reshaped=tuple(
            f"{prefix}{table.to_file(name)} is {list(weights[name].shape)}, not "
            f"{list(expected[name])}"
            for name in shared
            if weights[name].shape != expected[name]
        ),
    )


def count_dtypes(entries: Iterable[TensorEntry]) -> dict[str, int]:
    """How many entries have each dtype, the most frequent first."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.dtype] = counts.get(entry.dtype, 0) + 1
    return dict(sorted(counts.items(), key=lambda row: -row[1]))


def _title(sizes: Sizes) -> str:
    """What people call the network."""
    config = sizes.config
    name = "Predict2 Video2World" if config.family == "predict2" else "Transfer1"
    if config.family == "transfer1":
        if config.view_channels:
            name += " Single2MultiView"
        elif not config.condition_mask:
            name += " Sample-AV, one camera"
    if sizes.is_control_branch:
        return f"{name}: control branch of {config.num_blocks} blocks"
    size = SIZE_NAMES.get((config.family, config.model_channels, config.num_blocks))
    base = " base" if config.family == "transfer1" else ""
    return f"{name}{base}, {size or _own_size(config)}"


def _own_size(config: TransformerConfig) -> str:
    """Name no published size; one of the same width shows that blocks may be lost."""
    for family, width, blocks in SIZE_NAMES:
        if (family, width) == (config.family, config.model_channels):
            return f"a size of its own (the published one of this width has {blocks} blocks)"
    return "a size of its own"


def _told_sizes(sizes: Sizes) -> dict[str, int]:
    config = sizes.config
    told = {
        "width": config.model_channels,
        "blocks": config.num_blocks,
        "heads": config.num_heads,
        "MLP": config.mlp_channels,
        "text": config.text_input_channels or config.text_channels,
        "input channels": config.input_channels,
    }
    if sizes.hint_channels is not None:
        told["hint channels"] = sizes.hint_channels
    return told


def adapter_ranks(adapters: Mapping[str, TensorEntry]) -> tuple[int, ...]:
    """The ranks of adapters, by the shapes of their weights."""
    parts = {name: split_name(name) for name in adapters}
    return tuple(
        sorted({adapters[n].shape[0] for n, found in parts.items() if found and found[1] == DOWN})
    )


def adapter_targets(adapters: Iterable[str]) -> tuple[str, ...]:
    """Layers with an adapter, as the setting lora_target_modules spells them."""
    layers = [found[0] for found in map(split_name, adapters) if found]
    ends = {
        layer.split(".")[-1] if "mlp." not in layer else layer[layer.index("mlp.") :]
        for layer in layers
    }
    order = ("q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2")
    return tuple(sorted(ends, key=lambda end: (order.index(end) if end in order else 99, end)))

"""The names of published files, and what each entry is to the network.

A table translates both ways between the names in a file (with the prefix `net.` taken
off) and those of the modules in `worldtune.models`. Beside the renames it knows the
entries that hold no weights of the network: some are rebuilt when reading and put back
when writing, some belong to the objective, some are left over and skipped. A name that
fits no row is UNKNOWN, never passed through, so that another family's file cannot load
by accident.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING

from worldtune.models.config import TransformerConfig

# torch is imported only to rebuild entries, so that a file is described without it.
if TYPE_CHECKING:
    import torch

Row = tuple[str, str]


class Kind(Enum):
    """What an entry of a file is to the network."""

    WEIGHT = auto()  # one of the network's own
    REBUILT = auto()  # made anew when reading, put back when writing
    BESIDE = auto()  # lies beside the network in the file: the objective's
    SKIPPED = auto()  # holds nothing: never read, never required, never written
    UNKNOWN = auto()  # not a name of this family


@dataclass(frozen=True)
class NameTable:
    """One family's names in files, against the names of the modules.

    `rows` are pairs (module in the file, module in the network); `{i}` stands for a
    number. What follows a module's name (`weight`, `bias`, `lora_A.default.weight`) is the
    same on both sides. No row is the beginning of another, so at most one fits a name.
    """

    family: str
    rows: tuple[Row, ...]
    rebuild: Callable[[TransformerConfig], dict[str, "torch.Tensor"]]
    rebuilt_names: frozenset[str]
    beside_names: frozenset[str] = frozenset()

    def kind(self, file_name: str) -> Kind:
        """What the entry of this name is. `logvar.*` never has the prefix `net.`."""
        if _is_left_over(file_name):
            return Kind.SKIPPED
        if file_name in self.rebuilt_names:
            return Kind.REBUILT
        if file_name in self.beside_names:
            return Kind.BESIDE
        return Kind.UNKNOWN if self.to_module(file_name) is None else Kind.WEIGHT

    def to_module(self, file_name: str) -> str | None:
        """The network's name for a weight in the file; None where it has none."""
        return _translate(file_name, self.rows)

    def to_file(self, module_name: str) -> str | None:
        """The file's name for a weight of the network; None where it has none."""
        return _translate(module_name, tuple((ours, theirs) for theirs, ours in self.rows))

    def rebuilt(self, config: TransformerConfig) -> dict[str, "torch.Tensor"]:
        """The entries to put back into a file of this network, by their names in the file."""
        return self.rebuild(config)


def _is_left_over(name: str) -> bool:
    # Written by a library of fused kernels; empty.
    return name.endswith("_extra_state")


def _translate(name: str, rows: tuple[Row, ...]) -> str | None:
    if _is_left_over(name):
        return None
    for before, after in rows:
        match = _pattern(before).fullmatch(name)
        if match:
            return after.replace("{i}", match["i"] or "") + match["leaf"]
    return None


@cache
def _pattern(module: str) -> re.Pattern[str]:
    """A module's name as a pattern; 07 is not a number, or two names would become one."""
    number, stem = r"(?P<i>0|[1-9]\d*)", re.escape(module)
    stem = stem.replace(re.escape("{i}"), number) if "{i}" in module else stem + "(?P<i>)"
    return re.compile(stem + r"(?P<leaf>(\.\w+)+)", re.ASCII)


_MODULATIONS = ("self_attn", "cross_attn", "mlp")
_ATTENTIONS = _MODULATIONS[:2]

PREDICT2_MODULES = (
    "x_embedder.proj.1",
    "extra_pos_embedder",
    "t_embedder.1.linear_1",
    "t_embedder.1.linear_2",
    "t_embedding_norm",
    "crossattn_proj.0",
    *(f"blocks.{{i}}.adaln_modulation_{part}.{n}" for part in _MODULATIONS for n in (1, 2)),
    *(
        f"blocks.{{i}}.{part}.{module}"
        for part in _ATTENTIONS
        for module in ("q_proj", "k_proj", "v_proj", "output_proj", "q_norm", "k_norm")
    ),
    "blocks.{i}.mlp.layer1",
    "blocks.{i}.mlp.layer2",
    "final_layer.adaln_modulation.1",
    "final_layer.adaln_modulation.2",
    "final_layer.linear",
)

_TRANSFER1_ATTENTION = {
    "to_q.0": "q_proj",
    "to_k.0": "k_proj",
    "to_v.0": "v_proj",
    "to_out.0": "output_proj",
    "to_q.1": "q_norm",
    "to_k.1": "k_norm",
}

TRANSFER1_ROWS: tuple[Row, ...] = (
    ("x_embedder.proj.1", "x_embedder.proj.1"),
    ("extra_pos_embedder", "extra_pos_embedder"),
    ("view_embeddings", "view_embeddings"),
    ("repeat_frame_embedding", "repeat_frame_embedding"),
    ("t_embedder.1.linear_1", "t_embedder.1.linear_1"),
    ("t_embedder.1.linear_2", "t_embedder.1.linear_2"),
    ("affline_norm", "t_embedding_norm"),  # the original's spelling
    *(
        (
            f"blocks.block{{i}}.blocks.{k}.adaLN_modulation.{n}",
            f"blocks.{{i}}.adaln_modulation_{part}.{n}",
        )
        for k, part in enumerate(_MODULATIONS)
        for n in (1, 2)
    ),
    *(
        (f"blocks.block{{i}}.blocks.{k}.block.attn.{theirs}", f"blocks.{{i}}.{part}.{ours}")
        for k, part in enumerate(_ATTENTIONS)
        for theirs, ours in _TRANSFER1_ATTENTION.items()
    ),
    ("blocks.block{i}.blocks.2.block.layer1", "blocks.{i}.mlp.layer1"),
    ("blocks.block{i}.blocks.2.block.layer2", "blocks.{i}.mlp.layer2"),
    ("final_layer.adaLN_modulation.1", "final_layer.adaln_modulation.1"),
    ("final_layer.adaLN_modulation.2", "final_layer.adaln_modulation.2"),
    ("final_layer.linear", "final_layer.linear"),
    ("x_embedder2.proj.1", "x_embedder2.proj.1"),
    ("input_hint_block.{i}", "input_hint_block.{i}"),
    ("zero_blocks.block{i}", "zero_blocks.{i}"),
)


def _position_numbers(config: TransformerConfig) -> dict[str, "torch.Tensor"]:
    """0, 1, 2, ... up to the longest axis of the token grid."""
    import torch

    return {"pos_embedder.seq": torch.arange(max(config.max_grid), dtype=torch.float32)}


def _predict2_entries(config: TransformerConfig) -> dict[str, "torch.Tensor"]:
    """Position numbers and exponents, and counters that start from 0."""
    import torch

    from worldtune.models.rope import split_head_dim

    time, rows, _ = split_head_dim(config.head_dim)
    counters = ("accum_video_sample_counter", "accum_image_sample_counter", "accum_iteration")
    return {
        **_position_numbers(config),
        "pos_embedder.dim_spatial_range": torch.arange(0, rows, 2, dtype=torch.float32) / rows,
        "pos_embedder.dim_temporal_range": torch.arange(0, time, 2, dtype=torch.float32) / time,
        **{name: torch.zeros((), dtype=torch.int64) for name in counters},
        "accum_train_in_hours": torch.zeros(()),
    }


PREDICT2 = NameTable(
    family="predict2",
    rows=tuple((module, module) for module in PREDICT2_MODULES),
    rebuild=_predict2_entries,
    rebuilt_names=frozenset(
        {
            "pos_embedder.seq",
            "pos_embedder.dim_spatial_range",
            "pos_embedder.dim_temporal_range",
            "accum_video_sample_counter",
            "accum_image_sample_counter",
            "accum_iteration",
            "accum_train_in_hours",
        }
    ),
)

TRANSFER1 = NameTable(
    family="transfer1",
    rows=TRANSFER1_ROWS,
    rebuild=_position_numbers,
    rebuilt_names=frozenset({"pos_embedder.seq"}),
    beside_names=frozenset({"logvar.0.freqs", "logvar.0.phases", "logvar.1.weight"}),
)

TABLES = {table.family: table for table in (PREDICT2, TRANSFER1)}

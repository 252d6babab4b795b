"""Names in published files against names of modules, both ways."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldtune.checkpoint.names import PREDICT2, TABLES, TRANSFER1, Kind, NameTable
from worldtune.models.config import TransformerConfig

NUMBER = st.integers(0, 40).map(str)
LEAF = st.sampled_from(["weight", "bias", "lora_A.default.weight", "base_layer.weight"])
TABLE = st.sampled_from(list(TABLES.values()))


@st.composite
def table_and_file_name(draw: st.DrawFn) -> tuple[NameTable, str]:
    table = draw(TABLE)
    theirs, _ = draw(st.sampled_from(table.rows))
    return table, theirs.replace("{i}", draw(NUMBER)) + "." + draw(LEAF)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[NameTable, str]:
    """A name with a few characters of other names put in, taken out or doubled."""
    table, name = draw(table_and_file_name())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(name)))
        more = draw(st.text("block0.1_", max_size=3))
        name = name[:at] + more + name[at + draw(st.integers(0, 2)) :]
    return table, name


@given(table_and_file_name())
def test_every_name_in_a_file_comes_back_after_there_and_back(case: tuple[NameTable, str]):
    table, name = case
    module = table.to_module(name)

    assert module is not None
    assert table.to_file(module) == name
    assert table.kind(name) is Kind.WEIGHT


@given(table_and_file_name())
def test_every_module_name_comes_back_after_there_and_back(case: tuple[NameTable, str]):
    table, name = case
    module = table.to_module(name) or ""

    assert table.to_module(table.to_file(module) or "") == module


@given(damaged())
def test_a_name_is_unknown_or_comes_back_unchanged(case: tuple[NameTable, str]):
    table, name = case
    module = table.to_module(name)

    assert module is None or table.to_file(module) == name


@given(damaged(), damaged())
def test_two_names_never_become_one(one: tuple[NameTable, str], other: tuple[NameTable, str]):
    table = one[0]
    names = {one[1], other[1]}
    known = [table.to_module(name) for name in names if table.to_module(name)]

    assert len(set(known)) == len(known)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_no_row_is_the_beginning_of_another(table: NameTable):
    for side in zip(*table.rows, strict=True):
        assert len(set(side)) == len(side)
        assert not [(a, b) for a in side for b in side if b.startswith(a + ".")]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("affline_norm.weight", "t_embedding_norm.weight"),
        ("blocks.block7.blocks.0.adaLN_modulation.2.weight",
         "blocks.7.adaln_modulation_self_attn.2.weight"),
        ("blocks.block7.blocks.1.block.attn.to_q.0.weight", "blocks.7.cross_attn.q_proj.weight"),
        ("blocks.block7.blocks.0.block.attn.to_k.1.weight", "blocks.7.self_attn.k_norm.weight"),
        ("blocks.block27.blocks.2.block.layer2.weight", "blocks.27.mlp.layer2.weight"),
        ("blocks.block0.blocks.0.block.attn.to_out.0.lora_B.default.weight",
         "blocks.0.self_attn.output_proj.lora_B.default.weight"),
        ("zero_blocks.block2.bias", "zero_blocks.2.bias"),
        ("input_hint_block.14.bias", "input_hint_block.14.bias"),
        ("extra_pos_embedder.pos_emb_t", "extra_pos_embedder.pos_emb_t"),
        ("view_embeddings.weight", "view_embeddings.weight"),
    ],
)  # fmt: skip
def test_transfer1_names_become_predict2_names(theirs: str, ours: str):
    assert TRANSFER1.to_module(theirs) == ours
    assert TRANSFER1.to_file(ours) == theirs


@pytest.mark.parametrize(
    ("table", "name", "kind"),
    [
        (PREDICT2, "accum_iteration", Kind.REBUILT),
        (PREDICT2, "pos_embedder.dim_spatial_range", Kind.REBUILT),
        (PREDICT2, "logvar.1.weight", Kind.UNKNOWN),
        (PREDICT2, "affline_norm.weight", Kind.UNKNOWN),
        (PREDICT2, "blocks.0.self_attn.q_norm._extra_state", Kind.SKIPPED),
        (TRANSFER1, "pos_embedder.seq", Kind.REBUILT),
        (TRANSFER1, "pos_embedder.dim_spatial_range", Kind.UNKNOWN),
        (TRANSFER1, "logvar.0.freqs", Kind.BESIDE),
        (TRANSFER1, "t_embedding_norm.weight", Kind.UNKNOWN),
        (TRANSFER1, "blocks.block0.blocks.0.block.attn.to_q.1._extra_state", Kind.SKIPPED),
        (TRANSFER1, "blocks.block00.blocks.2.block.layer1.weight", Kind.UNKNOWN),
        (TRANSFER1, "x_embedder.proj.1", Kind.UNKNOWN),
    ],
)
def test_an_entry_is_of_its_kind(table: NameTable, name: str, kind: Kind):
    assert table.kind(name) is kind
    assert (table.to_module(name) is not None) == (kind is Kind.WEIGHT)


WIDE = TransformerConfig(model_channels=2048, num_blocks=1, num_heads=16)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_rebuilt_entries_are_the_named_ones(table: NameTable):
    assert set(table.rebuilt(WIDE)) == table.rebuilt_names


def test_position_numbers_reach_the_longest_axis_of_the_grid():
    entries = PREDICT2.rebuilt(WIDE)
    wider = PREDICT2.rebuilt(replace(WIDE, max_img_w=300))

    assert torch.equal(entries["pos_embedder.seq"], torch.arange(128.0))
    assert len(wider["pos_embedder.seq"]) == 150


def test_exponents_of_the_angles_cover_both_kinds_of_axis():
    entries = PREDICT2.rebuilt(WIDE)

    assert torch.equal(entries["pos_embedder.dim_spatial_range"], torch.arange(0, 42, 2) / 42)
    assert torch.equal(entries["pos_embedder.dim_temporal_range"], torch.arange(0, 44, 2) / 44)
    assert entries["accum_iteration"].dtype == torch.int64
    assert entries["accum_train_in_hours"].dtype == torch.float32

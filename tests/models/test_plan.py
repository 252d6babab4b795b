"""The plan by which a network divides."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.models.sizes import MULTI_VIEW, PREDICT2_2B, SINGLE_VIEW, TINY
from worldtune.models.build import build, build_branch
from worldtune.models.lora import add_lora
from worldtune.models.lora_config import LoraConfig
from worldtune.models.plan import PLAN, Cut
from worldtune.models.transformer import Trunk

# Per-rank weights of the published tensor-parallel files.
PER_RANK = {
    ("base", "single"): {1: 7_236_192_256, 2: 3_830_417_408, 4: 2_127_529_984, 8: 1_276_086_272},
    ("branch", "single"): {1: 891_645_728, 2: 526_741_280, 4: 344_289_056, 8: 253_062_944},
    ("base", "multi"): {1: 7_234_799_670, 2: 3_829_024_822, 4: 2_126_137_398, 8: 1_274_693_686},
    ("branch", "multi"): {1: 890_253_142, 2: 525_348_694, 4: 342_896_470, 8: 251_670_358},
}


def on_meta(part: str, views: str) -> Trunk:
    config = {"single": SINGLE_VIEW, "multi": MULTI_VIEW}[views]
    if part == "base":
        return build(config, device="meta")
    return build_branch(config, num_control_blocks=3, hint_channels=16, device="meta")


@pytest.mark.parametrize(("part", "views"), list(PER_RANK))
def test_a_rank_has_the_published_number_of_weights(part: str, views: str):
    network = on_meta(part, views)

    for ranks, expected in PER_RANK[part, views].items():
        held = [
            weight.numel() // (ranks if PLAN.cut_of(name) else 1)
            for name, weight in network.named_parameters()
        ]
        assert sum(held) == expected


def test_cut_weights_divide_by_eight():
    for name, weight in on_meta("base", "single").named_parameters():
        cut = PLAN.cut_of(name)
        assert cut is None or weight.shape[cut.value] % 8 == 0


def test_every_name_in_the_plan_is_a_module_of_every_block():
    network = build(PREDICT2_2B, device="meta")

    for unit in PLAN.other_units:
        assert isinstance(network.get_submodule(unit), nn.Module)
    for block in network.get_submodule(PLAN.block_list).children():
        names = (*(layer for layer, _ in PLAN.cuts), *PLAN.norms_of_heads, *PLAN.token_mixers)
        assert all(isinstance(block.get_submodule(name), nn.Module) for name in names)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("blocks.3.self_attn.q_proj.weight", Cut.COLUMN),
        ("blocks.3.cross_attn.output_proj.weight", Cut.ROW),
        ("blocks.3.mlp.layer1.lora_B.weight", Cut.COLUMN),
        ("blocks.3.mlp.layer1.lora_A.weight", None),
        ("blocks.3.mlp.layer2.lora_A.weight", Cut.ROW),
        ("blocks.3.mlp.layer2.lora_B.weight", None),
        ("blocks.3.mlp.layer1.base_layer.weight", Cut.COLUMN),
        ("blocks.3.mlp.layer1.lora_B.default.weight", Cut.COLUMN),
        ("blocks.3.mlp.layer1.lora_A.default.weight", None),
        ("blocks.3.mlp.layer2.lora_A.default.weight", Cut.ROW),
        ("blocks.3.mlp.layer2.lora_B.default.weight", None),
        ("blocks.3.self_attn.q_norm.weight", None),
        ("blocks.3.adaln_modulation_mlp.2.weight", None),
        ("zero_blocks.0.weight", None),
        ("x_embedder.proj.1.weight", None),
    ],
)
def test_a_weight_is_cut_as_its_layer(name: str, cut: Cut | None):
    assert PLAN.cut_of(name) is cut


@pytest.mark.parametrize("adapted", [False, True])
def test_two_halves_of_a_block_add_up_to_the_whole(adapted: bool):
    """Each half has its heads and its part of the MLP; the halves' results are summed."""
    network = build(replace(TINY, num_heads=4), seed=1)
    if adapted:
        config = LoraConfig(rank=2, alpha=6.0, targets=("q_proj", "v_proj", "output_proj"))
        add_lora(network, config, seed=2, as_no_change=False)
    attention = network.blocks[0].get_submodule("self_attn")
    x = torch.randn(1, 6, TINY.model_channels, generator=torch.Generator().manual_seed(1))
    weights = dict(attention.named_parameters())

    def half(rank: int) -> Tensor:
        parts = {}
        for name, weight in weights.items():
            cut = PLAN.cut_of(f"blocks.0.self_attn.{name}")
            parts[name] = weight if cut is None else weight.chunk(2, cut.value)[rank]
        return torch.func.functional_call(attention, parts, (x, x))

    torch.testing.assert_close(half(0) + half(1), attention(x, x))

"""Fresh weights, by family."""

import math
from dataclasses import replace

import pytest
import torch

from tests.models.randoms import inputs
from tests.models.sizes import MULTI_VIEW, TINY
from worldtune.models.build import build, build_branch
from worldtune.models.config import Family
from worldtune.models.control import ControlledTransformer
from worldtune.models.initialise import RULES, fresh_weight, initialise

WIDE = (600, 400)


def values(name: str, family: Family, shape: tuple[int, ...] = WIDE) -> torch.Tensor:
    return fresh_weight(name, shape, family, seed=3)


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("x_embedder.proj.1.weight", (600, 72), 72),
        ("t_embedder.1.linear_2.weight", WIDE, 400),
        ("blocks.1.cross_attn.k_proj.weight", WIDE, 400),
        ("blocks.1.mlp.layer2.weight", WIDE, 400),
        ("blocks.1.adaln_modulation_mlp.1.weight", WIDE, 400),
        ("final_layer.linear.weight", WIDE, 400),
    ],
)
def test_predict2_draws_normals_cut_off_at_three_deviations(name, shape, width):
    w = values(name, "predict2", shape)
    # Cutting a normal off at 3 narrows it to 0.98658 of its deviation.
    deviation = 0.98658 / math.sqrt(width)

    assert w.abs().max() <= 3 / math.sqrt(width)
    assert w.abs().max() > 2.9 / math.sqrt(width)
    assert w.std() == pytest.approx(deviation, rel=0.01)
    assert abs(w.mean()) < 4 * deviation / math.sqrt(w.numel())


@pytest.mark.parametrize(
    "name",
    [
        "x_embedder.proj.1.weight",
        "blocks.1.self_attn.q_proj.weight",
        "blocks.1.adaln_modulation_mlp.1.weight",
        "final_layer.adaln_modulation.2.weight",
        "final_layer.linear.weight",
        "x_embedder2.proj.1.weight",
        "input_hint_block.12.weight",
        "repeat_frame_embedding.weight",
    ],
)
def test_transfer1_draws_xavier_uniform(name: str):
    w = values(name, "transfer1")
    bound = math.sqrt(6 / sum(WIDE))

    assert 0.99 * bound < w.abs().max() <= bound
    assert w.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("t_embedder.1.linear_1.weight", 0.02),
        ("extra_pos_embedder.pos_emb_h", 0.02 * 0.98658),
        ("view_embeddings.weight", 1.0),
    ],
)
def test_transfer1_draws_times_tables_and_cameras_from_normals(name: str, deviation: float):
    assert values(name, "transfer1").std() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    ("family", "zero", "final"),
    [("predict2", True, True), ("transfer1", True, False)],
)
def test_the_last_modulation_layer_starts_at_zero(family: Family, zero: bool, final: bool):
    assert (not values("blocks.3.adaln_modulation_cross_attn.2.weight", family).any()) == zero
    assert (not values("final_layer.adaln_modulation.2.weight", family).any()) == final


@pytest.mark.parametrize("family", ["predict2", "transfer1"])
def test_norms_start_at_one_and_biases_at_zero(family: Family):
    for name in ("t_embedding_norm.weight", "blocks.0.self_attn.q_norm.weight"):
        assert torch.equal(values(name, family, (64,)), torch.ones(64))
    for name in ("zero_blocks.1.bias", "input_hint_block.4.bias", "crossattn_proj.0.bias"):
        assert not values(name, family, (64,)).any()


def test_a_weight_depends_on_its_name_and_the_seed_only():
    small = build(replace(TINY, num_blocks=1), seed=5)
    large = dict(build(TINY, seed=5).named_parameters())
    other = dict(build(TINY, seed=6).named_parameters())

    for name, weight in small.named_parameters():
        assert torch.equal(weight, large[name])
    name = "blocks.0.self_attn.q_proj.weight"
    assert not torch.equal(large[name], other[name])
    assert not torch.equal(large[name], large["blocks.0.self_attn.k_proj.weight"])


def test_drawing_weights_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build(TINY, seed=5)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_bf16_network_starts_from_the_rounded_float32_weights():
    exact = build(TINY, seed=5)
    rough = dict(build(TINY, seed=5, dtype=torch.bfloat16).named_parameters())

    for name, weight in exact.named_parameters():
        assert torch.equal(weight.to(torch.bfloat16), rough[name])


@pytest.mark.parametrize("family", ["predict2", "transfer1"])
def test_every_weight_of_every_network_has_a_rule(family: Family):
    config = replace(
        MULTI_VIEW,
        model_channels=48,
        num_heads=3,
        num_blocks=2,
        position_table="learned",
        text_input_channels=9,
        family=family,
    )
    branch = build_branch(config, num_control_blocks=1, hint_channels=16, device="meta")
    names = {name for name, _ in [*build(config, device="meta").named_parameters(),
                                  *branch.named_parameters()]}  # fmt: skip

    assert RULES.keys() == {"predict2", "transfer1"}
    for name in names:
        assert torch.isfinite(values(name, family, (4, 4))).all()


def test_without_a_seed_weights_that_were_not_loaded_show():
    network = build(TINY)

    assert all(weight.isnan().all() for weight in network.parameters())
    initialise(network, "predict2", 1)
    assert not any(weight.isnan().any() for weight in network.parameters())


@pytest.mark.parametrize("table", ["learned", "sincos"])
def test_a_fresh_branch_leaves_the_base_unchanged_in_every_bit(table: str):
    config = replace(TINY, position_table=table, family="transfer1", rope_fps_modulation=True)
    base = build(config, seed=1)
    branch = build_branch(config, num_control_blocks=1, hint_channels=6, seed=2)
    branch.copy_from_base(base)
    (latents, time, text), told = inputs(config)
    hint = torch.randn(2, 6, *latents.shape[2:], generator=torch.Generator().manual_seed(0))
    both = ControlledTransformer(base, branch)

    assert torch.equal(
        both(latents, time, text, hints=[hint], **told), base(latents, time, text, **told)
    )

"""Adapters on any network: what they add, what they cost, and which layers they find."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.models.randoms import inputs, randomise
from tests.models.sizes import PREDICT2_2B, PREDICT2_14B, TINY
from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.build import build, build_branch
from worldtune.models.control import ControlledTransformer
from worldtune.models.lora import Adapter, adapter_weights, add_lora, attach
from worldtune.models.lora_config import LoraConfig, is_adapter, read_targets
from worldtune.models.transformer import Transformer

TARGETS = read_targets("q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2")
PLAIN = LoraConfig(rank=3, alpha=3.0, targets=TARGETS)
KINDS = {
    "LoRA": PLAIN,
    "rsLoRA": replace(PLAIN, alpha=5.0, rslora=True),
    "DoRA": replace(PLAIN, alpha=5.0, dora=True),
}


def trained(network: nn.Module, seed: int = 7) -> dict[str, Tensor]:
    """Give every adapter random weights, as training would; magnitudes stay lengths."""
    draw = torch.Generator().manual_seed(seed)
    weights = adapter_weights(network)
    with torch.no_grad():
        for weight in weights.values():
            change = torch.randn(weight.shape, generator=draw)
            if weight.ndim == 1:
                weight.mul_(1 + 0.3 * change)
            else:
                weight.copy_(change * weight.shape[1] ** -0.5)
    return {name: weight.detach().clone() for name, weight in weights.items()}


def output(network: nn.Module) -> Tensor:
    three, told = inputs(TINY)
    return network(*three, **told)


def tiny() -> Transformer:
    return randomise(build(TINY))


# --- a fresh adapter changes nothing ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapters_change_no_bit_of_the_output(kind: str, dtype: torch.dtype):
    network = tiny().to(dtype)
    with torch.no_grad():
        before = output(network)
        add_lora(network, KINDS[kind], seed=0)
        after = output(network)

    assert torch.equal(before, after)


def test_the_layer_keeps_its_weight_and_its_name():
    network = tiny()
    before = dict(network.named_parameters())
    add_lora(network, PLAIN, seed=0)
    after = dict(network.named_parameters())

    assert {name for name in after if not is_adapter(name)} == before.keys()
    assert all(after[name] is weight for name, weight in before.items()), "a copy costs memory"
    assert [name for name, p in after.items() if p.requires_grad] == list(adapter_weights(network))


def test_adapters_are_float32_beside_a_bfloat16_base():
    network = tiny().bfloat16()
    add_lora(network, PLAIN, seed=0)

    assert {weight.dtype for weight in adapter_weights(network).values()} == {torch.float32}
    assert network.blocks[0].self_attn.q_proj.weight.dtype == torch.bfloat16


def test_fresh_adapters_are_those_of_their_seed_and_their_names():
    """A Kaiming-uniform with a = sqrt 5 is uniform within 1 / sqrt(inputs)."""
    drawn = []
    for seed in (0, 0, 1):
        network = build(replace(TINY, model_channels=96), seed=5)
        add_lora(network, PLAIN, seed=seed)
        drawn.append(adapter_weights(network))

    name = "blocks.1.mlp.layer2.lora_A.weight"
    assert all(torch.equal(drawn[0][n], drawn[1][n]) for n in drawn[0])
    assert not torch.equal(drawn[0][name], drawn[2][name])
    bound = 1 / math.sqrt(384)
    assert 0.98 * bound < drawn[0][name].abs().max() <= bound
    assert drawn[0][name].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not drawn[0]["blocks.1.mlp.layer2.lora_B.weight"].any()


def test_adapters_that_do_not_start_as_no_change_change_something():
    network = tiny()
    before = output(network)
    add_lora(network, PLAIN, seed=0, as_no_change=False)

    assert (output(network) - before).abs().max() > 1e-3


# --- what they compute ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_layer_computes_what_its_paper_says(kind: str):
    """In float64, for a layer with a bias as the control branch has."""
    config = KINDS[kind]
    network = nn.Sequential(nn.Linear(6, 4))
    torch.nn.init.normal_(network[0].weight)
    torch.nn.init.normal_(network[0].bias)
    add_lora(network, replace(config, targets=("0",)), seed=0)
    made = trained(network)
    x = torch.randn(5, 6)
    w, b = network[0].weight.double(), network[0].bias.double()
    down, up = made["0.lora_A.weight"].double(), made["0.lora_B.weight"].double()
    change = up @ down * config.alpha / (math.sqrt(3) if config.rslora else 3)
    whole = w + change
    if config.dora:
        length = whole.square().sum(1).sqrt()
        whole = whole * (made["0.lora_magnitude_vector.weight"].double() / length)[:, None]

    expected = x.double() @ whole.T + b
    torch.testing.assert_close(network(x).double(), expected, rtol=0, atol=1e-5)
    held = Adapter(replace(config, targets=("0",)), made).layers()["0"]
    merged = held.merged(network[0].weight, config.scale)
    torch.testing.assert_close(merged.double(), whole, rtol=0, atol=1e-6)


def test_doubling_alpha_and_halving_b_changes_nothing():
    first, second = tiny(), tiny()
    add_lora(first, PLAIN, seed=0)
    add_lora(second, replace(PLAIN, alpha=6.0), seed=0)
    for network in (first, second):
        trained(network)
    with torch.no_grad():
        for name, weight in adapter_weights(second).items():
            weight.mul_(0.5 if "lora_B" in name else 1.0)

    assert torch.equal(output(first), output(second))
    assert (output(first) - output(tiny())).abs().max() > 0.1


def test_only_adapters_get_a_gradient():
    network = tiny()
    add_lora(network, KINDS["DoRA"], seed=0)
    trained(network)
    output(network).square().sum().backward()

    for name, weight in network.named_parameters():
        assert (weight.grad is not None) == is_adapter(name), name
        assert weight.grad is None or weight.grad.any(), name


# --- sizes ---

COUNTS = {
    "2B": (PREDICT2_2B, {8: 11_468_800, 16: 22_937_600, 32: 45_875_200}),
    "14B": (PREDICT2_14B, {8: 35_979_264, 16: 71_958_528, 32: 143_917_056}),
}


@pytest.mark.parametrize("rank", [8, 16, 32])
@pytest.mark.parametrize("size", COUNTS)
def test_adapters_of_the_published_sizes_have_the_documented_number_of_weights(
    size: str, rank: int
):
    config, counts = COUNTS[size]
    network = build(config, device="meta")
    add_lora(network, replace(PLAIN, rank=rank), seed=0)

    assert sum(w.numel() for w in adapter_weights(network).values()) == counts[rank]


def test_weights_in_memory_are_at_most_two_fifths_of_the_original_s():
    """There: a bfloat16 network and a float32 average, adapters in both, at rank 16."""
    network = build(PREDICT2_2B, device="meta", dtype=torch.bfloat16)
    base = sum(weight.numel() for weight in network.parameters())
    add_lora(network, replace(PLAIN, rank=16), seed=0)
    adapters = adapter_weights(network)
    count = sum(weight.numel() for weight in adapters.values())
    held = sum(w.nbytes for w in network.parameters()) + sum(
        4 * w.numel() for w in adapters.values()
    )

    assert held == 2 * base + 2 * 4 * count
    assert held <= 0.4 * (2 + 4) * (base + count)


# --- names ---


def test_a_target_that_matches_nothing_is_answered_with_what_is_near():
    with pytest.raises(RecipeError) as told:
        add_lora(tiny(), replace(PLAIN, targets=("q_prj", "self_attn", "o", "mlp.layer1")), seed=0)

    assert str(told.value).splitlines() == [
        "model.config.lora_target_modules names 'q_prj', and no linear layer's name ends in it; "
        "did you mean 'q_proj', 'v_proj' or 'k_proj'?",
        "model.config.lora_target_modules names 'self_attn', and no linear layer's name ends in "
        "it; below it are self_attn.q_proj, self_attn.k_proj, self_attn.v_proj, "
        "self_attn.output_proj",
        "model.config.lora_target_modules names 'o', and no linear layer's name ends in it; "
        "expected ends such as linear_1, linear_2, q_proj, k_proj, v_proj, output_proj, layer1, "
        "layer2, linear",
    ]


def test_a_target_ends_at_a_dot_and_may_name_one_layer():
    network = tiny()
    names = add_lora(network, replace(PLAIN, targets=("blocks.1.mlp.layer1", "linear_2")), seed=0)

    assert names == ("t_embedder.1.linear_2", "blocks.1.mlp.layer1")
    with pytest.raises(RecipeError):
        add_lora(tiny(), replace(PLAIN, targets=("proj",)), seed=0)


def test_a_control_branch_is_adapted_by_the_same_code():
    """Its ways out have a bias; adapted there, it steers a base that stays as it is."""
    base = tiny()
    branch = randomise(build_branch(TINY, num_control_blocks=2, hint_channels=4), 1)
    three, told = inputs(TINY)
    hint = three[0].flip(-1)

    def steered(part: nn.Module) -> Tensor:
        return ControlledTransformer(base, part)(*three, hints=[hint], **told)

    with torch.no_grad():
        before = steered(branch)
        names = add_lora(branch, replace(PLAIN, targets=("q_proj", "zero_blocks.1")), seed=0)
        assert torch.equal(steered(branch), before)
        trained(branch)
        assert (steered(branch) - before).abs().max() > 1e-3
    assert "zero_blocks.1" in names
    fresh = build_branch(TINY, num_control_blocks=2, hint_channels=4, seed=3)
    add_lora(base, PLAIN, seed=0)
    assert "blocks.1.self_attn.q_proj.weight" in fresh.copy_from_base(base)


# --- putting trained ones on ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_adapter_put_on_its_base_gives_the_trained_network(kind: str):
    network, again = tiny(), tiny()
    names = add_lora(network, KINDS[kind], seed=0)
    adapter = Adapter(KINDS[kind], trained(network))

    assert attach(again, [(adapter, 1.0)]) == names
    assert torch.equal(output(network), output(again))
    assert not any(weight.requires_grad for weight in again.parameters())


def test_several_adapters_add_up_each_times_its_weight():
    one, two = tiny(), tiny()
    other = LoraConfig(rank=2, alpha=1.0, targets=("q_proj", "adaln_modulation_mlp.1"))
    add_lora(one, PLAIN, seed=0)
    add_lora(two, other, seed=0)
    adapters = [(Adapter(PLAIN, trained(one)), 0.5), (Adapter(other, trained(two, 8)), -2.0)]
    network, by_hand = tiny(), tiny()
    attach(network, adapters)
    with torch.no_grad():
        for adapter, factor in adapters:
            for layer, held in adapter.layers().items():
                change = held.up @ held.down * adapter.config.scale * factor
                by_hand.get_submodule(layer).weight.add_(change)

    torch.testing.assert_close(output(network), output(by_hand), rtol=1e-5, atol=1e-5)


def test_dora_is_refused_beside_others_and_at_another_weight():
    network = tiny()
    add_lora(network, KINDS["DoRA"], seed=0)
    dora = Adapter(KINDS["DoRA"], trained(network))
    for some in ([(dora, 0.5)], [(dora, 1.0), (dora, 1.0)]):
        with pytest.raises(CheckpointError, match="alone and at weight 1; merge it"):
            attach(tiny(), some)


def test_an_adapter_of_another_network_is_told_by_its_layers():
    network = randomise(build(replace(TINY, num_blocks=3)))
    add_lora(network, PLAIN, seed=0)
    adapter = Adapter(PLAIN, trained(network))
    with pytest.raises(CheckpointError) as told:
        attach(tiny(), [(adapter, 1.0)])
    assert "blocks.2.self_attn.q_proj is no linear layer of the network" in str(told.value)
    assert "and 4 more" in str(told.value)
    with pytest.raises(CheckpointError, match=r"layer1 is \[192, 48\] .* is for \[96, 48\]"):
        attach(randomise(build(replace(TINY, mlp_ratio=4.0))), [(_narrow(), 1.0)])


def _narrow() -> Adapter:
    config = replace(PLAIN, targets=("mlp.layer1",))
    network = randomise(build(replace(TINY, mlp_ratio=2.0)))
    add_lora(network, config, seed=0)
    return Adapter(config, trained(network))


def test_an_adapter_that_is_not_whole_is_refused():
    network = tiny()
    add_lora(network, PLAIN, seed=0)
    weights = trained(network)
    lost = {name: w for name, w in weights.items() if name != "blocks.0.mlp.layer1.lora_B.weight"}
    with pytest.raises(CheckpointError, match=r"blocks\.0\.mlp\.layer1 differs in lora_B"):
        Adapter(PLAIN, lost).layers()
    with pytest.raises(CheckpointError, match="and rank 4 is told"):
        Adapter(replace(PLAIN, rank=4), weights).layers()
    with pytest.raises(CheckpointError, match="is no weight of an adapter"):
        Adapter(PLAIN, {"blocks.0.mlp.layer1.weight": torch.ones(1)}).layers()


def test_a_config_comes_back_from_what_a_file_keeps():
    for config in KINDS.values():
        assert LoraConfig.from_json(config.to_json()) == config
    assert [config.kind for config in KINDS.values()] == list(KINDS)

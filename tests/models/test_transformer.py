"""The transformer with every switch, against a slow version in float64."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.randoms import inputs, randomise
from tests.models.sizes import TINY
from tests.reference import transformer as slow
from worldtune.errors import RecipeError
from worldtune.models.attention import attend
from worldtune.models.block import FeedForward, modulated_norm
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig
from worldtune.models.positions import FrameShare
from worldtune.models.transformer import Transformer

VIEWS = {"num_views": 2, "view_channels": 5, "num_view_embeddings": 3}
SWITCHES: dict[str, TransformerConfig] = {
    "predict2": TINY,
    "ratios apart": replace(TINY, rope_ratio_h=3.0, rope_ratio_w=2.0, rope_ratio_t=0.8),
    "no masks": replace(TINY, condition_mask=False, padding_mask=False),
    "learned table": replace(TINY, position_table="learned", rope_fps_modulation=True),
    "cameras": replace(
        TINY,
        **VIEWS,
        position_table="sincos",
        repeat_frame_embedding=True,
        rope_fps_modulation=True,
    ),
    "cameras with a learned table": replace(TINY, **VIEWS, position_table="learned"),
    "longer patches": replace(TINY, patch_temporal=2, patch_spatial=1),
    "other output": replace(TINY, out_channels=7, mlp_ratio=2.5),
}
# A float32 network against float64: a few hundred roundings of 6e-8.
TOLERANCE = 5e-6


def tiny(**changes: object) -> Transformer:
    return randomise(build(replace(TINY, **changes)))


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_network_agrees_with_the_slow_version(switch: str):
    config = SWITCHES[switch]
    network = randomise(build(config))
    (latents, time, text), told = inputs(config)
    ours = network(latents, time, text, **told)
    theirs = slow.run(dict(network.named_parameters()), config, latents, time, text, **told)

    assert (ours - theirs).abs().max() < TOLERANCE * theirs.abs().max()


def test_text_of_another_width_is_projected_with_a_gelu():
    network = tiny(text_input_channels=30)
    plain = tiny()
    plain.load_state_dict(
        {n: w for n, w in network.state_dict().items() if not n.startswith("crossattn_proj")}
    )
    (latents, time, text), told = inputs(network.config)
    layer = network.crossattn_proj[0]
    projected = torch.nn.functional.gelu(text @ layer.weight.T + layer.bias)

    torch.testing.assert_close(
        network(latents, time, text, **told), plain(latents, time, projected, **told)
    )


def test_the_layer_norm_adds_a_millionth_to_the_variance():
    """With a variance near 1e-6 the size of the result tells the epsilon apart."""
    x = torch.tensor([1e-3, -1e-3]).reshape(1, 1, 1, 1, 2)
    zero = torch.zeros(1, 1, 1, 1, 2)

    normal = modulated_norm(x, zero, zero).flatten()

    torch.testing.assert_close(normal, torch.tensor([1.0, -1.0]) / 2**0.5)


def test_the_norms_of_heads_and_time_add_a_millionth_to_the_mean_square():
    network = build(TINY, seed=0)
    attention = network.blocks[0].self_attn

    for norm in (attention.q_norm, attention.k_norm, network.t_embedding_norm):
        x = torch.full(norm.weight.shape, 1e-3)
        torch.testing.assert_close(norm(x), torch.full_like(x, 2**-0.5))


def test_the_mlp_bends_by_the_exact_gelu():
    """At 2 the tanh approximation is off by 1e-4 of the value."""
    mlp = FeedForward(1, 1)
    with torch.no_grad():
        mlp.layer1.weight.fill_(1.0)
        mlp.layer2.weight.fill_(1.0)
    exact = 2.0 * 0.977249868051821  # twice the normal distribution function at 2

    assert mlp(torch.tensor([2.0])).item() == pytest.approx(exact, rel=1e-6)


def test_every_camera_meets_its_own_caption_only():
    """With self attention silenced, a caption reaches no other camera."""
    config = SWITCHES["cameras"]
    network = randomise(build(config))
    for block in network.blocks:
        torch.nn.init.zeros_(block.self_attn.output_proj.weight)
    (latents, time, text), told = inputs(config)
    other = text.clone()
    other[:, : text.shape[1] // 2] += 1.0
    change = network(latents, time, other, **told) - network(latents, time, text, **told)
    first, second = change.chunk(2, dim=2)

    assert first.abs().max() > 1e-3
    assert not second.any()


def test_attention_may_be_replaced_from_outside():
    network = tiny()
    (latents, time, text), told = inputs(TINY)
    whole = network(latents, time, text, **told)
    seen: list[tuple[int, ...]] = []

    def by_halves(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(tuple(q.shape))
        parts = zip(*(x.tensor_split(2, dim=2) for x in (q, k, v)), strict=True)
        return torch.cat([attend(*part) for part in parts], dim=2)

    for block in network.blocks:
        block.self_attn.attend = by_halves

    torch.testing.assert_close(network(latents, time, text, **told), whole)
    tokens = latents[0, 0].numel() // 4
    assert seen == [(2, tokens, TINY.num_heads, TINY.head_dim)] * TINY.num_blocks


@pytest.mark.parametrize("switch", ["learned table", "cameras"])
def test_a_share_of_the_frames_has_the_positions_it_has_in_the_whole(switch: str):
    """With attention among tokens silenced, pieces of every camera equal the whole."""
    config = SWITCHES[switch]
    network = randomise(build(config))

    def rotated_values(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q + k + v

    for block in network.blocks:
        block.self_attn.attend = rotated_values
    (latents, time, text), told = inputs(config, frames=4)
    whole = network(latents, time, text, **told)

    total = 4 // config.num_views

    def piece(x: Tensor, dim: int, first: int) -> Tensor:
        held = x.unflatten(dim, (config.num_views, -1))
        last = 1 if first == 0 else total
        return held.narrow(dim + 1, first, last - first).flatten(dim, dim + 1)

    # The first frame, then all others: pieces need not be equally long.
    for index in (0, 1):
        network.frame_share = FrameShare(index, total)
        dims = {"condition_mask": 2, "view_indices": 1}
        cut = {name: piece(told[name], dims[name], index) for name in dims if name in told}
        ours = network(piece(latents, 2, index), piece(time, 1, index), text, **(told | cut))
        torch.testing.assert_close(ours, piece(whole, 2, index))


def test_the_number_of_cameras_is_in_no_weight():
    networks = [build(replace(SWITCHES["cameras"], num_views=n)) for n in (1, 3)]
    shapes = [{name: w.shape for name, w in n.named_parameters()} for n in networks]

    assert shapes[0] == shapes[1]


def test_a_bf16_network_returns_the_latents_dtype_and_stays_near_float32():
    network = tiny()
    (latents, time, text), told = inputs(TINY)
    exact = network(latents, time, text, **told)
    rough = network.to(torch.bfloat16)(latents, time, text, **told)

    assert rough.dtype == torch.float32
    # A few roundings of 2^-9 in a row.
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_the_time_of_a_bf16_network_is_not_rounded():
    """bf16 would make 0.9990 and 0.9995 the same time."""
    network = tiny().to(torch.bfloat16)
    waves, _ = network.t_embedder(torch.tensor([[0.9990, 0.9995]]) * 1000, torch.bfloat16)

    assert (waves[0, 0] - waves[0, 1]).abs().max() > 0.1


def test_what_was_kept_while_sampling_serves_training():
    network = tiny()
    (latents, time, text), told = inputs(TINY)
    with torch.inference_mode():
        network(latents, time, text, **told)

    network(latents, time, text, **told).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_one_mask_may_serve_all_samples():
    network = tiny()
    (latents, time, text), told = inputs(TINY)
    one = told["padding_mask"][:1]

    assert torch.equal(
        network(latents, time, text, **(told | {"padding_mask": one})),
        network(latents, time, text, **(told | {"padding_mask": one.repeat(2, 1, 1, 1)})),
    )


def test_no_mask_means_no_padding_and_no_given_frames():
    network = tiny()
    (latents, time, text), told = inputs(TINY)
    zero = {name: torch.zeros_like(told[name]) for name in ("condition_mask", "padding_mask")}

    assert torch.equal(network(latents, time, text), network(latents, time, text, **zero))


def changed(**changes: Tensor | None) -> Callable[[TransformerConfig], dict]:
    def make(config: TransformerConfig) -> dict:
        (latents, time, text), told = inputs(config)
        return {"latents_BCTHW": latents, "time_BT": time, "text_BND": text, **told, **changes}

    return make


MISFITS = [
    (TINY, changed(latents_BCTHW=torch.zeros(2, 5, 2, 4, 6)), "5 channels, the network takes 4"),
    (TINY, changed(latents_BCTHW=torch.zeros(2, 4, 2, 5, 6)), "5 rows and 6 columns do not divide"),
    (TINY, changed(latents_BCTHW=torch.zeros(2, 4, 2, 18, 26)), "9 rows of tokens are"),
    (TINY, changed(latents_BCTHW=torch.zeros(2, 4, 9, 4, 6)), "9 frames of tokens are"),
    (TINY, changed(time_BT=torch.zeros(2, 3)), r"time has shape \[2, 3\]; expected \[2\]"),
    (TINY, changed(text_BND=torch.zeros(2, 3, 21)), "text is 21 wide, the network takes 20"),
    (TINY, changed(text_BND=torch.zeros(1, 3, 20)), "1 captions for 2 clips"),
    (TINY, changed(condition_mask=torch.zeros(2, 1, 2, 4, 8)), "condition mask has shape"),
    (TINY, changed(padding_mask=torch.zeros(3, 1, 8, 8)), "3 padding masks for 2 clips"),
    (TINY, changed(view_indices=torch.zeros(2, 2)), "does not tell cameras apart"),
    (
        SWITCHES["no masks"],
        changed(condition_mask=torch.zeros(2, 1, 2, 4, 6)),
        "no channel for a condition mask",
    ),
    (
        SWITCHES["no masks"],
        changed(padding_mask=torch.zeros(2, 1, 8, 8)),
        "no channel for a padding mask",
    ),
    (SWITCHES["learned table"], changed(fps=None), "no fps was given"),
    (SWITCHES["learned table"], changed(fps=torch.zeros(2)), "must be more than 0"),
    (
        SWITCHES["cameras"],
        changed(latents_BCTHW=torch.zeros(2, 4, 3, 4, 6)),
        "3 latent frames do not divide into 2 cameras",
    ),
    (SWITCHES["cameras"], changed(text_BND=torch.zeros(2, 3, 20)), "3 text tokens do not divide"),
    (SWITCHES["cameras"], changed(view_indices=torch.zeros(2, 3)), "view_indices has shape"),
    (SWITCHES["cameras"], changed(frame_repeat=torch.zeros(2, 3)), "frame_repeat has shape"),
]


@pytest.mark.parametrize(("config", "make", "message"), MISFITS, ids=[m[2] for m in MISFITS])
def test_inputs_that_do_not_fit_are_refused_in_words(config, make, message):
    network = build(config, seed=0)

    with pytest.raises(RecipeError, match=message):
        network(**make(config))


def test_the_output_is_no_view_so_that_hooks_may_hang_on_it():
    network = tiny()
    (latents, time, text), told = inputs(TINY)

    assert not network(latents, time, text, **told)._is_view()

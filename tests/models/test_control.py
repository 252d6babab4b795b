"""The control branch beyond what the golden vectors cover."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.randoms import inputs, randomise
from tests.models.sizes import MULTI_VIEW, PLAIN_7B, SINGLE_VIEW, TINY
from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.build import build, build_branch
from worldtune.models.config import TransformerConfig
from worldtune.models.control import ControlBranch, ControlledTransformer

CONFIG = replace(TINY, position_table="learned", rope_fps_modulation=True, family="transfer1")


@pytest.fixture(scope="module")
def both() -> ControlledTransformer:
    branch = build_branch(CONFIG, num_control_blocks=2, hint_channels=6)
    return ControlledTransformer(randomise(build(CONFIG)), randomise(branch, 1))


def a_hint(channels: int = 6, seed: int = 4) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 2, 4, 6, generator=draw)


@pytest.mark.parametrize(
    ("config", "hint_channels", "base", "branch"),
    [
        (SINGLE_VIEW, 16, 7_236_192_256, 891_645_728),
        (MULTI_VIEW, 16, 7_234_799_670, 890_253_142),
        (PLAIN_7B, 128, 7_236_208_640, 893_497_120),
    ],
)
def test_the_networks_have_the_published_number_of_weights(
    config: TransformerConfig, hint_channels: int, base: int, branch: int
):
    networks = (
        build(config, device="meta"),
        build_branch(config, num_control_blocks=3, hint_channels=hint_channels, device="meta"),
    )

    assert [sum(w.numel() for w in n.parameters()) for n in networks] == [base, branch]


def test_hints_are_told_apart_by_their_weights_token_by_token(both):
    """A map of 1 on the left and 0 on the right is not 1 everywhere, nor 0."""
    (latents, time, text), told = inputs(CONFIG)
    left = torch.zeros(2, 1, 2, 2, 3)
    left[..., :1] = 1.0
    hint = a_hint()
    residuals = both.branch(latents, time, text, hint, **told)
    by_hand = list(residuals)
    by_hand = [r * left[:, 0, ..., None] for r in by_hand]

    ours = both(latents, time, text, hints=[hint], hint_weights=[left], **told)
    theirs = both.base(latents, time, text, **told, behind_block=lambda i, x: x + by_hand[i])
    torch.testing.assert_close(ours, theirs)


def test_a_hint_with_too_few_channels_is_filled_up_with_zeros(both):
    (latents, time, text), told = inputs(CONFIG)
    narrow = a_hint(4)
    filled = torch.cat((narrow, torch.zeros(2, 2, 2, 4, 6)), dim=1)
    narrow_out, filled_out = (
        both.branch(latents, time, text, hint, **told) for hint in (narrow, filled)
    )

    for one, other in zip(narrow_out, filled_out, strict=True):
        assert torch.equal(one, other)


def test_a_frozen_base_lets_the_gradient_through_to_the_branch(both):
    (latents, time, text), told = inputs(CONFIG)
    both.base.requires_grad_(False)
    both.zero_grad()
    both(latents, time, text, hints=[a_hint()], **told).sum().backward()
    both.base.requires_grad_(True)

    assert all(weight.grad is None for weight in both.base.parameters())
    trained = {n for n, w in both.branch.named_parameters() if w.grad is not None and w.grad.any()}
    assert {n for n, _ in both.branch.named_parameters()} - trained == {
        n for n, _ in both.branch.named_parameters() if n.startswith("final_layer.")
    }


def test_a_branch_takes_over_only_what_it_shares_with_the_base(both):
    fresh = build_branch(CONFIG, num_control_blocks=1, hint_channels=6, seed=3)
    before = {name: weight.clone() for name, weight in fresh.named_parameters()}
    copied = fresh.copy_from_base(both.base)
    base = dict(both.base.named_parameters())

    for name, weight in fresh.named_parameters():
        assert torch.equal(weight, base[name] if name in copied else before[name])
    own = ("x_embedder2.", "input_hint_block.", "zero_blocks.")
    assert {n for n in before if not n.startswith(own)} == set(copied)


def test_a_branch_for_another_base_is_refused_by_name(both):
    other = build(replace(CONFIG, condition_mask=False), seed=1)

    with pytest.raises(CheckpointError, match=r"x_embedder\.proj\.1\.weight is \[48, 24\] in the"):
        both.branch.copy_from_base(other)


def refused(both: ControlledTransformer, message: str, **hints: object) -> None:
    (latents, time, text), told = inputs(CONFIG)
    with pytest.raises(RecipeError, match=message):
        both(latents, time, text, **told, **hints)


def test_hints_that_do_not_fit_are_refused_in_words(both):
    refused(both, "hint has 7 channels, the branch takes 6", hints=[a_hint(7)])
    refused(both, r"hint is \[2, 4, 4\] and the latents", hints=[a_hint()[..., :4]])
    refused(both, "2 hints and 1 weights", hints=[a_hint(), a_hint()])


@pytest.mark.parametrize("count", [0, 3])
def test_a_branch_has_no_more_blocks_than_its_base(count: int):
    with pytest.raises(RecipeError, match=f"{count} control blocks for a base of 2"):
        ControlBranch(CONFIG, count, 6)

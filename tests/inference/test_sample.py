"""Sampling a clip: what is given stays, what is random follows from the clip's own seed."""

import pytest
import torch

from tests.inference.recipes import tiny_recipe
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.errors import RecipeError
from worldtune.inference import pieces
from worldtune.inference.sample import Sampling, sample_latents
from worldtune.models.build import build

SHAPE = (16, 3, 4, 6)
ENCODER = BuiltinTextEncoder(32, 12)


@pytest.fixture(scope="module")
def network():
    model = build(pieces.network_config(tiny_recipe()), seed=0)
    # Fresh weights do not modulate by text or time; drawn ones do.
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw) / weight.shape[-1] ** 0.5)
    return model.requires_grad_(False)


def latents(seed: int, count: int = 1):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def sampled(network, **changes):
    settings = {
        "text": ENCODER.encode(["a red car turns left"]),
        "negative_text": ENCODER.encode(["blurred"]),
        "given": latents(0),
        "num_given": 1,
        "seeds": [3],
        "fps": 16.0,
        **changes,
    }
    how = settings.pop("how", Sampling(steps=3))
    return sample_latents(network, pieces.objective(tiny_recipe()), how, **settings)


@pytest.mark.parametrize("num_given", [1, 2])
def test_given_latents_come_back_in_every_bit(network, num_given):
    made = sampled(network, num_given=num_given)

    assert torch.equal(made[:, :, :num_given], latents(0)[:, :, :num_given])
    assert not torch.equal(made[:, :, num_given:], latents(0)[:, :, num_given:])
    assert torch.isfinite(made).all()


def test_nothing_given_leaves_nothing_of_the_clip_that_was_passed(network):
    one, other = (sampled(network, num_given=0, given=latents(seed)) for seed in (0, 1))

    assert torch.equal(one, other)


def test_a_clip_does_not_depend_on_what_else_is_sampled_beside_it(network):
    text = ENCODER.encode(["a red car turns left", "rain"])
    negative = ENCODER.encode(["blurred", "dark"])
    given = latents(0, 2)
    both = sampled(network, text=text, negative_text=negative, given=given, seeds=[3, 4])

    for row in range(2):
        alone = sampled(
            network,
            text=text[row : row + 1],
            negative_text=negative[row : row + 1],
            given=given[row : row + 1],
            seeds=[3 + row],
        )
        torch.testing.assert_close(both[row : row + 1], alone, rtol=1e-4, atol=1e-4)


def test_another_seed_gives_another_clip_and_the_same_seed_the_same(network):
    assert torch.equal(sampled(network), sampled(network))
    assert not torch.equal(sampled(network), sampled(network, seeds=[4]))


def test_an_empty_negative_prompt_still_guides(network):
    """The original guides by the difference of the prompt and itself: not at all."""
    guided = sampled(network, negative_text=ENCODER.encode([""]))
    unguided = sampled(network, how=Sampling(steps=3, guidance=0.0))

    assert (guided - unguided).abs().max() > 1e-2


def test_no_negative_prompt_at_all_guides_away_from_no_text(network):
    """Zeros are what training shows the network when it drops a caption."""
    zeros = torch.zeros_like(ENCODER.encode([""]))

    assert torch.equal(sampled(network, negative_text=None), sampled(network, negative_text=zeros))


def test_without_guidance_the_negative_prompt_is_never_looked_at(network):
    calls = []
    hook = network.register_forward_hook(lambda *told: calls.append(told))
    how = Sampling(steps=3, guidance=0.0)
    plain = sampled(network, how=how)
    hook.remove()

    assert len(calls) == 4  # one more than steps
    assert torch.equal(plain, sampled(network, how=how, negative_text=ENCODER.encode(["dark"])))


def test_guidance_is_linear_in_one_step(network):
    """x0 = conditional + g * (conditional - unconditional), of which one step is linear."""
    zero, one, three = (
        sampled(network, how=Sampling(steps=1, guidance=g, sigma_min=79.9)) for g in (0.0, 1.0, 3.0)
    )

    # The last of the two predictions starts from another state, by 0.1 %.
    torch.testing.assert_close(three - zero, 3 * (one - zero), rtol=2e-2, atol=2e-2)


def test_a_network_in_bfloat16_gives_float32_latents_close_to_its_own(network):
    low = build(pieces.network_config(tiny_recipe()), seed=0, dtype=torch.bfloat16)
    low.load_state_dict(network.state_dict())
    made = sampled(low, how=Sampling(steps=3, guidance=0.0))
    exact = sampled(network, how=Sampling(steps=3, guidance=0.0))

    assert made.dtype == torch.float32
    assert torch.equal(made[:, :, :1], latents(0)[:, :, :1])
    # 8 bits of mantissa through two blocks.
    assert (made - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_every_step_is_told_in_turn(network):
    steps = []
    sampled(network, on_step=steps.append)

    assert [step.number for step in steps] == [0, 1, 2]
    assert {step.total for step in steps} == {3}


def test_as_many_seeds_as_clips_are_expected(network):
    with pytest.raises(RecipeError, match="2 seeds for 1 clips; expected one for each"):
        sampled(network, seeds=[1, 2])


def test_giving_every_latent_leaves_nothing_to_predict(network):
    with pytest.raises(RecipeError, match="leave nothing to predict"):
        sampled(network, num_given=3)


def test_a_single_latent_is_an_image_and_is_never_given(network):
    one = sampled(network, given=latents(0)[:, :, :1])
    other = sampled(network, given=latents(1)[:, :, :1])

    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"steps": 0}, "0 sampling steps are too few"),
        ({"sigma_max": 0.001}, "noise levels cannot fall"),
    ],
)
def test_levels_that_cannot_be_are_refused(network, how, message):
    with pytest.raises(RecipeError, match=message):
        sampled(network, how=Sampling(**how))

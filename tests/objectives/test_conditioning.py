"""Given frames enter by one rule, and how many they are is a function of the clip."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.errors import RecipeError
from worldtune.objectives.coefficients import Edm, RectifiedFlow
from worldtune.objectives.conditioning import (
    GivenFrames,
    draw_given_count,
    first_frames_mask,
    forget_below_augment,
)


def _given(**changes) -> GivenFrames:
    clean = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    mask = first_frames_mask(torch.tensor([1, 2]), 4)
    return GivenFrames(mask=mask, clean=clean, **changes)


def test_the_first_frames_of_each_sample_are_given():
    mask = first_frames_mask(torch.tensor([0, 2, 1]), 3)

    assert mask[:, 0, :, 0, 0].tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0]]


def test_an_image_is_never_given():
    assert first_frames_mask(torch.tensor([1, 2]), 1).sum() == 0


def test_giving_every_frame_is_refused():
    with pytest.raises(RecipeError, match=r"4 given latent frames of 4.*max_num_conditional"):
        first_frames_mask(torch.tensor([1, 4]), 4)


@pytest.mark.parametrize(("minimum", "maximum"), [(2, 1), (-1, 1)])
def test_an_impossible_range_of_given_frames_is_refused(minimum, maximum):
    with pytest.raises(RecipeError, match=f"from {minimum} to {maximum}"):
        draw_given_count(0, [0], minimum, maximum)


def test_the_number_of_given_frames_is_uniform_over_the_range():
    count = draw_given_count(0, range(3000), 1, 2)

    assert set(count.tolist()) == {1, 2}
    assert (count == 1).float().mean().item() == pytest.approx(0.5, abs=0.04)


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_a_clip_gives_as_many_frames_whatever_else_is_in_the_batch(order):
    alone = torch.cat([draw_given_count(4, [index], 0, 3) for index in order])

    assert torch.equal(draw_given_count(4, order, 0, 3), alone)


def test_flow_shows_given_frames_clean():
    shown = _given()

    assert torch.equal(shown.entering(RectifiedFlow()), shown.clean)


def test_edm_shows_given_frames_with_noise_of_their_own_scaled_for_it():
    noise = torch.ones(2, 3, 4, 2, 2)
    shown = _given(augment_sigma=torch.tensor([0.0, 0.5]), augment_noise=noise)

    entering = shown.entering(Edm(0.5))

    torch.testing.assert_close(entering[0], 2 * shown.clean[0])
    torch.testing.assert_close(entering[1], (shown.clean[1] + 0.5) / 0.5**0.5)


def test_hidden_frames_enter_as_zeros_and_stay_on_the_mask_channel():
    shown = _given(frames_hidden=torch.tensor([True, False]))

    assert shown.entering(RectifiedFlow())[0].abs().sum() == 0
    assert torch.equal(shown.entering(RectifiedFlow())[1], shown.clean[1])
    assert shown.mask_channel()[0, 0, 0].min() == 1


def test_a_hidden_mask_leaves_the_frames_given():
    shown = _given(mask_hidden=torch.tensor([True, False]))

    assert shown.mask_channel().sum(dim=(1, 2, 3, 4)).tolist() == [0, 2 * 4]
    assert shown.is_given.sum() == 3


def test_frames_shown_noisier_than_the_rest_are_denoised_with_it():
    augment = torch.tensor([0.5, 0.1])
    shown = _given(augment_sigma=augment, augment_noise=torch.zeros(2, 3, 4, 2, 2))

    kept = forget_below_augment(shown, torch.tensor([0.5, 0.5]))

    assert kept.mask.sum(dim=(1, 2, 3, 4)).tolist() == [0, 2]
    assert torch.equal(forget_below_augment(_given(), torch.zeros(2)).mask, _given().mask)

"""Noise levels follow their distribution, per clip."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.objectives import noise_levels, randomness
from worldtune.objectives.noise_levels import AUGMENT_LEVELS, NoiseLevels, video_factor

PREDICT2 = NoiseLevels(factor=video_factor(24), high_ratio=0.05)


def test_logarithms_are_normal_around_the_factor():
    logs = NoiseLevels(p_mean=0.5, p_std=1.5, factor=2.0).draw(0, range(4000)).double().log()

    assert logs.mean().item() == pytest.approx(0.5 + math.log(2), abs=0.08)
    assert logs.std().item() == pytest.approx(1.5, abs=0.06)


def test_a_share_of_samples_has_a_high_level_that_the_factor_does_not_touch():
    drawn = NoiseLevels(factor=video_factor(24), high_ratio=0.25).draw(0, range(4000))
    plain = NoiseLevels(factor=1000.0, high_ratio=0.25).draw(0, range(4000))
    high = randomness.uniform(0, "high_noise_chance", range(4000)) < 0.25

    assert high.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert drawn[high].min() >= 199.99
    assert drawn[high].max() <= 100_001
    assert torch.equal(drawn[high], plain[high])
    logs = (drawn[high].log() - math.log(200)) / math.log(500)
    assert logs.mean().item() == pytest.approx(0.5, abs=0.03)


def test_images_have_no_factor_and_no_high_levels():
    u, always = torch.tensor([0.5, 0.9]), torch.zeros(2)

    assert torch.equal(PREDICT2.for_images().at(u, always, always), NoiseLevels().at(u))


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 10**9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_a_clip_has_its_level_whatever_else_is_in_the_batch(order, seed):
    alone = torch.cat([PREDICT2.draw(seed, [index]) for index in order])

    assert torch.equal(PREDICT2.draw(seed, order), alone)


def test_the_smallest_uniform_number_gives_a_level_above_0():
    sigma = PREDICT2.at(torch.zeros(1), torch.ones(1), torch.zeros(1))

    assert 0 < sigma.item() < 0.01


def test_the_level_of_given_frames_is_drawn_apart_and_unscaled():
    drawn = noise_levels.draw_augment(0, range(4000))
    logs = drawn.double().log()

    assert logs.mean().item() == pytest.approx(-3, abs=0.12)
    assert logs.std().item() == pytest.approx(2, abs=0.08)
    assert not torch.equal(drawn, AUGMENT_LEVELS.draw(0, range(4000)))


def test_ranks_that_share_a_clip_draw_the_same_augmentation():
    """Noise of given frames that differed between tensor ranks would be no clip at all."""
    first, second = (
        (noise_levels.draw_augment(3, [7]), randomness.normal(3, "augment_noise", [7], (2, 2)))
        for _rank in range(2)
    )

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])

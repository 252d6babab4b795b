"""A draw depends on the seed, the purpose and the clip, and on nothing else."""

from typing import get_args

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.objectives import randomness
from worldtune.objectives.randomness import Purpose

indices = st.lists(st.integers(0, 10**12), min_size=1, max_size=6)
seeds = st.integers(-(2**31), 2**40)


def test_a_draw_is_the_same_on_every_machine():
    """Numbers written down once: a change of them would change every run."""
    assert randomness.seed_for(0, "noise", 0) == 18289175030525828258
    assert randomness.seed_for(7, "noise_level", 12) == 14719384019101032205
    assert randomness.uniform(0, "test", [3]).item() == 0.5337258546031682


@settings(max_examples=25, deadline=None)
@given(seed=seeds, order=indices, split=st.integers(1, 3))
def test_ranks_a_batch_and_accumulated_steps_draw_the_same_numbers(seed, order, split):
    whole = randomness.normal(seed, "noise", order, (2, 3))
    parts = [
        randomness.normal(seed, "noise", order[start : start + split], (2, 3))
        for start in range(0, len(order), split)
    ]

    assert torch.equal(whole, torch.cat(parts))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, order=indices)
def test_draws_do_not_touch_nor_follow_the_global_generator(seed, order):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = randomness.uniform(seed, "test", order)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)

    assert torch.equal(first, randomness.uniform(seed, "test", order))


def test_purposes_clips_and_seeds_draw_differently():
    draws = [
        randomness.normal(seed, purpose, [index], (4,))
        for seed in (0, 1)
        for purpose in get_args(Purpose)
        for index in (0, 1, 10)
    ]

    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)


def test_noise_is_standard_normal_and_float32():
    noise = randomness.normal(3, "noise", range(40), (50, 50))

    assert noise.dtype == torch.float32
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02
    # Clips are drawn apart, so none may follow another.
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.1


def test_uniform_numbers_fill_the_unit_interval_over_clips():
    u = randomness.uniform(5, "noise_level", range(2000)).sort().values

    assert u.dtype == torch.float64
    assert (u - (torch.arange(2000) + 0.5) / 2000).abs().max() < 0.05


def test_whole_numbers_reach_both_ends_evenly():
    counts = torch.bincount(randomness.integers(1, "given_frames", range(3000), 1, 3))

    assert counts[0] == 0
    assert ((counts[1:] / 3000) - 1 / 3).abs().max() < 0.04


def test_indices_may_come_as_a_tensor():
    as_tensor = randomness.normal(2, "noise", torch.tensor([4, 5]), (3,))

    assert torch.equal(as_tensor, randomness.normal(2, "noise", [4, 5], (3,)))

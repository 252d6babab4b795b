"""The global order of clips."""

from collections import Counter
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.data.order import ClipOrder, shuffled, whole_ratio


def clips(order: ClipOrder, first: int, count: int) -> list[int]:
    return [order.at(place).clip for place in range(first, first + count)]


@given(size=st.integers(1, 40), seed=st.integers(-5, 2**40))
@settings(max_examples=30, deadline=None)
def test_every_epoch_shows_every_clip_once(size, seed):
    order = ClipOrder((size,), seed=seed)

    for epoch in range(3):
        assert sorted(clips(order, epoch * size, size)) == list(range(size))
        assert order.at(epoch * size).epoch == epoch


def test_every_epoch_has_an_order_of_its_own():
    order = ClipOrder((50,))

    assert len({tuple(clips(order, epoch * 50, 50)) for epoch in range(4)}) == 4


def test_another_seed_gives_another_order():
    assert clips(ClipOrder((50,), seed=1), 0, 50) != clips(ClipOrder((50,), seed=2), 0, 50)


def test_the_order_is_the_same_on_every_machine():
    """Numbers written down once: a change of these breaks every run that is to be resumed."""
    assert shuffled(8, 0, 0, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert clips(ClipOrder((3, 2), (1.0, 2.0), seed=7), 0, 9) == [0, 4, 3, 3, 2, 4, 3, 1, 4]


def test_without_shuffling_clips_come_by_name():
    order = ClipOrder((4,), shuffle=False)

    assert clips(order, 0, 10) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_without_shuffling_folders_alternate_evenly():
    order = ClipOrder((10, 10), (3.0, 1.0), shuffle=False)
    folders = [clip // 10 for clip in clips(order, 0, 8)]

    assert folders == [0, 0, 1, 0, 0, 0, 1, 0]


def test_a_one_to_one_mix_holds_in_every_pair():
    order = ClipOrder((7, 3), (1.0, 1.0), seed=3)

    for first in range(0, 60, 2):
        assert {clip >= 7 for clip in clips(order, first, 2)} == {True, False}


def test_the_folders_of_a_pair_come_in_varying_order():
    """Else with two data ranks each would see one folder only."""
    order = ClipOrder((7, 3), (1.0, 1.0), seed=3)

    assert len({clip >= 7 for clip in clips(order, 0, 40)[::2]}) == 2


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_a_mix_holds_its_ratio_in_every_block(sizes, data):
    weights = data.draw(
        st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0]), min_size=len(sizes), max_size=len(sizes))
    )
    order = ClipOrder(tuple(sizes), tuple(weights), seed=1)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    ratio = whole_ratio(weights)

    for block in range(4):
        drawn = Counter(owners[clips(order, block * order.block, order.block)].tolist())
        assert tuple(drawn[folder] for folder in range(len(sizes))) == ratio


def test_a_small_folder_of_a_mix_is_repeated_in_a_new_order_each_pass():
    order = ClipOrder((40, 5), (1.0, 1.0), seed=0)
    small = [clip for clip in clips(order, 0, 80) if clip >= 40]
    passes = [tuple(small[i : i + 5]) for i in range(0, 40, 5)]

    assert all(sorted(one) == [40, 41, 42, 43, 44] for one in passes)
    assert len(set(passes)) > 4
    assert order.epoch_length == 80


def test_any_place_can_be_asked_for_first():
    walked = clips(ClipOrder((7, 3), (2.0, 1.0), seed=5), 0, 100)

    assert [ClipOrder((7, 3), (2.0, 1.0), seed=5).at(place).clip for place in range(100)] == walked


def test_a_million_clips_are_ordered_at_once_and_asked_for_quickly():
    order = ClipOrder((1_000_000,))
    order.at(0)
    started = perf_counter()
    places = {order.at(place).clip for place in range(2_000)}

    assert len(places) == 2_000
    assert perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("weights", "ratio"),
    [
        ((1.0, 1.0), (1, 1)),
        ((0.7, 0.3), (7, 3)),
        ((1 / 3, 2 / 3), (1, 2)),
        ((50.0, 25.0, 25.0), (2, 1, 1)),
        ((5.0,), (1,)),
        ((1.0, 1e-9), (1000, 1)),
    ],
)
def test_weights_become_the_smallest_whole_numbers(weights, ratio):
    assert whole_ratio(weights) == ratio


@pytest.mark.parametrize("weights", [(1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), ()])
def test_a_share_that_is_not_above_zero_is_refused(weights):
    with pytest.raises(ValueError, match="above 0"):
        whole_ratio(weights)

"""Learning-rate schedules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.errors import RecipeError
from worldtune.objectives.schedule import LambdaLinear, constant

factors = st.floats(0, 2)


cycle = st.integers(1, 50).flatmap(
    lambda length: st.tuples(st.integers(0, length), st.just(length), factors, factors, factors)
)
cycles = st.lists(cycle, min_size=1, max_size=4)


def _schedule(cycles: list[tuple]) -> LambdaLinear:
    return LambdaLinear(*(list(column) for column in zip(*cycles, strict=True)))


@settings(max_examples=100, deadline=None)
@given(cycles=cycles, beyond=st.integers(0, 10**12))
def test_past_the_last_cycle_the_last_value_holds(cycles, beyond):
    schedule = _schedule(cycles)
    end = sum(schedule.cycle_lengths)
    rests_at_top = schedule.warm_up_steps[-1] == schedule.cycle_lengths[-1]

    assert schedule(end + beyond) == schedule(end)
    assert schedule(end) == (schedule.f_max if rests_at_top else schedule.f_min)[-1]


@settings(max_examples=100, deadline=None)
@given(cycles=cycles, step=st.integers(0, 250))
def test_the_multiplier_stays_between_the_ends_of_its_cycle(cycles, step):
    schedule = _schedule(cycles)
    ends = [*schedule.f_start, *schedule.f_max, *schedule.f_min]

    assert min(ends) - 1e-9 <= schedule(step) <= max(ends) + 1e-9


@settings(max_examples=100, deadline=None)
@given(cycles=cycles)
def test_each_cycle_rises_to_its_top_and_ends_at_its_bottom(cycles):
    schedule = _schedule(cycles)
    start = 0
    for cycle, length in enumerate(schedule.cycle_lengths):
        warm_up = schedule.warm_up_steps[cycle]
        # A cycle's first step belongs to the cycle before, unless that is the run's first.
        if warm_up > 0 and start == 0:
            assert schedule(0) == schedule.f_start[cycle]
        if 0 < warm_up < length:
            assert schedule(start + warm_up) == pytest.approx(schedule.f_max[cycle])
        if warm_up < length:
            assert schedule(start + length) == schedule.f_min[cycle]
        start += length


def test_a_run_that_is_all_warm_up_rises_in_a_line():
    schedule = LambdaLinear([2000], [400_000], [1e-6], [0.6], [0.3])

    assert schedule(0) == 1e-6
    assert schedule(1000) == pytest.approx((1e-6 + 0.6) / 2)
    assert schedule(2000) == 0.6


def test_constant_is_1():
    assert {constant(step) for step in (0, 1, 10**9)} == {1.0}


def test_lists_that_do_not_describe_the_same_cycles_are_refused_all_at_once():
    with pytest.raises(RecipeError) as caught:
        LambdaLinear([1, -2], [10, 0], [0.0], [1.0, 1.0], [])

    message = str(caught.value)
    assert "scheduler.f_start has 1 entries; expected 2" in message
    assert "scheduler.f_min has 0 entries; expected 2" in message
    assert "scheduler.cycle_lengths holds 0; expected 1" in message
    assert "scheduler.warm_up_steps holds -2; expected 0" in message
    assert "f_max" not in message


def test_a_schedule_without_cycles_is_refused():
    with pytest.raises(RecipeError, match="cycle_lengths is empty"):
        LambdaLinear([], [], [], [], [])

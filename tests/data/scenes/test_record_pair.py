"""Accidents made of traffic that is written down here, without the simulator."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.scenes.hand_made import line
from worldtune.data.scenes.network import Network, StopLine
from worldtune.data.scenes.playback import motion_at
from worldtune.data.scenes.record_drivers import Mishap, mishaps
from worldtune.data.scenes.record_pair import Pair, record_pair
from worldtune.data.scenes.record_rules import broken_rules
from worldtune.data.scenes.recording import RATE_HZ, BodyKind, Layout, Signal
from worldtune.data.scenes.simulate import STEP_HZ, Track, Traffic

STEPS = 34 * STEP_HZ
SIZES = {"car": (4.4, 1.8, 1.5), "bus": (10.8, 2.5, 3.1), "bicycle": (1.8, 0.6, 1.7)}


def track(speeds: np.ndarray, start: float, y: float, north: bool = False, kind: BodyKind = "car"):
    """A body that drives along x, or to the north, with a speed at each step."""
    way = start + np.concatenate([[0.0], np.cumsum(speeds[:-1])]) / STEP_HZ
    across = np.full(len(way), y)
    heading = np.full(len(way), np.pi / 2 if north else 0.0)
    x, y_ = (across, way) if north else (way, across)
    return Track(kind, *SIZES[kind], 0, x, y_, heading, np.zeros(len(way), np.uint8))


def steady(speed: float) -> np.ndarray:
    return np.full(STEPS, speed)


def waits(arrives_s: float, until_s: float, speed: float = 12.0) -> np.ndarray:
    """Speeds of a driver who has stopped at one time, with 4 m/s2, and starts at another."""
    time = np.arange(STEPS) / STEP_HZ
    brakes = np.clip(4.0 * (arrives_s - time), 0, speed)
    return np.where(time < until_s, brakes, np.clip(2.5 * (time - until_s), 0, speed))


def traffic(*tracks: Track) -> Traffic:
    """A crossing at the origin; the traffic light for those who come from the west is red."""
    layout = Layout(
        name="crossing",
        words="a crossing",
        centre=(0.0, 0.0),
        roads=(
            line((-150, -7), (150, -7), (150, 7), (-150, 7)),
            line((-7, -150), (7, -150), (7, 150), (-7, 150)),
        ),
        walkways=(),
        lanes=(),
        markings=(),
        crossings=(),
        signals=(Signal((-8.0, -7.5), 0.0, 0),),
    )
    lines = (StopLine((-8.0, -3.5), 0.0, 3.4, 0),)
    network = Network(layout, Path("none"), (), (), (), lines, (("light", 0),))
    signals = np.zeros((STEPS, 1), np.uint8)
    signals[20 * STEP_HZ :] = 2
    parked = [track(steady(0.0), x, 5.2) for x in (30.0, 40.0, 50.0)]
    return Traffic(network, STEPS, (*tracks, *parked), signals)


def found(seen: Traffic, cause: str) -> list[Mishap]:
    random = np.random.Generator(np.random.PCG64([4]))
    return [m for m in mishaps(seen, 100, STEPS - 100, random) if m.cause == cause]


def first_pair(seen: Traffic, cause: str) -> Pair:
    random = np.random.Generator(np.random.PCG64([4]))
    for mishap in found(seen, cause):
        pair = record_pair(seen, mishap, "crossing_000", random)
        if isinstance(pair, Pair):
            return pair
    raise AssertionError(f"no accident by {cause}")


def red_light() -> Traffic:
    """One car waits at the red light, another crosses as it comes up to it."""
    waiting = track(waits(14.0, 21.0), -160.5, -3.5)
    behind = track(waits(15.5, 23.0), -186.0, -3.5)
    return traffic(waiting, track(steady(10.0), -140.5, 3.5, north=True), behind)


def test_who_waits_at_a_red_light_could_have_run_it():
    chances = found(red_light(), "red_light")

    assert chances
    assert {(m.driver, m.other) for m in chances} == {(0, 1)}


def test_an_accident_and_its_sibling_differ_in_one_driver():
    pair = first_pair(red_light(), "red_light")
    contact = pair.accident.contact
    assert contact is not None

    assert pair.normal.contact is None
    assert (pair.normal.name, pair.accident.name) == (
        "crossing_000_normal",
        "crossing_000_accident",
    )
    assert broken_rules(pair.normal) == broken_rules(pair.accident) == []
    assert contact.time_s == 6.5
    assert contact.cause == "red_light"
    assert len(pair.normal.bodies) == len(pair.accident.bodies)
    before = np.arange(0, 6.5, 1 / 16)
    for number in range(len(pair.normal.bodies)):
        good, bad = (motion_at(r, number, before) for r in (pair.normal, pair.accident))
        same = np.allclose(good.x, bad.x, atol=0.02) and np.allclose(good.y, bad.y, atol=0.02)
        assert same == (number != contact.at_fault)


def test_both_velocities_break_at_the_contact_by_what_it_says():
    pair = first_pair(red_light(), "red_light")
    contact = pair.accident.contact
    assert contact is not None

    for number, told in zip(contact.bodies, contact.speed_change_mps, strict=True):
        seen = motion_at(pair.accident, number, contact.time_s + np.array([-1e-4, 1e-4]))
        change = np.linalg.norm(np.diff(seen.velocity, axis=0))
        # The first eighth of a second after it is driven with brakes and turns already.
        assert change == pytest.approx(told, rel=0.25)


def test_who_stops_behind_a_queue_could_have_driven_into_it():
    queue = track(waits(9.0, 30.0), -95.0, -3.5)
    comes = track(waits(12.0, 31.0), -140.0, -3.5)
    pair = first_pair(traffic(queue, comes), "rear_end")
    contact = pair.accident.contact
    assert contact is not None

    assert contact.bodies[0] == contact.at_fault
    striker, struck = (pair.accident.bodies[number].track for number in contact.bodies)
    assert striker[40, 0] < struck[40, 0]


def test_who_drives_beside_another_could_have_moved_over_into_it():
    slow, fast = track(steady(4.0), -50.0, -1.7), track(steady(14.0), -160.0, -5.1)
    pair = first_pair(traffic(slow, fast), "lane_change")
    contact = pair.accident.contact
    assert contact is not None

    body = pair.accident.bodies[contact.at_fault]
    moved = body.track[: round(contact.time_s * RATE_HZ) - body.first + 1, 1]
    sideways = np.abs(moved - moved[0]).max()
    assert 1.0 < sideways < 3.6


def test_nobody_is_made_to_hit_a_cyclist():
    cyclist = track(waits(9.0, 30.0, speed=5.0), -60.0, -3.5, kind="bicycle")
    comes = track(waits(12.0, 31.0), -140.0, -3.5)

    assert not found(traffic(cyclist, comes), "rear_end")

import numpy as np
import pytest

from worldtune.data.scenes.outlines import corners, depth
from worldtune.data.scenes.record_followers import CannotStopError, stop_followers
from worldtune.data.scenes.record_rails import Rail, paced, stop_by
from worldtune.data.scenes.simulate import STEP_HZ, Track

STEPS = 160


def track(x: np.ndarray, y: float = 0.0, first: int = 0) -> Track:
    count = len(x)
    blinkers = np.zeros(count, np.uint8)
    return Track("car", 4.4, 1.8, 1.5, first, x, np.full(count, y), np.zeros(count), blinkers)


def driving(start: float, speed: float, y: float = 0.0) -> Track:
    return track(start + speed * np.arange(STEPS) / STEP_HZ, y)


def standing(x: float, y: float = 0.0) -> Track:
    return track(np.full(STEPS, x), y)


def round_a_bend() -> Track:
    turned = np.cumsum(0.5 + 0.4 * np.sin(np.arange(STEPS) / 20)) / STEP_HZ
    blinkers = (np.arange(STEPS) > 50).astype(np.uint8)
    x, y = 15 * np.sin(turned), -15 * np.cos(turned)
    return Track("car", 4.4, 1.8, 1.5, 0, x, y, turned, blinkers)


def test_a_rail_leads_where_its_track_went():
    bend = round_a_bend()
    rail = Rail(bend)

    again = paced(bend, rail, rail.driven)

    np.testing.assert_allclose(again.x, bend.x, atol=1e-6)
    np.testing.assert_allclose(again.heading, bend.heading, atol=1e-6)
    np.testing.assert_array_equal(again.blinkers, bend.blinkers)


def test_between_its_points_a_rail_keeps_to_the_bend():
    rail = Rail(round_a_bend())
    rows = rail.at(np.linspace(0, rail.driven[-1], 3001))

    np.testing.assert_allclose(np.hypot(rows[:, 0], rows[:, 1]), 15, atol=0.01)


def test_a_driver_in_haste_slows_down_before_a_bend():
    straight = np.arange(0, 60, 0.5)
    turned = np.linspace(0, np.pi / 2, 40)
    x = np.concatenate([straight, 60 + 8 * np.sin(turned)])
    y = np.concatenate([0 * straight, 8 - 8 * np.cos(turned)])
    heading = np.concatenate([0 * straight, turned])
    bent = Track("car", 4.4, 1.8, 1.5, 0, x, y, heading, np.zeros(len(x), np.uint8))

    ways, speeds = Rail(bent).fastest()

    assert speeds[ways > 66].min() == pytest.approx(np.sqrt(4.6 * 8), rel=0.1)
    assert np.interp(50, ways, speeds) < np.interp(20, ways, speeds)
    slows = np.diff(speeds**2) / 2 / np.diff(ways)
    assert slows.min() > -4.1


def test_who_stops_brakes_evenly_and_stands_at_the_way_asked_for():
    drive = driving(0.0, 12.0)
    stopped = stop_by(drive, Rail(drive), 16, 40.0, 7.5)

    assert stopped is not None
    speed = np.diff(stopped.x) * STEP_HZ
    assert stopped.x[-1] == pytest.approx(40.0, abs=0.05)
    np.testing.assert_allclose(stopped.x[:17], drive.x[:17], atol=1e-6)
    assert (np.diff(speed) * STEP_HZ).min() > -7.6
    assert np.diff(speed).max() < 1e-6


def test_who_would_have_to_brake_too_hard_does_not_stop():
    drive = driving(0.0, 12.0)

    assert stop_by(drive, Rail(drive), 16, 20.0, 7.5) is None


def test_a_queue_stops_behind_an_accident_and_the_next_lane_drives_on():
    pair = [standing(0.0), standing(4.6)]
    queue = [driving(-60.0, 12.0), driving(-75.0, 12.0), driving(-90.0, 12.0)]
    beside = driving(-60.0, 12.0, y=3.4)

    tracks = stop_followers([*pair, *queue, beside], (0, 1), 16)

    np.testing.assert_array_equal(tracks[5].x, beside.x)
    boxes = [corners(t.x, t.y, t.heading, np.array([t.length, t.width])) for t in tracks]
    for one in range(5):
        for other in range(one):
            assert depth(boxes[one], boxes[other]).max() < -0.1
    for number in (2, 3, 4):
        speed = np.diff(tracks[number].x) * STEP_HZ
        assert speed[-1] == pytest.approx(0, abs=0.02)
        assert np.abs(np.diff(speed)).max() * STEP_HZ < 7.7


def test_until_the_contact_nobody_does_other_than_before():
    pair, follower = [standing(0.0), standing(4.6)], driving(-60.0, 12.0)

    tracks = stop_followers([*pair, follower], (0, 1), 24)

    np.testing.assert_array_equal(tracks[2].x[:25], follower.x[:25])


def test_an_accident_in_front_of_which_nobody_could_stop_is_refused():
    pair, follower = [standing(0.0), standing(4.6)], driving(-30.0, 14.0)

    with pytest.raises(CannotStopError):
        stop_followers([*pair, follower], (0, 1), 16)

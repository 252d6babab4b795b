import numpy as np
import pytest

from tests.data.scenes.hand_made import body, drive, rear_end, recording
from worldtune.data.scenes.playback import motion_at, poses, poses_at, signal_states
from worldtune.data.scenes.recording import BRAKE, RATE_HZ


def bend(samples: int = 41, radius: float = 12.0, speed: float = 6.0) -> np.ndarray:
    turned = speed / radius * np.arange(samples) / RATE_HZ
    return np.column_stack([radius * np.sin(turned), -radius * np.cos(turned), turned])


def test_a_body_is_at_its_samples_at_their_times():
    track = bend()
    seen = motion_at(recording(body("car", track)), 0, np.arange(41) / RATE_HZ)

    np.testing.assert_allclose(np.column_stack([seen.x, seen.y, seen.heading]), track, atol=1e-5)


def test_between_samples_a_bend_is_followed_to_the_centimetre():
    seen = motion_at(recording(body("car", bend())), 0, np.linspace(0.5, 4.5, 997))

    np.testing.assert_allclose(np.hypot(seen.x, seen.y), 12.0, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(seen.velocity, axis=1), 6.0, atol=0.05)


def test_a_steady_drive_has_one_speed_at_all_times():
    seen = motion_at(recording(body("car", drive(-20, 8.0, 41))), 0, np.linspace(0, 5, 733))

    np.testing.assert_allclose(seen.velocity, [[8.0, 0.0]] * 733, atol=1e-4)


def test_velocity_breaks_at_the_contact_and_nowhere_near_it():
    seen = motion_at(rear_end(), 0, np.array([2.375, 2.49, 2.4999, 2.5001, 2.51, 2.625]))

    np.testing.assert_allclose(seen.velocity[:, 0], [12, 12, 12, 5, 5, 5], atol=1e-2)


def test_the_struck_car_stands_until_the_contact():
    seen = motion_at(rear_end(), 1, np.array([0.0, 2.3, 2.4999, 2.5001, 3.0]))

    np.testing.assert_allclose(seen.velocity[:, 0], [0, 0, 0, 5, 5], atol=1e-2)
    np.testing.assert_allclose(seen.x[:3], -0.6, atol=1e-3)


def test_a_body_that_stops_never_swings_back():
    way = np.concatenate([np.cumsum(np.linspace(1.2, 0.0, 20)), np.full(20, 12.0)])
    track = np.column_stack([way, np.zeros(40), np.zeros(40)])
    seen = motion_at(recording(body("car", track)), 0, np.linspace(0, 39 / RATE_HZ, 2000))

    assert np.diff(seen.x).min() > -1e-4
    np.testing.assert_allclose(seen.x[-500:], 12.0, atol=1e-6)


def test_a_body_is_there_from_its_first_sample_to_its_last():
    scene = recording(body("car", drive(-70, 10.0, 17), first=8), body("bus", drive(0, 0, 81, 2.0)))

    assert [p.body for p in poses(scene, 0.99)] == [1]
    assert [p.body for p in poses(scene, 1.0)] == [0, 1]
    assert [p.body for p in poses(scene, 3.0)] == [0, 1]
    assert [p.body for p in poses(scene, 3.01)] == [1]


def test_many_moments_at_once_are_the_same_as_one_by_one():
    times = [0.0, 1.23, 2.5, 2.51, 9.99]

    assert poses_at(rear_end(), times) == [poses(rear_end(), time) for time in times]


def test_a_pose_tells_speed_and_lights():
    (pose,) = poses(recording(body("car", drive(0, 9.0, 81), lights=BRAKE)), 3.3)

    assert pose.speed_mps == pytest.approx(9.0, abs=1e-4)
    assert pose.x == pytest.approx(29.7, abs=1e-4)
    assert pose.lights == BRAKE


def test_signals_change_at_their_sample():
    scene = recording(body("car", drive(0, 1.0, 81)))

    assert signal_states(scene, 0.0) == ("red",)
    assert signal_states(scene, 4.99) == ("red",)
    assert signal_states(scene, 5.0) == ("green",)
    assert signal_states(scene, scene.duration_s) == ("green",)

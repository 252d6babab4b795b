"""The camera over the street."""

from math import atan2, radians

import numpy as np
import pytest

from worldtune.data.scenes.camera import NEAR_M, Camera, clip_to_view

CAMERA = Camera((10.0, -20.0, 7.0), radians(100), radians(-20), radians(52), (128, 224))


def test_what_the_camera_looks_at_is_in_the_middle_of_the_picture():
    place = np.array(CAMERA.position) + 15 * CAMERA.rotation[2]

    pixels, depth = CAMERA.project(place)

    assert pixels == pytest.approx([112, 64])
    assert depth == pytest.approx(15)


def test_what_lies_to_the_right_and_higher_is_seen_right_and_up():
    ahead = np.array(CAMERA.position) + 15 * CAMERA.rotation[2]
    east_of_it = ahead + np.array([1.0, 0.0, 0.0])  # the camera looks about north

    (x, _), _ = CAMERA.project(east_of_it)
    (_, y), _ = CAMERA.project(ahead + np.array([0.0, 0.0, 1.0]))

    assert x > 112
    assert y < 64


def test_the_field_of_view_reaches_from_edge_to_edge():
    edge = CAMERA.rotation[2] * CAMERA.focal + CAMERA.rotation[0] * 112

    (x, _), _ = CAMERA.project(np.array(CAMERA.position) + edge)

    assert x == pytest.approx(224)
    assert 2 * atan2(112, CAMERA.focal) == pytest.approx(radians(52))


def test_the_ground_under_a_pixel_is_seen_at_that_pixel():
    x, y, depth = CAMERA.ground()
    rows, columns = np.nonzero(np.isfinite(depth) & (depth < 200))
    at = np.stack([x[rows, columns], y[rows, columns], np.zeros(len(rows))], axis=1)

    pixels, depths = CAMERA.project(at)

    # float32 ground against float64 projection
    assert np.abs(pixels - np.stack([columns + 0.5, rows + 0.5], axis=1)).max() < 2e-2
    assert depths == pytest.approx(depth[rows, columns], rel=1e-4)


def test_above_the_horizon_there_is_no_ground():
    level = Camera((0.0, 0.0, 6.0), 0.0, 0.0, radians(50), (64, 112))

    _, _, depth = level.ground()

    assert np.isinf(depth[:32]).all()
    assert np.isfinite(depth[32:]).all()


def test_twice_the_size_shows_the_same_view():
    place = np.array([8.0, 3.0, 0.5])

    once, _ = CAMERA.project(place)
    twice, _ = CAMERA.scaled(2).project(place)

    assert twice == pytest.approx(2 * once)


def test_a_polygon_that_reaches_behind_the_camera_is_cut_before_it():
    seen = np.array([[-1.0, 1.0, -5.0], [1.0, 1.0, -5.0], [1.0, 1.0, 20.0], [-1.0, 1.0, 20.0]])

    cut = clip_to_view(seen, CAMERA)

    assert len(cut) >= 3
    assert cut[:, 2].min() >= NEAR_M - 1e-9
    assert cut[:, 2].max() == pytest.approx(20)


def test_a_polygon_behind_the_camera_is_cut_away():
    assert len(clip_to_view(np.array([[0.0, 0, -3], [1.0, 0, -3], [0.0, 1, -4]]), CAMERA)) == 0

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from worldtune.data.scenes.crash import Moving, collide, slide, speed_change, touch
from worldtune.data.scenes.outlines import corners, depth

CAR = Moving(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.4, 1.8, 1400.0)


def energy(body: Moving) -> float:
    return 0.5 * (body.mass * (body.vx**2 + body.vy**2) + body.inertia * body.spin**2)


def momentum(*bodies: Moving) -> np.ndarray:
    """Along x, along y, and the turning momentum about the origin."""
    rows = [
        (
            b.mass * b.vx,
            b.mass * b.vy,
            b.inertia * b.spin + b.mass * (b.x * b.vy - b.y * b.vx),
        )
        for b in bodies
    ]
    return np.sum(rows, axis=0)


def meeting(heading: float, speed: float, mass: float = 1400.0) -> tuple[Moving, Moving]:
    """A car drives along x into the flank, tail or nose of another that turns some way."""
    other = replace(CAR, x=0.0, y=0.4, heading=heading, vx=1.0, vy=-2.0, mass=mass)
    one = replace(CAR, x=-8.0, vx=speed)
    while touch(one, other, 0.001) is None:
        one = replace(one, x=one.x + 0.005)
    return one, other


@pytest.mark.parametrize("heading", [0.0, 0.7, pi / 2, 2.2, pi])
@pytest.mark.parametrize("mass", [1400.0, 9000.0])
def test_a_contact_keeps_momentum_and_makes_no_energy(heading: float, mass: float):
    one, other = meeting(heading, 11.0, mass)
    at = touch(one, other, 0.001)
    assert at is not None

    after = collide(one, other, at)

    np.testing.assert_allclose(momentum(*after), momentum(one, other), rtol=1e-9, atol=1e-6)
    assert energy(after[0]) + energy(after[1]) < energy(one) + energy(other)
    assert speed_change(one, after[0]) > 3


def test_two_like_cars_that_meet_head_on_part_with_a_seventh_of_their_speed():
    one, other = replace(CAR, x=-2.2, vx=8.0), replace(CAR, x=2.2, heading=pi, vx=-8.0)
    at = touch(one, other)
    assert at is not None

    left, right = collide(one, other, at)

    assert left.vx == pytest.approx(-0.15 * 8)
    assert right.vx == pytest.approx(0.15 * 8)
    assert left.spin == pytest.approx(0)


def test_a_car_that_is_hit_behind_its_middle_spins():
    one = replace(CAR, y=-3.1, heading=pi / 2, vy=12.0)
    other = replace(CAR, x=1.3)
    at = touch(one, other)
    assert at is not None

    _, struck = collide(one, other, at)

    assert struck.vy > 3
    assert struck.spin < -0.5  # clockwise: its tail is pushed to the left


def test_bodies_that_part_already_are_left_alone():
    one, other = replace(CAR, x=-2.2, vx=-1.0), replace(CAR, x=2.2, vx=2.0)
    at = touch(one, other)
    assert at is not None

    assert collide(one, other, at) == (one, other)


@pytest.mark.parametrize("heading", [0.0, 0.4, pi / 2, 2.5, pi])
@pytest.mark.parametrize("mass", [1400.0, 11000.0])
def test_after_a_crash_bodies_slide_to_rest_and_never_sink_in(heading: float, mass: float):
    one, other = meeting(heading, 13.0, mass)
    at = touch(one, other)
    assert at is not None

    ways = slide(*collide(one, other, at), seconds=6.0, rate_hz=16)

    size = np.array([4.4, 1.8])
    boxes = [corners(way[:, 0], way[:, 1], way[:, 2], size) for way in ways]
    assert depth(boxes[0], boxes[1]).max() < 0.04
    np.testing.assert_array_equal(ways[:, -1], ways[:, -8])
    assert 0.5 < np.linalg.norm(ways[:, -1, :2] - ways[:, 0, :2], axis=1).max() < 25

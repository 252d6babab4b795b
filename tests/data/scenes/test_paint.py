"""The painter: what stands nearer is in front, what turns away is not seen, light and air."""

from math import radians

import numpy as np
import pytest

from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.paint import Builder, Canvas, Polygons, colours_seen, joined, paint
from worldtune.data.scenes.weather import HOURS, WEATHERS, Light, develop

CAMERA = Camera((0.0, 0.0, 2.0), 0.0, 0.0, radians(60), (96, 160))
RED, GREEN = (0.6, 0.02, 0.02), (0.02, 0.5, 0.02)
NOON = Light("clear", "noon")


def wall(distance: float, colour: tuple[float, float, float], half: float = 1.0) -> Polygons:
    """A square that faces the camera, at the height of its eye."""
    build = Builder()
    build.add(
        [
            (distance, half, 2 - half), (distance, -half, 2 - half),
            (distance, -half, 2 + half), (distance, half, 2 + half),
        ],
        colour,
    )  # fmt: skip
    return build.build()


@pytest.mark.parametrize("first", ["near", "far"])
def test_what_stands_nearer_is_in_front_whatever_is_painted_first(first: str):
    canvas = Canvas(CAMERA.size)
    groups = {"near": (wall(6.0, RED, 0.5), 6.0), "far": (wall(12.0, GREEN, 3.0), 12.0)}
    for name in (first, "far" if first == "near" else "near"):
        group, depth = groups[name]
        canvas.paint(group, CAMERA, colours_seen(group, CAMERA, NOON), depth)

    red, green, _ = canvas.picture[48, 80].astype(int)

    assert red > green + 40
    assert canvas.depth[48, 80] == 6.0


def test_a_slanting_face_hides_only_what_is_behind_it():
    canvas = Canvas(CAMERA.size)
    build = Builder()
    corners = np.array([(4.0, 4.0, 0.0), (12.0, -4.0, 0.0), (12.0, -4.0, 4.0), (4.0, 4.0, 4.0)])
    build.add(corners, GREEN)
    slanting = build.build()
    canvas.paint_face(slanting, CAMERA, colours_seen(slanting, CAMERA, NOON), corners)
    across = wall(8.0, RED, 3.0)
    canvas.paint(across, CAMERA, colours_seen(across, CAMERA, NOON), 8.0)

    left, right = canvas.picture[48, 62].astype(int), canvas.picture[48, 98].astype(int)

    assert left[1] > left[0]  # here the slanting face is nearer
    assert right[0] > right[1]


def test_a_face_that_turns_away_is_not_painted():
    turned = wall(6.0, RED)
    away = turned.moved(turned.points[::-1].copy())
    picture = np.zeros((*CAMERA.size, 3), np.uint8)

    paint(picture, away, CAMERA, np.full((1, 3), 255))

    assert not picture.any()


def test_a_face_seen_from_both_sides_is_painted():
    turned = wall(6.0, RED)
    away = turned.moved(turned.points[::-1].copy())
    leaf = Polygons(
        away.points, away.starts, away.normals, away.colours, away.glow, away.gloss,
        np.ones(1, bool),
    )  # fmt: skip
    picture = np.zeros((*CAMERA.size, 3), np.uint8)

    paint(picture, leaf, CAMERA, np.full((1, 3), 255))

    assert picture[48, 80].tolist() == [255, 255, 255]


def test_a_group_that_reaches_behind_the_camera_is_still_painted():
    build = Builder()
    build.add([(-5.0, -4.0, 0.0), (30.0, -4.0, 0.0), (30.0, 4.0, 0.0), (-5.0, 4.0, 0.0)], GREEN)
    picture = np.zeros((*CAMERA.size, 3), np.uint8)

    paint(picture, build.build(), CAMERA, np.full((1, 3), 200))

    assert picture[-1, 80].tolist() == [200, 200, 200]
    assert not picture[0].any()


def test_joined_groups_paint_as_each_alone():
    one, other = wall(6.0, RED, 0.5), wall(12.0, GREEN, 3.0)
    both = joined([other, one])
    together, apart = (np.zeros((*CAMERA.size, 3), np.uint8) for _ in range(2))

    paint(together, both, CAMERA, colours_seen(both, CAMERA, NOON))
    for group in (other, one):
        paint(apart, group, CAMERA, colours_seen(group, CAMERA, NOON))

    assert (together == apart).all()


def test_a_face_to_the_sun_is_lighter_than_one_in_shade():
    normals = np.stack([NOON.towards_sun, -NOON.towards_sun])

    lit, shaded = NOON.shade(np.full((2, 3), 0.3), normals).mean(axis=1)

    assert lit > 2 * shaded


def test_fog_hides_the_distance_more_than_clear_air_does():
    near, far = wall(10.0, RED), wall(60.0, RED)
    contrast = {}
    for weather in ("clear", "fog"):
        light = Light(weather, "noon")
        colours = [colours_seen(w, CAMERA, light)[0].astype(int) for w in (near, far)]
        one, other = (colour[0] - colour[2] for colour in colours)
        contrast[weather] = other / one

    assert contrast["fog"] < 0.8 * contrast["clear"]


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("hour", HOURS)
def test_white_and_black_stay_apart_in_every_weather_and_hour(weather: str, hour: str):
    light = Light(weather, hour)  # type: ignore[arg-type]
    up = np.array([[0.0, 0.0, 1.0]])

    white, asphalt = (
        develop(light.through_air(light.shade(np.full((1, 3), a), up), 22.0)).mean()
        for a in (0.7, 0.1)
    )

    assert white - asphalt > 50
    assert asphalt > 25

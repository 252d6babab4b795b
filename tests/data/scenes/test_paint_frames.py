"""Frames of a clip: lamps, shadows, signals, marks, and the same pixels each time."""

from dataclasses import replace
from math import radians

import numpy as np
import pytest

from tests.data.scenes.hand_made import layout, line
from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.its import its_scene
from worldtune.data.scenes.paint_frames import Shot, paint_frames
from worldtune.data.scenes.recording import BRAKE, LEFT, RATE_HZ, Body, BodyKind, Recording
from worldtune.data.scenes.weather import Light

CAMERA = Camera((-16.0, -2.0, 6.5), 0.0, radians(-20), radians(52), (128, 224))
SAMPLES = 4 * RATE_HZ
SIZES: dict[BodyKind, tuple[float, float, float]] = {
    "car": (4.4, 1.8, 1.5), "suv": (4.7, 1.9, 1.75), "van": (5.2, 2.0, 2.3),
    "pickup": (5.3, 1.95, 1.8), "bus": (11.0, 2.5, 3.1), "truck": (8.5, 2.4, 3.3),
    "motorcycle": (2.2, 0.8, 1.5), "bicycle": (1.8, 0.65, 1.7), "pedestrian": (0.5, 0.5, 1.75),
}  # fmt: skip


def standing(kind: BodyKind, x: float, y: float, lights: int = 0) -> Body:
    """A body that stands at a place, its back to the camera."""
    track = np.tile(np.array([x, y, 0.0], np.float32), (SAMPLES, 1))
    return Body(kind, *SIZES[kind], 0, track, np.full(SAMPLES, lights, np.uint8))


def shot(*bodies: Body, light: Light | None = None, signal: int = 0, colour: str = "blue") -> Shot:
    """What the camera behind them sees."""
    recording = Recording(
        "hand_made", "normal", layout(), bodies, np.full((SAMPLES, 1), signal, np.uint8), None
    )
    return Shot(
        recording, CAMERA, light or Light("overcast", "noon"), "park", 5,
        line((-20, -9), (8, -14), (8, 12), (-20, 9)).astype(np.float64),
        (colour,) * len(bodies), 0.5, 2, 16.0,
    )  # fmt: skip


def last(wanted: Shot) -> np.ndarray:
    """The last frame, as whole numbers."""
    return list(paint_frames(wanted))[-1].astype(int)


@pytest.fixture(scope="module")
def empty() -> np.ndarray:
    """The street without anyone, under clouds."""
    return last(shot())


def changed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pixels that clearly differ, bool [h, w]."""
    return np.abs(one - other).max(axis=2) > 12


def test_frames_are_pictures_of_the_clips_size():
    frames = list(paint_frames(shot(standing("car", 4, -2))))

    assert len(frames) == 2
    assert all(frame.shape == (128, 224, 3) and frame.dtype == np.uint8 for frame in frames)


def test_the_same_shot_gives_the_same_pixels():
    scene = its_scene("accident", 3)
    begin = replace(scene.shot, frames=4)

    one, other = (np.stack(list(paint_frames(begin))) for _ in range(2))

    assert (one == other).all()


@pytest.mark.parametrize("kind", list(SIZES))
def test_every_kind_of_body_is_seen_where_it_is(kind: BodyKind, empty: np.ndarray):
    rows, columns = np.nonzero(changed(last(shot(standing(kind, 3, -2))), empty))

    assert len(rows) > (30 if kind in ("pedestrian", "bicycle", "motorcycle") else 300)
    assert abs(columns.mean() - 112) < 12  # straight ahead of the camera
    assert 40 < rows.mean() < 110


def test_a_car_has_the_colour_that_the_shot_says(empty: np.ndarray):
    seen = last(shot(standing("car", 3, -2), colour="red"))
    body = changed(seen, empty)

    red, green, blue = seen[body].mean(axis=0)

    assert red > green + 30
    assert red > blue + 30


def test_brake_lamps_shine_red_when_the_car_brakes():
    braking = last(shot(standing("car", 3, -2, BRAKE), colour="white"))
    rolling = last(shot(standing("car", 3, -2), colour="white"))
    brighter = (braking - rolling)[..., 0] > 25

    assert 4 <= brighter.sum() < 400
    red, green, blue = braking[brighter].mean(axis=0)
    assert red > 1.5 * max(green, blue)


def test_indicators_blink():
    wanted = replace(shot(standing("car", 3, -2, LEFT), colour="white"), frames=12)
    frames = np.stack(list(paint_frames(wanted))).astype(int)

    assert changed(frames[0], frames[6]).any() or changed(frames[0], frames[11]).any()


def test_a_car_throws_a_shadow_on_the_side_away_from_the_sun():
    light = Light("clear", "afternoon")
    seen, without = last(shot(standing("bus", 8, -2), light=light)), last(shot(light=light))

    darker = (without - seen).mean(axis=2) > 25
    # The afternoon's sun stands in the west, behind this camera: the shadow lies ahead, hidden in
    # part by the bus, and to its left.
    assert darker.sum() > 60


def test_signals_show_their_state():
    before_it = replace(CAMERA, position=(-8.0, -3.0, 4.5), pitch=radians(-8))
    facing = {state: last(replace(shot(signal=state), camera=before_it)) for state in (0, 2)}
    differs = changed(facing[0], facing[2])

    assert 2 <= differs.sum() < 200
    assert facing[0][differs][:, 0].max() > 200
    assert facing[2][differs][:, 1].max() > 180


def test_rain_wets_the_road_and_dusk_lights_the_lamps():
    wet = last(shot(standing("car", 3, -2), light=Light("rain", "noon")))
    dry = last(shot(standing("car", 3, -2), light=Light("overcast", "noon")))
    dusk = last(shot(standing("car", 3, -2), light=Light("clear", "dusk")))

    road = np.s_[100:124, 60:160]
    assert np.abs(wet - dry)[road].mean() > 3
    assert dusk.mean() < dry.mean() - 15


@pytest.mark.parametrize(("size", "brightest"), [((64, 112), 9), ((128, 224), 18)])
def test_rain_is_fainter_where_a_streak_is_narrower_than_a_pixel(
    size: tuple[int, int], brightest: int
):
    wet = replace(shot(light=Light("rain", "noon")), camera=replace(CAMERA, size=size))
    first, second = (frame.astype(int) for frame in list(paint_frames(wet))[:2])

    assert brightest / 2 < np.abs(first - second).max() <= brightest


def test_a_crash_leaves_marks_on_the_road():
    scene = its_scene("accident", 3)
    contact = scene.event_frame
    frames = list(paint_frames(scene.shot))
    before, after = frames[contact - 1].astype(int), frames[-1].astype(int)

    assert changed(before, after).any()


def test_people_move_their_legs_as_they_walk(empty: np.ndarray):
    track = np.zeros((SAMPLES, 3), np.float32)
    track[:, 0] = 1.0
    track[:, 1] = -4 + 1.4 * np.arange(SAMPLES) / RATE_HZ
    track[:, 2] = np.pi / 2
    walker = Body("pedestrian", *SIZES["pedestrian"], 0, track, np.zeros(SAMPLES, np.uint8))
    wanted = replace(shot(walker), frames=17)
    wide = [
        np.ptp(np.nonzero(changed(frame.astype(int), empty)[:, :].any(axis=0))[0])
        for frame in paint_frames(wanted)
    ]

    assert max(wide) >= min(wide) + 2

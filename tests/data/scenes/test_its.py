"""Which clip is shown: the event in view, and the classes alike in all else."""

from collections import Counter

import numpy as np
import pytest

from worldtune.data.scenes.its import ItsScene, its_scene, resized
from worldtune.data.scenes.paint_movers import boxes, size_of
from worldtune.data.scenes.playback import poses
from worldtune.data.scenes.style import BODY_COLOURS
from worldtune.errors import DataError

NUMBERS = range(32)


@pytest.fixture(scope="module")
def accidents() -> list[ItsScene]:
    return [its_scene("accident", number) for number in NUMBERS]


@pytest.fixture(scope="module")
def normals() -> list[ItsScene]:
    return [its_scene("normal", number) for number in NUMBERS]


def pair_box(scene: ItsScene) -> np.ndarray:
    """Left, top, right and bottom around the pair at the event, in pixels."""
    recording = scene.shot.recording
    there = {pose.body: pose for pose in poses(recording, scene.event.time_s)}
    around = np.array([
        boxes(
            size_of(recording.bodies[body]),
            np.array([[there[body].x, there[body].y, there[body].heading]]),
            scene.shot.camera,
        )[0]
        for body in scene.event.bodies
    ])  # fmt: skip
    return np.concatenate([around[:, :2].min(axis=0), around[:, 2:].max(axis=0)])


def test_an_accident_happens_inside_the_window_not_in_its_first_or_last_fifth(accidents):
    for scene in accidents:
        share = (scene.event.time_s - scene.shot.start_s) / (92 / 16)
        assert 0.2 <= share <= 0.8


def test_the_event_is_in_view_and_at_least_an_eighth_of_the_frame_wide(accidents, normals):
    for scene in [*accidents, *normals]:
        left, top, right, bottom = pair_box(scene)
        assert 0 < left < right < 224
        assert 0 < top < bottom < 128
        assert right - left >= 0.12 * 224


def test_the_camera_stands_18_to_24_metres_from_the_event(accidents, normals):
    for scene in [*accidents, *normals]:
        away = np.array(scene.shot.camera.position) - [*scene.event.place, 0.0]
        assert 18 <= np.linalg.norm(away) <= 24


def test_the_pair_stands_out_from_the_road_and_from_each_other(accidents, normals):
    for scene in [*accidents, *normals]:
        one, other = (BODY_COLOURS[scene.shot.colours[body]] for body in scene.event.bodies)
        assert one != other
        for colour in (one, other):
            assert max(abs(channel - 0.105) for channel in colour) > 0.12


def test_both_classes_meet_the_same_weather_hours_and_districts(accidents, normals):
    told = [
        [(s.shot.light.weather, s.shot.light.hour, s.shot.district) for s in scenes]
        for scenes in (accidents, normals)
    ]
    assert told[0] == told[1]
    weathers = Counter(weather for weather, _, _ in told[0])
    assert set(weathers) == {"clear", "overcast", "rain", "fog"}


def test_every_recording_is_used_before_any_comes_again(accidents):
    names = [scene.shot.recording.name for scene in accidents]
    # A recording whose event no camera sees well gives its turn to the next.
    assert len(set(names)) > 0.85 * len(names)


def test_causes_are_mixed(accidents):
    causes = Counter(s.shot.recording.contact.cause for s in accidents)
    assert set(causes) == {"red_light", "rear_end", "turning", "lane_change"}


def test_the_same_number_and_seed_give_the_same_clip():
    one, other = its_scene("accident", 7, seed=3), its_scene("accident", 7, seed=3)

    assert one.shot.camera == other.shot.camera
    assert one.shot.colours == other.shot.colours
    assert one.shot.start_s == other.shot.start_s


def test_another_seed_gives_another_clip():
    one, other = its_scene("accident", 7, seed=3), its_scene("accident", 7, seed=4)

    assert one.shot.camera != other.shot.camera


def test_another_size_shows_the_same_scene(accidents):
    large = resized(accidents[0], (704, 1280))

    assert large.shot.camera.position == accidents[0].shot.camera.position
    assert large.shot.colours == accidents[0].shot.colours


def test_a_clip_longer_than_any_recording_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"no recording of normal traffic.*fewer --frames"):
        its_scene("normal", 0, frames=400)

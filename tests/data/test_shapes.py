"""The clips that every machine has."""

from math import hypot
from pathlib import Path

import numpy as np
import pytest

from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.clips import Needs, list_clips
from worldtune.data.decode import read_window
from worldtune.data.shapes import KINDS, draw_scene, make_scene, reach_of, write_clips

WIDTH = 1.75


def gap(scene, time: float) -> float:
    """Distance between the two centres."""
    (ax, ay), (bx, by) = (motion.at(time) for motion in scene.motions)
    return hypot(ax - bx, ay - by)


def test_clips_are_written_as_a_folder_that_can_be_trained_on(tmp_path):
    written = write_clips(tmp_path, 3, size=(32, 56), frames=9, fps=10.0)

    clips = list_clips(tmp_path, Needs(9))

    assert [clips.video_path(clip) for clip in clips.clips] == written
    assert clips.summary() == "3 clips; 9 frames; 32x56; 10 fps"
    assert len({clip.caption for clip in clips.clips}) == 3


def test_the_same_seed_gives_the_same_files_and_another_others(tmp_path):
    def files(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_clips(tmp_path / name, 2, size=(32, 64), frames=5, seed=seed)

    assert files(tmp_path / "a") == files(tmp_path / "b") != files(tmp_path / "c")


@pytest.mark.parametrize("seed", range(12))
def test_normal_shapes_move_steadily_and_never_touch(seed):
    scene = make_scene("normal", WIDTH, seed)
    one, other = scene.bodies

    for time in np.linspace(0, 1, 50):
        assert gap(scene, time) > one.radius + other.radius
    for motion in scene.motions:
        half = np.array(motion.at(0.5)) - motion.at(0.0)
        assert np.allclose(np.array(motion.at(1.0)) - motion.at(0.5), half)


@pytest.mark.parametrize("seed", range(12))
def test_colliding_shapes_meet_face_to_face_and_part(seed):
    scene = make_scene("collision", WIDTH, seed)
    one, other = scene.bodies
    hit = scene.motions[0].hit

    assert gap(scene, hit) == pytest.approx(one.radius + other.radius)
    assert gap(scene, 0.0) > gap(scene, hit / 2) > gap(scene, hit)
    assert gap(scene, hit) < gap(scene, (1 + hit) / 2) < gap(scene, 1.0)
    momentum = [
        np.add(*(np.array(getattr(m, name)) for m in scene.motions))
        for name in ("velocity", "after")
    ]
    assert np.allclose(*momentum)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [16 / 9, 1.0, 9 / 16])
def test_shapes_stay_in_the_picture(kind, width):
    for seed in range(5):
        scene = make_scene(kind, width, seed)
        for body, motion in zip(scene.bodies, scene.motions, strict=True):
            for time in np.linspace(0, 1, 20):
                x, y = motion.at(time)
                assert reach_of(body) < x < width - reach_of(body)
                assert reach_of(body) < y < 1 - reach_of(body)


def test_the_caption_names_what_is_seen_within_the_encoders_tokens():
    for seed in range(20):
        for kind in KINDS:
            scene = make_scene(kind, WIDTH, seed)
            assert all(words in scene.caption for words in scene.words)
            assert ("collide" in scene.caption) == (kind == "collision")
            assert BuiltinTextEncoder().count_tokens(scene.caption) <= 64


def test_the_named_colour_is_where_the_shape_is():
    scene = make_scene("normal", WIDTH, 2)
    frames = list(draw_scene(scene, (64, 112), 5))

    for number, frame in enumerate(frames):
        for body, motion in zip(scene.bodies, scene.motions, strict=True):
            x, y = motion.at(number / 4)
            pixel = frame[int(y * 64), int(x * 64)] / 255
            assert np.abs(pixel - body.colour).max() < 0.1


def test_edges_are_soft():
    """A hard edge would show two colours only along a row through a shape."""
    scene = make_scene("normal", WIDTH, 2)
    _, y = scene.motions[0].at(0.0)
    row = next(draw_scene(scene, (64, 112), 1))[int(y * 64)].astype(int)
    steps = np.abs(np.diff(row, axis=0)).max(axis=1)

    assert (steps > 3).sum() > 4


def test_a_written_clip_shows_what_was_drawn(tmp_path):
    path = write_clips(tmp_path, 1, kind="collision", size=(64, 112), frames=7, seed=1)[0]
    drawn = np.stack(list(draw_scene(make_scene("collision", WIDTH, 1_000_003), (64, 112), 7)))

    difference = read_window(path, 0, 7).numpy().astype(float) - drawn

    assert 10 * np.log10(255**2 / (difference**2).mean()) > 33

"""From a place of the order to an item."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.drawn import draw_dataset, level, number_of
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.clips import Needs, list_clips
from worldtune.data.dataset import VideoClips
from worldtune.data.order import Place
from worldtune.data.text import EncodedCaptions
from worldtune.errors import DataError

TEXT = EncodedCaptions(BuiltinTextEncoder(16, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "clips", count=2)


@pytest.fixture
def source(folder) -> VideoClips:
    """Windows of 9 frames from clips of 12."""
    return VideoClips(list_clips(folder, Needs(9)), TEXT, 9, (24, 32), seed=5)


def test_an_item_holds_the_window_with_its_text_and_rate(source):
    place = Place(index=7, epoch=0, clip=1)
    item = source.read(place)
    start = source.window_start(place)

    assert item.video.shape == (3, 9, 24, 32)
    frames = item.video.permute(1, 2, 3, 0).numpy()
    assert [number_of(frame) for frame in frames] == list(range(start, start + 9))
    assert (item.name, item.index, item.fps) == ("clip_1", 7, 24.0)
    assert item.caption == "Clip number 1 of a grey screen."
    assert item.text.equal(BuiltinTextEncoder(16, 8).encode([item.caption])[0])


def test_every_window_that_fits_is_drawn_about_as_often_the_last_too(source):
    starts = Counter(source.window_start(Place(i, 0, 0)) for i in range(2000))

    assert set(starts) == {0, 1, 2, 3}
    # Five deviations of a count of 500.
    assert all(abs(count - 500) < 100 for count in starts.values())


def test_a_clip_of_exactly_the_frames_asked_for_is_read(folder):
    source = VideoClips(list_clips(folder, Needs(12)), TEXT, 12, (24, 32))
    frames = source.read(Place(0, 0, 0)).video.permute(1, 2, 3, 0).numpy()

    assert [number_of(frame) for frame in frames] == list(range(12))


def test_the_window_is_the_same_for_the_same_place_and_seed_only(source):
    places = [Place(i, 0, 0) for i in range(40)]
    windows = [source.window_start(place) for place in places]

    assert [source.window_start(place) for place in places] == windows
    assert [replace(source, seed=6).window_start(place) for place in places] != windows


def test_a_crop_keeps_shapes_and_a_stretch_does_not(source):
    """The bright half begins in the middle of either, but a crop to a square cuts the sides."""
    place = Place(0, 0, 0)
    square = replace(source, video_size=(24, 24))
    stretched = square.read(place).video
    cropped = replace(square, resize="crop").read(place).video

    assert stretched.shape == cropped.shape == (3, 9, 24, 24)
    assert not torch.equal(stretched, cropped)


def test_the_clips_size_in_bytes_is_told(source):
    assert source.item_bytes == source.read(Place(0, 0, 0)).video.nbytes
    assert len(source) == 2
    assert source.name_of(1) == "clip_1"


def test_a_clip_that_went_bad_during_the_run_is_named(tmp_path):
    folder = draw_dataset(tmp_path / "clips", count=1)
    source = VideoClips(list_clips(folder, Needs(9)), TEXT, 9, (24, 32))
    (folder / "videos/clip_0.mp4").write_bytes(b"gone")

    with pytest.raises(DataError, match=r"videos/clip_0\.mp4: cannot be opened as a video"):
        source.read(Place(0, 0, 0))


def test_the_brightness_of_drawn_frames_tells_their_number():
    """A check of the tests' own ruler."""
    assert [number_of(np.full((8, 8, 3), level(n), np.uint8)) for n in (0, 7, 42)] == [0, 7, 42]

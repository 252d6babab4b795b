"""Clips of noise."""

import pytest

from worldtune.data.batch import collate
from worldtune.data.mock import MockClips
from worldtune.data.order import Place

SMALL = MockClips(num_frames=5, video_size=(16, 24), text_shape=(7, 9))


def test_noise_has_the_sizes_of_the_recipe():
    item = SMALL.read(Place(3, 0, 11))

    assert item.video.shape == (3, 5, 16, 24)
    assert item.video.nbytes == SMALL.item_bytes
    assert item.text.shape == (7, 9)
    assert (item.fps, item.name, item.index) == (24.0, "mock_00011", 3)


def test_pixels_are_uniform_and_text_is_normal():
    item = MockClips(9, (64, 64), (64, 64)).read(Place(0, 0, 0))

    # Means of 110592 uniform and 4096 normal numbers, five deviations.
    assert abs(item.video.float().mean() - 127.5) < 1.2
    assert abs(item.text.mean()) < 0.08
    assert abs(item.text.std() - 1) < 0.06


def test_a_clip_is_the_same_each_time_and_unlike_the_others():
    once, again, other = (SMALL.read(Place(i, 0, clip)) for i, clip in ((0, 4), (9, 4), (0, 5)))

    assert once.video.equal(again.video)
    assert once.text.equal(again.text)
    assert not once.video.equal(other.video)


@pytest.mark.parametrize(
    ("kind", "frames"), [("image", [1] * 8), ("both", [5, 5, 1, 1, 5, 5, 1, 1])]
)
def test_images_are_clips_of_one_frame(kind, frames):
    source = MockClips(5, (16, 24), (7, 9), kind=kind, micro_batch=2)
    items = [source.read(Place(i, 0, i)) for i in range(8)]

    assert [item.video.shape[1] for item in items] == frames
    assert [item.fps for item in items] == [1.0 if n == 1 else 24.0 for n in frames]
    assert len(collate(items[2:4])) == 2


def test_there_are_as_many_clips_as_in_the_original():
    assert len(SMALL) == SMALL.order(0).epoch_length == 32768
    assert SMALL.fingerprint() != MockClips(6, (16, 24), (7, 9)).fingerprint()

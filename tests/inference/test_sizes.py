"""The published sizes, and which one a clip gets."""

import pytest

from worldtune.inference.sizes import SIZES, choose_size, size_mistakes


def test_every_published_size_makes_whole_tokens_of_both_tokenizers():
    for sizes in SIZES.values():
        for height, width in sizes.values():
            assert height % 16 == width % 16 == 0


def test_turning_a_ratio_turns_the_size():
    for sizes in SIZES.values():
        assert sizes["4:3"] == sizes["3:4"][::-1]
        assert sizes["16:9"] == sizes["9:16"][::-1]
        assert sizes["1:1"][0] == sizes["1:1"][1]
        assert sizes["16:9"][1] > sizes["16:9"][0]


@pytest.mark.parametrize(
    ("resolution", "ratio", "trained", "expected"),
    [
        (None, None, "720", (32, 48)),  # nothing is asked for: the run's own
        (None, "1:1", "480", (480, 480)),
        ("512", None, "720", (384, 640)),
        ("720", "9:16", None, (1280, 704)),
        (None, "16:9", None, (704, 1280)),
    ],
)
def test_a_clip_gets_the_size_asked_for_or_the_trained_one(resolution, ratio, trained, expected):
    size = choose_size(resolution, ratio, trained_resolution=trained, trained_size=(32, 48))

    assert size == expected


def test_every_side_that_cannot_be_is_told():
    assert size_mistakes((704, 1280), 16, (1920, 1920)) == []
    told = size_mistakes((40, 2000), 16, (1920, 1920))

    assert [mistake.partition(";")[0] for mistake in told] == [
        "the height 40 is no multiple of 16",
        "the width 2000 is above 1920, the network's largest",
    ]

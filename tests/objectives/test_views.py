"""Given frames of several cameras."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.config.condition_location import Location, parse_location
from worldtune.errors import DataError, RecipeError
from worldtune.objectives.views import given_mask, latent_view_indices


def _given(name: str, *, first_n: int = 0, views: int = 3, clips: int = 1, **settings) -> list:
    """The mask as one row of views, each a string of its two to three frames."""
    location = parse_location(name, views, **settings)
    mask = given_mask(location, 0, range(clips), num_views=views, num_latents=3, first_n=first_n)
    rows = mask[:, 0, :, 0, 0].int().unflatten(1, (views, 3)).tolist()
    return [["".join(map(str, view)) for view in row] for row in rows]


@pytest.mark.parametrize(
    ("name", "first_n", "expected"),
    [
        ("first_cam", 2, ["111", "000", "000"]),
        ("first_cam_and_first_n", 1, ["111", "100", "100"]),
        ("first_n", 2, ["110", "110", "110"]),
        ("first_n", 0, ["000", "000", "000"]),
        ("fixed_cam_1", 2, ["000", "111", "000"]),
        ("fixed_cam_0_2", 2, ["111", "000", "111"]),
        ("fixed_cam_and_first_n_2", 1, ["100", "100", "111"]),
        ("fixed_cam_and_first_n_0_1", 1, ["111", "111", "100"]),
    ],
)
def test_a_location_gives_its_views_and_first_frames(name, first_n, expected):
    assert _given(name, first_n=first_n) == [expected]


def test_the_random_number_of_first_frames_reaches_from_0_to_the_largest():
    rows = _given("first_cam_and_random_n", first_n=2, clips=300)

    assert {tuple(row) for row in rows} == {
        ("111", "000", "000"),
        ("111", "100", "100"),
        ("111", "110", "110"),
    }
    assert {row[0] for row in _given("first_random_n", first_n=1, clips=50)} == {"000", "100"}


def test_any_cam_gives_each_number_of_views_and_each_view():
    rows = _given("any_cam", views=4, clips=300, view_range=(1, 2))

    assert {row.count("111") for row in rows} == {1, 2}
    assert len({tuple(row) for row in rows}) == 4 + 6


def test_any_cam_and_random_n_gives_first_frames_of_the_other_views():
    rows = _given("any_cam_and_random_n", first_n=1, clips=100, view_range=(1, 1))

    assert {tuple(sorted(row)) for row in rows} == {
        ("000", "000", "111"),
        ("100", "100", "111"),
    }


@settings(max_examples=20, deadline=None)
@given(order=st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_a_clip_gives_the_same_views_whatever_else_is_in_the_batch(order):
    location = parse_location("any_cam_and_random_n", 5, (1, 3))

    def draw(indices):
        return given_mask(location, 3, indices, num_views=5, num_latents=4, first_n=2)

    assert torch.equal(draw(order), torch.cat([draw([index]) for index in order]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("first_camera", "did you mean 'first_cam'"),
        ("fixed_cam", "did you mean 'fixed_cam_0'"),
        ("fixed_cam_x", "not a place for given frames"),
        ("fixed_cam_3", "names view 3, but there are 3 views"),
        ("fixed_cam_0_1_2", "gives all 3 views"),
        ("any_cam", "set n_cond_view_min and n_cond_view_max"),
    ],
)
def test_a_location_that_cannot_be_is_refused_by_name(name, message):
    with pytest.raises(RecipeError, match=message):
        parse_location(name, 3)


def test_first_frames_that_leave_nothing_to_predict_are_refused():
    with pytest.raises(RecipeError, match="3 first latent frames of 3"):
        given_mask(Location((), "fixed"), 0, [0], num_views=2, num_latents=3, first_n=3)


def test_57_frames_of_a_view_become_8_view_numbers():
    pixels = torch.arange(3).repeat_interleave(57)[None]

    reduced = latent_view_indices(pixels, num_views=3)

    assert reduced.tolist() == [[0] * 8 + [1] * 8 + [2] * 8]


def test_the_view_number_of_a_latent_frame_is_that_of_its_first_pixel_frame():
    numbered = torch.arange(17)[None]

    assert latent_view_indices(numbered, num_views=1).tolist() == [[0, 1, 9]]
    assert latent_view_indices(numbered, num_views=1, temporal_factor=4).tolist() == [
        [0, 1, 5, 9, 13]
    ]


@pytest.mark.parametrize("frames", [3 * 56, 3 * 57 + 1])
def test_view_numbers_that_fill_no_whole_latent_frames_are_refused(frames):
    with pytest.raises(DataError, match=f"{frames} view numbers do not fit 3 views"):
        latent_view_indices(torch.zeros(1, frames), num_views=3)

"""The frames that a clip begins with, and every way in which an input can be wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.inference.fixtures import picture
from tests.reference.cover_crop import cover_and_crop
from worldtune.data.video import write_video
from worldtune.errors import DataError
from worldtune.inference.clip_input import (
    check_input,
    conditioning_clip,
    read_given,
    read_given_frames,
    read_image,
)
from worldtune.models.builtin_tokenizer import BuiltinTokenizer


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(9, 40),
    width=st.integers(9, 40),
    rows=st.integers(8, 24),
    columns=st.integers(8, 24),
    seed=st.integers(0, 99),
)
def test_an_image_is_scaled_to_cover_and_its_middle_cut_out(
    tmp_path_factory, height, width, rows, columns, seed
):
    """Odd margins too: int(round(margin / 2)) is cut off at the top and at the left."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path = tmp_path_factory.mktemp("crop") / "image.png"
    Image.fromarray(image).save(path)

    ours = read_given_frames(path, 1, (rows, columns))[:, 0].permute(1, 2, 0).numpy()

    exact = cover_and_crop(image, (rows, columns))
    # Float32 may fall just under a whole number that float64 reaches.
    low, high = np.floor(exact - 1e-3), np.floor(exact + 1e-3)
    assert ((ours == low) | (ours == high)).all()


@pytest.mark.parametrize(("margin", "left"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4), (747, 374)])
def test_half_of_an_odd_margin_is_rounded_to_the_even_number(tmp_path, margin, left):
    image = np.zeros((16, 16 + margin, 3), np.uint8)
    image[:, left : left + 16] = 255
    Image.fromarray(image).save(tmp_path / "image.png")

    assert (read_given_frames(tmp_path / "image.png", 1, (16, 16)) == 255).all()


def test_colours_keep_their_places(image_file):
    frame = read_given_frames(image_file, 1, (40, 80))

    assert torch.equal(frame[:, 0].permute(1, 2, 0), torch.from_numpy(picture(40, 80)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_is_turned_as_its_camera_says(tmp_path, orientation):
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    upright = picture(24, 40)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What the sensor saw: the tag says how many quarter turns clockwise make it upright.
    Image.fromarray(np.rot90(upright, turns)).save(tmp_path / "photo.png", exif=exif)

    assert np.array_equal(read_image(tmp_path / "photo.png").numpy(), upright)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "PNG", "JPG"])
def test_every_kind_of_image_is_read(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(picture(32, 48)).save(path)
    frame = read_given_frames(path, 1, (32, 48)).float()

    assert (frame[:, 0].permute(1, 2, 0) - torch.from_numpy(picture(32, 48))).abs().mean() < 6


def test_a_grey_image_becomes_a_colour_image(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "grey.png")

    assert (read_image(tmp_path / "grey.png") == 77).all()
    assert read_image(tmp_path / "grey.png").shape == (8, 8, 3)


@pytest.mark.parametrize("num_given", [1, 5])
def test_a_video_gives_its_last_frames(video_file, num_given):
    frames = read_given_frames(video_file, num_given, (40, 80)).float()

    assert frames.shape == (3, num_given, 40, 80)
    levels = frames.mean((0, 2, 3))
    expected = torch.tensor([20.0 * k for k in range(12 - num_given, 12)])
    assert (levels - expected).abs().max() < 2


def test_black_follows_an_image_and_the_last_frame_follows_a_video(image_file, video_file):
    still, rest = read_given(image_file, 1, (32, 48))
    clip = conditioning_clip(still, 9, rest)
    assert torch.equal(clip[0, :, :1], still)
    assert (clip[0, :, 1:] == -1).all()

    moving, rest = read_given(video_file, 5, (32, 48))
    clip = conditioning_clip(moving, 9, rest)
    assert torch.equal(clip[0, :, :5], moving)
    assert (clip[0, :, 5:] == moving[:, 4:5]).all()


@settings(max_examples=10, deadline=None)
@given(latents=st.integers(1, 3), seed=st.integers(0, 9))
def test_the_latents_of_given_frames_do_not_depend_on_the_rest(latents, seed):
    frames = torch.rand(3, 4 * (latents - 1) + 1, 16, 16, generator=torch.manual_seed(seed))
    tokenizer = BuiltinTokenizer()
    black, last = (
        tokenizer.encode(conditioning_clip(frames * 2 - 1, 17, rest)) for rest in ("black", "last")
    )

    assert torch.equal(black[:, :, :latents], last[:, :, :latents])


def test_an_image_gives_no_five_frames(image_file):
    with pytest.raises(DataError, match=r"an image gives 1 frame, and 5 were asked for"):
        check_input(image_file, 5)


def test_a_video_that_is_too_short_is_refused(tmp_path):
    path = tmp_path / "short.mp4"
    write_video(path, torch.zeros(3, 16, 16, 3, dtype=torch.uint8), 10.0)
    check_input(path, 1)

    with pytest.raises(DataError, match=r"has 3 frames, and the last 5 were asked for"):
        check_input(path, 5)


@pytest.mark.parametrize("name", ["no.png", "no.mp4"])
def test_an_input_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"does not exist"):
        check_input(tmp_path / name, 1)


@pytest.mark.parametrize("name", ["folder.png", "folder.mp4"])
def test_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()

    with pytest.raises(DataError, match=r"is a folder"):
        check_input(tmp_path / name, 1)


def test_what_is_named_an_image_and_is_none_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("hello")

    with pytest.raises(DataError, match=r"is not an image, whatever its name says"):
        check_input(tmp_path / "text.png", 1)


def test_an_image_that_breaks_off_is_refused(tmp_path, image_file):
    whole = image_file.read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataError, match=r"cannot be read as an image"):
        check_input(tmp_path / "half.png", 1)


def test_an_image_of_16_bits_is_refused_and_not_cut_off(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")

    with pytest.raises(DataError, match=r"more than 8 bits a channel"):
        check_input(tmp_path / "deep.png", 1)

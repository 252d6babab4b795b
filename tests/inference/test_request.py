"""Everything that can be wrong with what is asked for, told before anything is made."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldtune.errors import DataError
from worldtune.inference.request import (
    LARGEST_SEED,
    ClipRequest,
    Wishes,
    read_batch,
    request_mistakes,
)

FRAMES = 9


@pytest.fixture
def request_of(tmp_path, image_file):
    """A request without a mistake, changed as a test says."""

    def make(**changes) -> ClipRequest:
        right = ClipRequest(prompt="a car", output=tmp_path / "clip.mp4", input=image_file)
        return replace(right, **changes)

    return make


def write_batch(folder: Path, entries) -> Path:
    path = folder / "batch.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def entry(**changes):
    return {"input_video": "in.mp4", "prompt": "a car", "output_video": "out.mp4"} | changes


def test_a_request_without_a_mistake_passes(request_of, video_file):
    assert request_mistakes([request_of()], Wishes(), FRAMES) == []
    assert request_mistakes([request_of(input=video_file)], Wishes(num_given=5), FRAMES) == []


def test_a_batch_is_read_in_its_order(tmp_path):
    path = write_batch(
        tmp_path, [entry(), entry(output_video="b.mp4", prompt="", input_video="i.png")]
    )

    assert read_batch(path) == [
        ClipRequest("a car", Path("out.mp4"), Path("in.mp4")),
        ClipRequest("", Path("b.mp4"), Path("i.png")),
    ]


def test_all_mistakes_of_a_batch_are_told_at_once(tmp_path):
    entries = [
        entry(promt="x"),
        {"prompt": "a car", "input_video": ""},
        "text",
        entry(prompt=3, output_video=None),
        entry(),
    ]
    with pytest.raises(DataError) as told:
        read_batch(write_batch(tmp_path, entries))

    lines = [line.strip() for line in str(told.value).splitlines()[1:]]
    assert lines == [
        "entry 1: 'promt' is no key of an entry; did you mean 'prompt'?",
        "entry 2: output_video is missing",
        "entry 2: input_video is empty",
        "entry 3: expected {input_video, prompt, output_video}, not text",
        "entry 4: prompt is a number; expected text",
        "entry 4: output_video is nothing; expected text",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{]", r"is not JSON \(line 1"),
        ("[]", "not an empty list"),
        ('{"prompt": ""}', "not an object"),
        ("3", "not a number"),
    ],
)
def test_a_batch_that_is_no_list_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_batch(write_batch(tmp_path, content))


def test_a_batch_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_batch(tmp_path / "no.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_batch(tmp_path)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"num_given": 3}, "--num-conditional-frames is 3; expected 1 or 5"),
        ({"steps": 0}, "--steps is 0; expected 1 or more"),
        ({"num_chunks": 0}, "--num-chunks is 0; expected 1 or more"),
        ({"fps": 0.0}, "--fps is 0; expected a rate above 0, such as 16"),
        ({"seed": -1}, f"--seed is -1; expected 0 to {LARGEST_SEED}, chunks included"),
        (
            {"seed": LARGEST_SEED, "num_chunks": 2},
            f"--seed is {LARGEST_SEED}; expected 0 to {LARGEST_SEED}, chunks included",
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(request_of, wishes, message):
    assert request_mistakes([request_of()], Wishes(**wishes), FRAMES) == [message]


def test_given_frames_that_fill_the_clip_are_refused(request_of, video_file):
    told = request_mistakes([request_of(input=video_file)], Wishes(num_given=5), 5)

    assert told == ["--num-conditional-frames 5 leaves nothing to make of clips of 5 frames; use 1"]


def test_an_input_is_expected(request_of):
    (told,) = request_mistakes([request_of(input=None)], Wishes(), FRAMES)

    assert told.startswith("the input is missing (--input, or input_video in a batch)")


def test_what_is_there_is_not_written_over_unless_forced(request_of, tmp_path):
    (tmp_path / "clip.json").write_text("{}")
    (told,) = request_mistakes([request_of()], Wishes(), FRAMES)
    assert told == f"{tmp_path / 'clip.json'}: exists already; use --force to write over it"

    (tmp_path / "clip.mp4").write_text("")
    (told,) = request_mistakes([request_of()], Wishes(), FRAMES)
    assert told.startswith(f"{tmp_path / 'clip.mp4'} and {tmp_path / 'clip.json'}: exists already")
    assert request_mistakes([request_of()], Wishes(force=True), FRAMES) == []


def test_the_input_is_never_written_over(request_of, video_file):
    told = request_mistakes(
        [request_of(input=video_file, output=video_file)], Wishes(force=True), FRAMES
    )

    assert told == [f"{video_file}: is the input too, and would be written over"]


def test_a_name_that_is_no_videos_is_refused(request_of, tmp_path):
    (told,) = request_mistakes([request_of(output=tmp_path / "clip.avi")], Wishes(), FRAMES)

    assert told == (
        f"{tmp_path / 'clip.avi'}: this model makes videos; expected a name that ends in .mp4"
    )


def test_a_folder_is_no_output(request_of, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (told,) = request_mistakes([request_of(output=tmp_path / "folder.mp4")], Wishes(), FRAMES)

    assert told == f"{tmp_path / 'folder.mp4'}: is a folder; expected a file to write"


def test_an_output_below_a_file_cannot_be_written(request_of, image_file):
    below = image_file / "sub" / "clip.mp4"
    (told,) = request_mistakes([request_of(output=below)], Wishes(), FRAMES)

    assert told.startswith(f"{below}: cannot be written: {image_file} is no folder")


def test_a_model_of_single_images_takes_no_input_and_writes_an_image(request_of, tmp_path):
    right = request_of(input=None, output=tmp_path / "image.png")
    assert request_mistakes([right], Wishes(), 1) == []

    told = request_mistakes([request_of()], Wishes(num_chunks=2), 1)
    assert [line.partition(": ")[2] for line in told[1:]] == [
        "this model makes single images; expected a name that ends in .png or .jpg or .jpeg "
        "or .webp",
        "this model makes single images from text; give no input",
    ]
    assert told[0].startswith("--num-chunks makes long videos")


def test_two_entries_with_one_output_are_told_with_all_other_mistakes(request_of, tmp_path):
    entries = [request_of(), request_of(input=None), request_of(output=tmp_path / "c.mov")]
    told = request_mistakes(entries, Wishes(steps=0), FRAMES)

    assert [line.split(";")[0] for line in told] == [
        "--steps is 0",
        "entry 2: the input is missing (--input, or input_video in a batch)",
        f"entry 2: {tmp_path / 'clip.mp4'}: is the output of entry 1 too",
        f"entry 3: {tmp_path / 'c.mov'}: this model makes videos",
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    )
)
def test_any_json_is_read_or_refused_with_a_message(tmp_path_factory, content):
    path = write_batch(tmp_path_factory.mktemp("any"), json.dumps(content))
    try:
        requests = read_batch(path)
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either outcome is right
    else:
        assert len(requests) == len(content)

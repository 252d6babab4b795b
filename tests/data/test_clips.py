"""Listing a data set: every bad clip is told before the first step."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.drawn import draw_clip, draw_dataset
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.clip_list import ClipList
from worldtune.data.clips import Needs, check_enough, list_clips
from worldtune.errors import DataError, RecipeError

NEEDS = Needs(num_frames=10)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "clips", count=4)


@pytest.fixture
def dataset(drawn, tmp_path) -> Path:
    """Four good clips of 12 frames."""
    return shutil.copytree(drawn, tmp_path / "clips")


def add_pickles(folder: Path, tokens: int = 3, width: int = 8) -> None:
    (folder / "t5_xxl").mkdir(exist_ok=True)
    for video in (folder / "videos").iterdir():
        content = pickle.dumps([np.ones((tokens, width), np.float16)])
        (folder / "t5_xxl" / f"{video.stem}.pickle").write_bytes(content)


def test_clips_are_listed_by_name_with_their_captions(dataset):
    clips = list_clips(dataset, NEEDS)

    assert [clip.name for clip in clips.clips] == ["clip_0", "clip_1", "clip_2", "clip_3"]
    assert clips.clips[2].caption == "Clip number 2 of a grey screen."
    assert (clips.clips[0].frames, clips.clips[0].fps) == (12, 24.0)
    assert clips.summary() == "4 clips; 12 frames; 48x64; 24 fps"


def _faststart(video: Path) -> bytes:
    """The clip with its index in front of its data."""
    return draw_clip(video, container_options={"movflags": "faststart"}).read_bytes()


def cut_in_its_data(video: Path, caption: Path) -> None:
    video.write_bytes(_faststart(video)[:-200])


def end_never_written(video: Path, caption: Path) -> None:
    video.write_bytes(_faststart(video)[:-60] + bytes(60))


def cut_before_its_index(video: Path, caption: Path) -> None:
    video.write_bytes(video.read_bytes()[:1000])


def cut_in_its_index(video: Path, caption: Path) -> None:
    video.write_bytes(video.read_bytes()[:-10])


def never_finished(video: Path, caption: Path) -> None:
    """A recorder writes the data's length, here still 0, and the index at the end."""
    whole = video.read_bytes()
    at = whole.index(b"mdat")
    video.write_bytes(whole[: at - 4] + bytes(4) + whole[at : at + 500])


def empty(video: Path, caption: Path) -> None:
    video.write_bytes(b"")


def sound_only(video: Path, caption: Path) -> None:
    draw_clip(video, sound=True, pictures=False)


def text(video: Path, caption: Path) -> None:
    video.write_text("not a video at all")


def a_pointer(video: Path, caption: Path) -> None:
    video.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def a_web_page(video: Path, caption: Path) -> None:
    video.write_text("<html>404</html>")


def a_folder(video: Path, caption: Path) -> None:
    video.unlink()
    video.mkdir()


def another_type(video: Path, caption: Path) -> None:
    video.rename(video.with_suffix(".avi"))


def too_short(video: Path, caption: Path) -> None:
    draw_clip(video, frames=9)


def no_caption(video: Path, caption: Path) -> None:
    caption.unlink()


def another_encoding(video: Path, caption: Path) -> None:
    caption.write_bytes("stra\xdfe".encode("latin-1"))


def an_empty_caption(video: Path, caption: Path) -> None:
    caption.write_text(" \n")


REASONS = {
    cut_in_its_data: r"videos/clip_1\.mp4: is cut short: 200 bytes are missing",
    end_never_written: r"videos/clip_1\.mp4: was never finished: its end holds only zeros",
    cut_before_its_index: r"videos/clip_1\.mp4: is cut short: the file ends before its index",
    cut_in_its_index: r"videos/clip_1\.mp4: is cut short: 10 bytes are missing",
    never_finished: r"videos/clip_1\.mp4: was never finished: it has no index",
    empty: r"videos/clip_1\.mp4: is empty \(0 bytes\)",
    sound_only: r"videos/clip_1\.mp4: has no picture, only sound",
    text: r"videos/clip_1\.mp4: cannot be opened as a video \(invalid data",
    a_pointer: r"videos/clip_1\.mp4: is a Git LFS pointer, no video; fetch it by 'git lfs pull'",
    a_web_page: r"videos/clip_1\.mp4: is a web page, no video",
    a_folder: r"videos/clip_1\.mp4: is a folder; expected a video file",
    another_type: r"videos/clip_1\.avi: is \.avi, not \.mp4; convert it",
    too_short: r"videos/clip_1\.mp4: has 9 frames, fewer than num_frames=10",
    no_caption: r"videos/clip_1\.mp4: metas/clip_1\.txt is missing",
    another_encoding: r"metas/clip_1\.txt is not UTF-8 \(byte 0xdf at 4\)",
    an_empty_caption: r"metas/clip_1\.txt is empty",
}


@pytest.mark.parametrize(
    ("spoil", "reason"), REASONS.items(), ids=[how.__name__ for how in REASONS]
)
def test_a_bad_clip_stops_the_run_with_its_reason(dataset, spoil, reason):
    spoil(dataset / "videos/clip_1.mp4", dataset / "metas/clip_1.txt")

    with pytest.raises(DataError, match=reason) as told:
        list_clips(dataset, NEEDS)
    assert "1 of 4 clips" in str(told.value)
    assert "on_bad_clip=skip" in str(told.value)


def test_all_bad_clips_are_told_at_once_with_all_their_faults(dataset):
    (dataset / "videos/clip_0.mp4").write_bytes(b"")
    (dataset / "metas/clip_0.txt").unlink()
    (dataset / "metas/clip_3.txt").write_text("")

    with pytest.raises(DataError) as told:
        list_clips(dataset, NEEDS)

    assert str(told.value).splitlines()[1:3] == [
        "  videos/clip_0.mp4: is empty (0 bytes); metas/clip_0.txt is missing",
        "  videos/clip_3.mp4: metas/clip_3.txt is empty",
    ]


def test_bad_clips_may_be_skipped_up_to_a_share_and_are_told(dataset):
    (dataset / "videos/clip_0.mp4").write_bytes(b"")

    clips = list_clips(dataset, NEEDS, on_bad_clip="skip", max_bad_share=0.25)

    assert [clip.name for clip in clips.clips] == ["clip_1", "clip_2", "clip_3"]
    assert [str(bad) for bad in clips.left_out] == ["videos/clip_0.mp4: is empty (0 bytes)"]
    assert clips.notices == ("1 of 4 clips are left out:\n  videos/clip_0.mp4: is empty (0 bytes)",)


def test_more_bad_clips_than_the_share_stop_the_run(dataset):
    (dataset / "videos/clip_0.mp4").write_bytes(b"")

    with pytest.raises(DataError, match=r"1 of 4 clips .* a share of 0\.25, .*max_bad_share=0\.05"):
        list_clips(dataset, NEEDS, on_bad_clip="skip")


def test_damage_in_the_middle_is_found_by_a_thorough_check(dataset):
    video = dataset / "videos/clip_2.mp4"
    draw_clip(video, frames=30)
    data = bytearray(video.read_bytes())
    middle = data.index(b"mdat") + 900
    data[middle : middle + 200] = bytes(200)
    video.write_bytes(data)

    list_clips(dataset, NEEDS)
    with pytest.raises(DataError, match=r"clip_2\.mp4: frame \d+ is damaged"):
        list_clips(dataset, Needs(10, thorough=True))


def test_captions_are_not_needed_where_text_embeddings_are(dataset):
    add_pickles(dataset)
    shutil.rmtree(dataset / "metas")

    clips = list_clips(dataset, Needs(10, "embedding", text_width=8))

    assert len(clips) == 4
    assert clips.clips[0].caption == ""
    assert clips.embedding_path(clips.clips[0]) == dataset / "t5_xxl/clip_0.pickle"


def test_a_missing_or_wrong_text_embedding_is_a_bad_clip(dataset):
    add_pickles(dataset)
    (dataset / "t5_xxl/clip_0.pickle").unlink()
    (dataset / "t5_xxl/clip_2.pickle").write_bytes(pickle.dumps("words"))

    with pytest.raises(DataError) as told:
        list_clips(dataset, Needs(10, "embedding", text_width=8))

    assert "videos/clip_0.mp4: t5_xxl/clip_0.pickle is missing" in str(told.value)
    assert "videos/clip_2.mp4: t5_xxl/clip_2.pickle holds a str" in str(told.value)


def test_a_text_embedding_that_is_too_long_is_told(dataset):
    add_pickles(dataset, tokens=5)

    clips = list_clips(dataset, Needs(10, "embedding", text_width=8, text_tokens=4))

    assert clips.notices == (
        "4 clips have more than 4 tokens of text, the rest is cut: "
        "clip_0 (5), clip_1 (5), clip_2 (5), clip_3 (5)",
    )


def test_a_caption_that_is_too_long_for_its_encoder_is_told(dataset):
    encoder = BuiltinTextEncoder(16, 8)
    needs = Needs(10, text_tokens=encoder.max_tokens, count_tokens=encoder.count_tokens)
    assert list_clips(dataset, needs).notices == ()

    (dataset / "metas/clip_2.txt").write_text("one two three four five six seven eight")
    assert list_clips(dataset, needs).notices == (
        "1 clips have more than 8 tokens of text, the rest is cut: clip_2 (9)",
    )


def test_folders_are_mixed_by_name(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "mix/normal")
    shutil.copytree(dataset, tmp_path / "mix/accident")

    clips = list_clips(tmp_path / "mix", NEEDS, mix={"normal": 3, "accident": 1})

    assert [group.name for group in clips.groups] == ["normal", "accident"]
    assert clips.clips[4].name == "accident/clip_0"
    assert clips.video_path(clips.clips[4]).is_file()
    drawn = [clips.order(0).at(place).clip // 4 for place in range(4)]
    assert sorted(drawn) == [0, 0, 0, 1]


def test_a_mixed_folder_that_is_missing_is_told_with_its_near_name(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "mix/accident")

    with pytest.raises(DataError, match=r"has no folder accidents; did you mean \S*/accident\?"):
        list_clips(tmp_path / "mix", NEEDS, mix={"accidents": 1.0})


@pytest.mark.parametrize("name", ["/elsewhere/clips", "../clips"])
def test_a_mixed_folder_outside_the_data_set_is_refused(dataset, name):
    with pytest.raises(DataError, match="mix names folders that lie in"):
        list_clips(dataset.parent, NEEDS, mix={name: 1.0})


def test_a_missing_folder_is_told_with_the_layout_and_a_near_name(dataset):
    with pytest.raises(DataError, match=r"clip does not exist; did you mean \S*/clips\?") as told:
        list_clips(dataset.parent / "clip", NEEDS)
    assert "expected videos/NAME.mp4 with captions in metas/NAME.txt" in str(told.value)


def test_a_misspelt_videos_folder_is_told(dataset):
    (dataset / "videos").rename(dataset / "video")

    with pytest.raises(DataError, match=r"has no videos/; did you mean \S*/video\?, only metas"):
        list_clips(dataset, NEEDS)


def test_clips_outside_videos_are_told(dataset):
    shutil.copy(dataset / "videos/clip_0.mp4", dataset / "clip_0.mp4")
    shutil.rmtree(dataset / "videos")

    with pytest.raises(DataError, match=r"holds \.mp4 files itself"):
        list_clips(dataset, NEEDS)


def test_a_folder_of_folders_is_told_how_to_mix(dataset):
    with pytest.raises(DataError, match=r"its folders clips do; .* dataset\.mix=\{\S*/clips: 1\}"):
        list_clips(dataset.parent, NEEDS)


def test_an_empty_videos_folder_is_an_error(tmp_path):
    (tmp_path / "videos").mkdir()

    with pytest.raises(DataError, match=r"videos holds no \.mp4 file, it is empty"):
        list_clips(tmp_path, NEEDS)


def test_fewer_clips_than_a_batch_are_an_error(dataset):
    clips = list_clips(dataset, NEEDS)

    check_enough(clips, batch_size=2, data_ranks=2)
    with pytest.raises(DataError, match=r"4 usable clips, fewer than one batch: .* takes 5"):
        check_enough(clips, batch_size=5, data_ranks=1)


def test_the_list_survives_json_and_a_move(dataset, tmp_path):
    clips = list_clips(dataset, NEEDS)
    moved = shutil.copytree(dataset, tmp_path / "elsewhere")

    again = ClipList.from_json(json.loads(json.dumps(clips.to_json())), dataset)

    assert again == clips
    assert list_clips(moved, NEEDS).fingerprint() == clips.fingerprint()


def test_the_fingerprint_tells_changed_captions_files_and_names(dataset):
    before = list_clips(dataset, NEEDS)
    (dataset / "metas/clip_0.txt").write_text("Another caption.")
    draw_clip(dataset / "videos/clip_1.mp4", frames=13)
    (dataset / "videos/clip_2.mp4").rename(dataset / "videos/clip_9.mp4")
    (dataset / "metas/clip_2.txt").rename(dataset / "metas/clip_9.txt")

    after = list_clips(dataset, NEEDS)

    assert after.fingerprint() != before.fingerprint()
    assert after.changes_since(before) == [
        "1 clips are gone: clip_2",
        "1 clips are new: clip_9",
        "2 clips are changed: clip_0, clip_1",
    ]
    assert before.changes_since(before) == []


def test_a_changed_mix_is_told(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "mix/a")
    shutil.copytree(dataset, tmp_path / "mix/b")
    one, other = (list_clips(tmp_path / "mix", NEEDS, mix={"a": 1, "b": share}) for share in (1, 2))

    assert other.changes_since(one) == ["the mix was a: 1, b: 1 and is a: 1, b: 2"]
    assert other.fingerprint() != one.fingerprint()


def test_the_first_clips_keep_the_mix(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "mix/a")
    shutil.copytree(dataset, tmp_path / "mix/b")
    clips = list_clips(tmp_path / "mix", NEEDS, mix={"a": 1, "b": 1})

    assert [clip.name for clip in clips.first(4).clips] == [
        "a/clip_0",
        "a/clip_1",
        "b/clip_0",
        "b/clip_1",
    ]
    with pytest.raises(DataError, match=r"9 clips were asked for, but .* has 8"):
        clips.first(9)


@pytest.mark.parametrize("mix", [{"a": 0.0}, {"a": 1.0, "b": -1}, {"a": float("nan")}, {}])
def test_a_share_of_a_mix_is_above_zero(dataset, mix):
    with pytest.raises(RecipeError, match=r"dataset\.mix is .*; expected folders with shares"):
        list_clips(dataset, NEEDS, mix=mix)


def test_captions_that_belong_to_no_clip_are_told(dataset):
    (dataset / "metas/clip_11.txt").write_text("A caption of a clip that is called clip_1.")

    assert list_clips(dataset, NEEDS).notices == (
        "1 files in metas belong to no clip: clip_11.txt",
    )

"""Writing clips: whole or not at all, and the same whoever paints them."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from worldtune.data.folder import find_mixed, find_videos
from worldtune.data.scenes import write as module
from worldtune.data.scenes.paint_frames import Shot
from worldtune.data.scenes.write import write_its
from worldtune.errors import DataError, RunError, StoppedEarlyError

SMALL = {"size": (64, 112), "frames": 5, "fps": 4.0}  # 5 frames over a second and a quarter


def files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def clips(out: Path) -> list[str]:
    """The names that have a video, a caption and a label; nothing else may lie there."""
    names = {
        kind: {
            path.stem
            for path in out.glob(f"*/{kind}/*")
        }
        for kind in ("videos", "metas", "labels")
    }  # fmt: skip
    assert names["videos"] == names["metas"] == names["labels"]
    return sorted(names["videos"])


def pixels(video: Path) -> np.ndarray:
    with av.open(str(video)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def assert_same(one: Path, other: Path) -> None:
    assert files(one) == files(other)
    for name in files(one):
        if name.endswith(".mp4"):
            assert (pixels(one / name) == pixels(other / name)).all()
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.fixture
def flat_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of one grey in place of painted ones, where only the files matter."""

    def frames(shot: Shot) -> Iterator[np.ndarray]:
        for number in range(shot.frames):
            yield np.full((*shot.camera.size, 3), (shot.seed + number) % 200, np.uint8)

    monkeypatch.setattr(module, "paint_frames", frames)


def test_each_class_has_videos_captions_and_labels(tmp_path: Path):
    told: list[tuple[int, int]] = []

    videos = write_its(
        tmp_path, normal=1, accident=1, progress=lambda *now: told.append(now), **SMALL
    )

    assert files(tmp_path) == [
        "accident/labels/accident_00000.json", "accident/metas/accident_00000.txt",
        "accident/videos/accident_00000.mp4", "normal/labels/normal_00000.json",
        "normal/metas/normal_00000.txt", "normal/videos/normal_00000.mp4", "scenes.json",
    ]  # fmt: skip
    assert told == [(0, 2), (1, 2), (2, 2)]
    for video in videos:
        assert pixels(video).shape == (5, 64, 112, 3)
        label = json.loads((video.parents[1] / "labels" / f"{video.stem}.json").read_text())
        caption = (video.parents[1] / "metas" / f"{video.stem}.txt").read_text()
        assert label["caption"] == caption.strip()
    mixed = find_mixed(tmp_path, ["normal", "accident"])
    assert [len(find_videos(folder)[0]) for folder in mixed.values()] == [1, 1]


@pytest.mark.multi
def test_two_workers_write_what_one_writes(tmp_path: Path):
    for workers in (1, 2):
        write_its(tmp_path / str(workers), normal=1, accident=1, workers=workers, **SMALL)

    assert_same(tmp_path / "1", tmp_path / "2")


def test_two_threads_paint_what_one_paints(tmp_path: Path):
    before = cv2.getNumThreads(), torch.get_num_threads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            torch.set_num_threads(threads)
            write_its(tmp_path / str(threads), normal=1, accident=1, **SMALL)
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])

    assert_same(tmp_path / "1", tmp_path / "2")


@pytest.mark.usefixtures("flat_frames")
def test_a_folder_with_other_things_in_it_is_refused_without_force(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(DataError, match=r"holds other things \(letter.txt\).*--force"):
        write_its(tmp_path, normal=1, accident=0, **SMALL)
    assert files(tmp_path) == ["letter.txt"]

    write_its(tmp_path, normal=1, accident=0, force=True, **SMALL)
    assert (tmp_path / "letter.txt").read_text() == "dear"
    assert clips(tmp_path) == ["normal_00000"]


@pytest.mark.usefixtures("flat_frames")
def test_clips_of_other_settings_are_not_mixed_in_without_force(tmp_path: Path):
    write_its(tmp_path, normal=1, accident=0, **SMALL)
    was = files(tmp_path), pixels(tmp_path / "normal/videos/normal_00000.mp4")

    with pytest.raises(DataError, match=r"'seed': 0.*'seed': 1.*--force"):
        write_its(tmp_path, normal=1, accident=0, seed=1, **SMALL)
    assert files(tmp_path) == was[0]

    write_its(tmp_path, normal=1, accident=0, seed=1, force=True, **SMALL)
    assert (pixels(tmp_path / "normal/videos/normal_00000.mp4") != was[1]).any()


@pytest.mark.usefixtures("flat_frames")
def test_the_same_command_goes_on_with_what_is_missing(tmp_path: Path):
    write_its(tmp_path, normal=1, accident=0, **SMALL)
    first = tmp_path / "normal/videos/normal_00000.mp4"
    age = first.stat().st_mtime_ns

    write_its(tmp_path, normal=2, accident=0, **SMALL)

    assert first.stat().st_mtime_ns == age
    assert clips(tmp_path) == ["normal_00000", "normal_00001"]


def failing_at(clip: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writing of the video of one clip break off in its middle."""
    real, count = module.write_video, 0

    def write(path: Path, *rest: object, **named: object) -> None:
        nonlocal count
        count += 1
        if count > clip:
            path.write_bytes(b"half a film")
            raise error
        real(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_video", write)


@pytest.mark.usefixtures("flat_frames")
def test_a_full_disk_leaves_whole_clips_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failing_at(1, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), monkeypatch)

    with pytest.raises(RunError, match=r"No space left.*clips that are there are whole"):
        write_its(tmp_path, normal=3, accident=0, **SMALL)

    assert clips(tmp_path) == ["normal_00000"]


@pytest.mark.usefixtures("flat_frames")
def test_ctrl_c_leaves_whole_clips_only_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        failing_at(1, KeyboardInterrupt(), patch)
        with pytest.raises(StoppedEarlyError, match=r"1 of 2 clips .*the same command goes on"):
            write_its(tmp_path / "broken", normal=2, accident=0, **SMALL)
    assert clips(tmp_path / "broken") == ["normal_00000"]

    write_its(tmp_path / "broken", normal=2, accident=0, **SMALL)
    write_its(tmp_path / "whole", normal=2, accident=0, **SMALL)
    assert_same(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.slow
def test_a_disk_that_fills_up_in_a_workers_process_is_told_alike(tmp_path: Path):
    (tmp_path / "normal").write_text("a file where a folder should be")

    with pytest.raises(RunError, match="cannot be written"):
        write_its(tmp_path, normal=2, accident=0, workers=2, force=True, **SMALL)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": (100, 224)}, r"size 100x224 does not fit.*nearest is 96x224"),
        ({"size": (16, 16)}, r"nearest is 64x64"),
        ({"normal": 0}, r"at least one"),
        ({"frames": 1}, r"1 frames at 4 a second"),
        ({"fps": 0.0}, r"a rate from 1 to 120"),
        ({"workers": 0}, r"0 workers cannot paint"),
    ],
)
def test_settings_that_make_no_clip_are_refused(tmp_path: Path, wrong: dict, told: str):
    with pytest.raises(DataError, match=told):
        write_its(tmp_path / "out", **{"normal": 1, "accident": 0, **SMALL, **wrong})
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="is a file; name a folder"):
        write_its(tmp_path / "out", normal=1, accident=0, **SMALL)

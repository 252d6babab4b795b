"""Real recordings, where WORLDTUNE_DATA names a folder that has its_real/."""

import os
from pathlib import Path

import pytest
import torch

from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.clips import Needs, list_clips
from worldtune.data.dataset import VideoClips
from worldtune.data.decode import read_window
from worldtune.data.order import Place
from worldtune.data.text import EncodedCaptions

FOLDER = Path(os.environ.get("WORLDTUNE_DATA", "")) / "its_real"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="WORLDTUNE_DATA names no folder with its_real/"
)


def test_real_clips_of_mixed_sizes_and_rates_are_read():
    clips = list_clips(FOLDER, Needs(93))
    source = VideoClips(clips, EncodedCaptions(BuiltinTextEncoder()), 17, (64, 112), "crop", seed=1)

    for number, clip in enumerate(clips.clips):
        item = source.read(Place(number, 0, number))
        assert item.video.shape == (3, 17, 64, 112)
        assert item.video.float().std() > 10
        assert clip.caption
        assert clip.fps in (24.0, 30.0)


def test_windows_of_a_real_clip_overlap_as_they_should():
    video = sorted((FOLDER / "videos").glob("*.mp4"))[0]
    whole = read_window(video, 0, 40)

    for start in (0, 13, 31):
        assert torch.equal(read_window(video, start, 9), whole[start : start + 9])

"""Frames by number, against a full decode from the beginning."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.drawn import draw_clip, number_of
from worldtune.data.decode import frame_times, read_window, window_frames
from worldtune.data.probe import probe_video
from worldtune.errors import DataError

B_FRAMES = {"preset": "medium", "bf": "3", "g": "8"}
OPEN_GROUPS = B_FRAMES | {"x264-params": "open-gop=1:keyint=8:min-keyint=8:b-adapt=0:scenecut=0"}
UNEVEN = [0, 10, 11, 40, 80, 81, 82, 200, 300, 301, 302, 303, 304, 400, 500, 501, 600, 610]

WAYS = {
    "plain": {},
    "frames that need later ones": {"options": B_FRAMES},
    "open groups of pictures": {"options": OPEN_GROUPS, "frames": 30},
    "an uneven rate": {"times": UNEVEN, "frames": len(UNEVEN)},
    "a late start": {"times": [3000 + 25 * n for n in range(18)], "frames": 18},
    "an edit list": {"times": [25 * n - 130 for n in range(18)], "frames": 18},
    "an edit list and later ones": {
        "times": [25 * n - 130 for n in range(24)],
        "frames": 24,
        "options": B_FRAMES,
    },
    "odd sides": {"size": (49, 67), "pix_fmt": "yuv444p"},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "grey": {"pix_fmt": "gray"},
    "transparency": {"codec": "png", "pix_fmt": "rgba"},
    "another codec": {"codec": "libvpx-vp9"},
    "fragments": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "sound": {"sound": True},
    "one frame": {"frames": 1},
}


def every_frame(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_any_window_holds_the_frames_of_a_full_decode(tmp_path, way):
    path = draw_clip(tmp_path / "clip.mp4", **way)
    expected = every_frame(path)

    assert probe_video(path).frames == len(frame_times(path)) == len(expected)
    for start in range(0, len(expected), 3):
        for count in {1, len(expected) - start}:
            window = read_window(path, start, count).numpy()
            assert np.array_equal(window, np.stack(expected[start : start + count]))


def test_an_edit_list_hides_the_frames_before_it(tmp_path):
    path = draw_clip(tmp_path / "clip.mp4", frames=18, times=[25 * n - 130 for n in range(18)])

    assert number_of(read_window(path, 0, 1)[0].numpy()) == 6


def test_a_window_is_decoded_from_the_key_frame_before_it(tmp_path):
    """What lies further back may even be damaged."""
    path = draw_clip(tmp_path / "clip.mp4", frames=30)
    expected = every_frame(path)
    with av.open(str(path)) as container:
        entries = list(container.streams.video[0].index_entries)
    data = bytearray(path.read_bytes())
    data[entries[6].pos : entries[14].pos] = bytes(entries[14].pos - entries[6].pos)
    path.write_bytes(data)

    assert np.array_equal(read_window(path, 20, 10).numpy(), np.stack(expected[20:]))
    with pytest.raises(DataError, match=r"clip\.mp4: frame \d+ .*cannot be decoded"):
        read_window(path, 2, 10)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_clip_filmed_sideways_comes_upright(tmp_path, turns):
    still = draw_clip(tmp_path / "still.mp4", frames=2)
    turned = draw_clip(tmp_path / "turned.mp4", frames=2, quarter_turns=turns)

    frame = read_window(turned, 1, 1)[0].numpy()

    assert np.array_equal(frame, np.rot90(read_window(still, 1, 1)[0].numpy(), -turns))
    facts = probe_video(turned)
    assert (facts.height, facts.width) == frame.shape[:2]


@pytest.mark.parametrize(
    ("tag", "red_weight", "blue_weight"),
    [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (2, 0.299, 0.114)],
    ids=["BT.709", "BT.601", "untagged"],
)
def test_colours_are_read_as_the_file_tags_them(tmp_path, tag, red_weight, blue_weight):
    """Y, U, V to RGB by the tag's own weights: ITU-T H.273, section 8.3."""
    luma, blue, red = 120, 100, 160
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.options = {"qp": "0", "preset": "ultrafast"}
        stream.codec_context.colorspace = tag
        planes = np.concatenate([np.full(4096, luma), np.full(1024, blue), np.full(1024, red)])
        frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8).reshape(96, 64), "yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())

    y, u, v = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    r, b = y + 2 * (1 - red_weight) * v, y + 2 * (1 - blue_weight) * u
    g = (y - red_weight * r - blue_weight * b) / (1 - red_weight - blue_weight)
    pixel = read_window(path, 0, 1)[0, 32, 32].tolist()
    # 3 of 255 for ffmpeg's tables; the two standards' reds are 6 apart here.
    assert pixel == pytest.approx([255 * r, 255 * g, 255 * b], abs=3)


def test_more_threads_decode_the_same_frames(tmp_path):
    path = draw_clip(tmp_path / "clip.mp4", frames=20, options=B_FRAMES)

    assert read_window(path, 3, 9, threads=4).equal(read_window(path, 3, 9, threads=1))


def test_frames_past_the_end_are_refused_by_number(tmp_path):
    path = draw_clip(tmp_path / "clip.mp4", frames=5)

    with pytest.raises(DataError, match="frames 3 to 6 were asked for, but it has 5"):
        read_window(path, 3, 4)


def test_a_clip_that_is_cut_short_after_it_was_listed_names_the_file_and_the_frame(tmp_path):
    options = {"movflags": "faststart"}
    path = draw_clip(tmp_path / "clip.mp4", frames=20, container_options=options)
    list(window_frames(path, 0, 20))
    data = path.read_bytes()
    path.write_bytes(data[: -len(data) // 4])

    with pytest.raises(DataError, match=r"clip\.mp4: is cut short in frame \d+"):
        read_window(path, 0, 20)


def test_a_clip_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.mp4: cannot be read \(no such file"):
        read_window(tmp_path / "gone.mp4", 0, 1)

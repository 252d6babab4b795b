"""Writing clips."""

import av
import pytest
import torch

from worldtune.data.decode import read_window
from worldtune.data.probe import probe_video
from worldtune.data.video import to_pixels, write_video

COLOURS = torch.tensor(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [200, 100, 50], [255, 255, 255]],
    dtype=torch.uint8,
)


def flags(frames: int = 3) -> torch.Tensor:
    """Stripes of saturated colours, [t, 32, 192, 3]."""
    return COLOURS.repeat_interleave(32, 0).expand(frames, 32, -1, -1)


def test_colours_come_back_as_they_were_written(tmp_path):
    write_video(tmp_path / "a.mp4", flags(), 24)

    stripes = read_window(tmp_path / "a.mp4", 1, 1)[0, 16, 16::32]

    assert (stripes.int() - COLOURS.int()).abs().max() <= 4


def test_the_file_is_what_every_player_takes(tmp_path):
    write_video(tmp_path / "a.mp4", flags(), 30000 / 1001)

    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1
        assert str(stream.average_rate) == "30000/1001"
    facts = probe_video(tmp_path / "a.mp4", thorough=True)
    assert (facts.frames, facts.height, facts.width) == (3, 32, 192)


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_video(tmp_path / "new/deep/a.mp4", flags(), 24)

    assert [path.name for path in (tmp_path / "new/deep").iterdir()] == ["a.mp4"]


def test_a_write_that_fails_leaves_the_earlier_file_and_no_other(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", flags(), 24)
    before = (tmp_path / "a.mp4").read_bytes()

    def no_space(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("worldtune.data.video.av.VideoFrame", no_space)
        with pytest.raises(AttributeError):
            write_video(tmp_path / "a.mp4", flags(5), 24)

    assert (tmp_path / "a.mp4").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("shape", [(2, 31, 32), (2, 32, 31), (0, 32, 32)])
def test_sizes_that_h264_cannot_hold_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="even sizes"):
        write_video(tmp_path / "a.mp4", torch.zeros(*shape, 3, dtype=torch.uint8), 24)


def test_model_values_become_rounded_pixels_and_are_clamped():
    values = torch.tensor([-3.0, -1.0, -0.999, 0.0, 0.5, 1.0, 7.0])
    pixels = to_pixels(values.expand(3, 1, 1, -1))

    assert pixels.shape == (1, 1, 7, 3)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 0, 128, 191, 255, 255]


def test_every_pixel_value_survives_the_way_to_the_model_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    clip = (levels.float() / 127.5 - 1).expand(3, 1, 1, -1)

    assert to_pixels(clip)[0, 0, :, 1].equal(levels)

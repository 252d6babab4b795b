"""Writing clips as MP4 files that any player shows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from torch import Tensor

# The rates of film and television, such as 30000/1001, are kept exactly.
_LARGEST_DENOMINATOR = 1001
_BT709 = 1  # the code of all three colour tags in ITU-T H.273


def to_pixels(video_3THW: Float[Tensor, "3 t h w"]) -> UInt8[Tensor, "t h w 3"]:
    """Map a clip in -1 to 1 to frames, rounded; values outside are clamped."""
    unit = (video_3THW.detach().float().permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1)
    return (unit * 255 + 0.5).to(torch.uint8)


def write_video(
    path: Path,
    frames: UInt8[Tensor, "t h w 3"],
    fps: float | int,
    *,
    crf: int = 16,
    threads: int = 0,
) -> None:
    """Write frames as H.264 in yuv420p, colours tagged BT.709.

    Height and width are even. crf is x264's quality, 0 without loss of its own to 51. The file
    takes its name when it is whole; missing folders are made.
    """
    count, height, width, _ = frames.shape
    if not count or height % 2 or width % 2:
        raise ValueError(f"{count} frames of {height}x{width}: H.264 takes even sizes only")
    with _whole_or_nothing(path) as unfinished, av.open(unfinished, "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
        stream = container.add_stream("libx264", rate=rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.options = {"crf": str(crf), "preset": "veryfast"}  # as good as medium at this rate
        context.thread_count = threads
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels.contiguous().numpy(), format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[str]:
    """Give a name beside the file to write to; it takes the file's place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield str(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

"""Clips drawn for a test: frame n of a clip is told by its brightness."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def level(number: int) -> int:
    """Brightness of a frame's right half, far enough apart to survive coding."""
    return 20 + 5 * (number % 43)


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Left half dark, right half as bright as the number says."""
    image = np.full((*size, 3), 10, np.uint8)
    image[:, size[1] // 2 :] = level(number)
    return image


def number_of(frame: np.ndarray) -> int:
    """Read a frame's number, modulo 43, from its brightness."""
    height, width = frame.shape[:2]
    return round((float(frame[height // 4 : -height // 4 or None, -width // 4 :].mean()) - 20) / 5)


def draw_clip(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    rate: Fraction | int = 24,
    quarter_turns: int = 0,
    sound: bool = False,
    pictures: bool = True,
) -> Path:
    """Write a clip; times are presentation times in ticks of 1/600 s.

    quarter_turns asks players to turn it clockwise, as telephones do for upright clips.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        audio = container.add_stream("aac", rate=16000) if sound else None
        if pictures:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = size[1], size[0], pix_fmt
            stream.thread_count = 1
            stream.codec_context.options = {"preset": "ultrafast", "g": "5", **(options or {})}
            if codec != "libx264":
                stream.codec_context.options = options or {}
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 600)
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                if times is not None:
                    frame.pts, frame.time_base = times[number], Fraction(1, 600)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
            )
            samples.sample_rate = 16000
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    if quarter_turns:
        _ask_for_turn(path, quarter_turns)
    return path


def _ask_for_turn(path: Path, quarter_turns: int) -> None:
    """Write the display matrix of the track header: ISO/IEC 14496-12, section 8.3.2."""
    one, a, b = 1 << 16, *[(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns % 4]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    numbers = (a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    data[place : place + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in numbers)
    path.write_bytes(data)


def draw_dataset(folder: Path, count: int = 4, frames: int = 12, caption: bool = True) -> Path:
    """Write a folder of clips with captions: clip_0, clip_1, ..."""
    for number in range(count):
        draw_clip(folder / "videos" / f"clip_{number}.mp4", frames)
        if caption:
            text = folder / "metas" / f"clip_{number}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(f"Clip number {number} of a grey screen.\n")
    return folder

"""Frames of a video file by their number, exactly.

The frame number is the place in order of presentation. The times of all frames are read once
from the packets, without decoding; a window is then decoded from the last key frame before it
and each frame checked against its time. So frames that depend on later ones, uneven frame rates,
edit lists and files that do not start at time 0 all give the frame that a full decode gives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8
from torch import Tensor

from worldtune.errors import DataError

DEFAULT_FPS = 16.0  # where a file does not say, as in Cosmos-Predict2


@dataclass(frozen=True)
class FrameTimes:
    """When each frame is shown and where decoding can start, in the stream's time base."""

    shown: np.ndarray  # [frames] int64, rising
    keys: np.ndarray  # times of key frames, rising

    def __len__(self) -> int:
        """Return the number of frames shown."""
        return len(self.shown)


@contextmanager
def open_video(path: Path, threads: int = 1) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its picture stream; threads 0 takes as many as there are cores.

    Raises DataError where the file cannot be opened or has no moving picture.
    """
    try:
        # Broken words in a title must not make the picture unreadable.
        container = av.open(str(path), metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        raise DataError(f"{path}: cannot be opened as a video ({reason(error)})") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise DataError(f"{path}: has no picture, only {_kinds(container)}")
        stream.thread_count = threads
        stream.thread_type = "AUTO"
        yield container, stream


def reason(error: Exception) -> str:
    """Return what ffmpeg said, without its codes."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _kinds(container: InputContainer) -> str:
    kinds = sorted({stream.type or "unknown data" for stream in container.streams})
    return " and ".join("sound" if kind == "audio" else kind for kind in kinds) or "an empty shell"


def mean_fps(stream: VideoStream) -> float:
    """Return the mean frame rate that the file gives, or 16 where it gives none."""
    return float(stream.average_rate) if stream.average_rate else DEFAULT_FPS


def frame_times(path: Path) -> FrameTimes:
    """Read the times of all frames; remembered while the file stays as it is."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error
    return _read_frame_times(path, status.st_size, status.st_mtime_ns)


# 4096 clips of 300 frames are 10 MB.
@lru_cache(maxsize=4096)
def _read_frame_times(path: Path, _size: int, _modified: int) -> FrameTimes:
    shown, keys = [], []
    with open_video(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if packet.is_corrupt:
                    raise DataError(f"{path}: is cut short in frame {len(shown)}")
                time = packet.pts if packet.pts is not None else packet.dts
                if time is None:
                    raise DataError(f"{path}: frame {len(shown)} has no time; re-encode the file")
                if packet.is_keyframe:
                    keys.append(time)
                if not packet.is_discard:
                    shown.append(time)
        except FFmpegError as error:
            raise DataError(
                f"{path}: cannot be read after frame {len(shown)} ({reason(error)})"
            ) from error
    return FrameTimes(np.sort(np.array(shown, np.int64)), np.sort(np.array(keys, np.int64)))


def window_frames(
    path: Path, start: int, count: int, threads: int = 1
) -> Iterator[UInt8[Tensor, "_ _ 3"]]:
    """Yield count frames from number start on, as uint8 [h, w, 3], upright.

    Raises DataError, naming the file and the frame, where one cannot be had.
    """
    times = frame_times(path)
    if start < 0 or count < 1 or start + count > len(times):
        raise DataError(
            f"{path}: frames {start} to {start + count - 1} were asked for, but it has {len(times)}"
        )
    wanted = times.shown[start : start + count]
    before = times.keys[times.keys <= wanted[0]]
    # One key frame further back if need be: in a stream with open groups of pictures a decoder
    # may not give the first frames after the place it was sent to. None is the file's beginning.
    for key in (*before[-2:][::-1].tolist(), None):
        frames = _decode_from(path, key, wanted, start, threads)
        first = next(frames, None)
        if first is not None:
            yield first
            yield from frames
            return
    raise _undecodable(path, f"frame {start} cannot be decoded")


def _decode_from(
    path: Path, key: int | None, wanted: np.ndarray, start: int, threads: int
) -> Iterator[UInt8[Tensor, "_ _ 3"]]:
    """Yield the frames shown at the wanted times, or nothing if the first is not met."""
    to_rgb = VideoReformatter()
    given = 0
    with open_video(path, threads) as (container, stream):
        try:
            if key is not None:
                container.seek(key, stream=stream)
            for frame in container.decode(stream):
                time = frame.pts if frame.pts is not None else frame.dts
                if time is None or time < wanted[given]:
                    continue
                if time != wanted[given]:
                    break
                if frame.is_corrupt:
                    raise _undecodable(path, f"frame {start + given} is damaged")
                yield _upright_rgb(frame, to_rgb, path, threads)
                given += 1
                if given == len(wanted):
                    return
        except FFmpegError as error:
            # Decoders run ahead: with several threads the fault may lie a few frames on.
            what = f"frame {start + given} or one soon after cannot be decoded ({reason(error)})"
            raise _undecodable(path, what) from error
    if given:
        raise _undecodable(path, f"frame {start + given} cannot be decoded")


def _undecodable(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; re-encode or remove the file")


def _upright_rgb(
    frame: VideoFrame, to_rgb: VideoReformatter, path: Path, threads: int
) -> UInt8[Tensor, "_ _ 3"]:
    """Return the frame as it is meant to be seen: colours as tagged, rotation applied."""
    image = to_rgb.reformat(frame, format="rgb24", threads=threads).to_ndarray()
    turns = quarter_turns(frame.rotation, path)
    return torch.from_numpy(np.rot90(image, turns).copy() if turns else image)


def quarter_turns(rotation: int, path: Path) -> int:
    """Turn a rotation flag, in degrees anticlockwise, into quarter turns from 0 to 3."""
    turns = round(rotation / 90)
    if abs(rotation - 90 * turns) > 1:
        raise DataError(f"{path}: is to be shown turned by {rotation} degrees; only 90s are known")
    return turns % 4


def read_window(path: Path, start: int, count: int, threads: int = 1) -> UInt8[Tensor, "t h w 3"]:
    """Decode count frames from number start on. Sizes that change on the way are an error."""
    frames = list(window_frames(path, start, count, threads))
    for number, (one, other) in enumerate(pairwise(frames), start):
        if one.shape != other.shape:
            raise DataError(f"{path}: changes its size after frame {number}")
    return torch.stack(frames)

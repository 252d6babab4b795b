"""What a clip's file holds, and whether it can be used, without decoding all of it."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from worldtune.data.decode import frame_times, mean_fps, open_video, quarter_turns, reason
from worldtune.errors import DataError

_ZEROS = 32  # bytes


@dataclass(frozen=True)
class VideoFacts:
    """A usable file's picture."""

    frames: int
    fps: float
    height: int  # as shown, after rotation
    width: int
    bytes: int


def probe_video(path: Path, *, thorough: bool = False) -> VideoFacts:
    """Read a file's header and its first frame, and check that its end is there.

    thorough decodes every frame too, which finds damage in the middle.
    Raises DataError with the reason why the file cannot be used.
    """
    size = _file_size(path)
    _check_boxes(path, size)
    with open_video(path, threads=0 if thorough else 1) as (container, stream):
        if stream.disposition & Disposition.attached_pic:
            raise DataError(f"{path}: holds sound with a cover picture, no video")
        frames = _count_frames(path, stream, size)
        first, decoded = _decode(path, container, stream, everything=thorough)
    if thorough and decoded != frames:
        raise DataError(f"{path}: holds {frames} frames, of which {decoded} can be decoded")
    turned = quarter_turns(first.rotation, path) % 2
    height, width = (first.width, first.height) if turned else (first.height, first.width)
    return VideoFacts(frames, mean_fps(stream), height, width, size)


def _file_size(path: Path) -> int:
    """Return the size, after telling files apart that often lie where a video should."""
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path}: {kind}; expected a video file")
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error
    if not size:
        raise DataError(f"{path}: is empty (0 bytes)")
    if beginning.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: is a Git LFS pointer, no video; fetch it by 'git lfs pull'")
    if beginning.lstrip()[:1] == b"<":
        raise DataError(f"{path}: is a web page, no video; download it anew")
    return size


def _check_boxes(path: Path, size: int) -> None:
    """Follow the top-level boxes of an MP4 file: a file that broke off ends inside one.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    names, position, length = [], 0, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            head = file.read(16)
            name, length = head[4:8], int.from_bytes(head[:4], "big")
            if not names and name not in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
                return  # no MP4 by its first bytes; whether it is a video is for ffmpeg to say
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:
                length = size - position
            names.append(name)
            if length < 8 or position + length > size:
                break
            position += length
    if position < size and b"moov" not in names:
        raise DataError(f"{path}: is cut short: the file ends before its index")
    if position < size and names[-1] in (b"mdat", b"moov"):
        raise DataError(f"{path}: is cut short: {position + length - size} bytes are missing")
    if b"moov" not in names:
        raise DataError(f"{path}: was never finished: it has no index (moov)")


def _count_frames(path: Path, stream: VideoStream, size: int) -> int:
    """Count the frames that are shown, from the index where the file has a whole one."""
    entries = list(stream.index_entries)
    if not stream.frames or len(entries) != stream.frames:
        return len(frame_times(path))
    last = max(entries, key=lambda entry: entry.pos)
    if last.pos + last.size > size:
        raise DataError(f"{path}: is cut short: {last.pos + last.size - size} bytes are missing")
    with path.open("rb") as file:
        # Coded data does not end in so many zeros; a copy that was broken off after its room was
        # set aside does.
        file.seek(last.pos + max(0, last.size - _ZEROS))
        if not any(file.read(min(last.size, _ZEROS))):
            raise DataError(f"{path}: was never finished: its end holds only zeros")
    return sum(not entry.is_discard for entry in entries)


def _decode(
    path: Path, container: InputContainer, stream: VideoStream, *, everything: bool
) -> tuple[av.VideoFrame, int]:
    """Return the first frame and how many were decoded."""
    first, count = None, 0
    try:
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise DataError(f"{path}: frame {count} is damaged")
            first = first or frame
            count += 1
            if not everything:
                break
    except FFmpegError as error:
        raise DataError(f"{path}: frame {count} cannot be decoded ({reason(error)})") from error
    if first is None:
        raise DataError(f"{path}: holds no frame")
    return first, count

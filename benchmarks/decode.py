"""Frames per CPU second of the project's reader beside a plain PyAV loop, on the same clips.

    python benchmarks/decode.py [FOLDER] [--size HxW] [--threads N] [--rounds N]

FOLDER holds videos/*.mp4; without it clips are drawn. "whole" reads every frame of each clip in
order; "window" reads the second half, which a plain loop can only do by decoding the first half
too. "item" adds the resize to --size, as training does.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

import av
import torch

from worldtune.data.decode import frame_times, window_frames
from worldtune.data.folder import find_videos
from worldtune.data.resize import resize_clip
from worldtune.data.shapes import write_clips

Job = tuple[Path, int, int]
Reader = Callable[[Path, int, int], int]


def plain(path: Path, start: int, count: int, threads: int) -> int:
    """Decode from the beginning and convert what is wanted: the shortest right loop."""
    kept = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "AUTO", threads
        for number, frame in enumerate(container.decode(stream)):
            if number >= start:
                frame.to_ndarray(format="rgb24")
                kept += 1
            if kept == count:
                break
    return kept


def ours(path: Path, start: int, count: int, threads: int) -> int:
    """Read the window by frame number."""
    return sum(1 for _ in window_frames(path, start, count, threads))


def item(path: Path, start: int, count: int, threads: int, size: tuple[int, int]) -> int:
    """Read the window and bring it to the size."""
    return resize_clip(window_frames(path, start, count, threads), count, size, "stretch").shape[1]


def rates(readers: dict[str, Reader], jobs: list[Job], rounds: int) -> dict[str, float]:
    """Return each reader's best of several rounds, taken in turn, in frames per CPU second."""
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(rounds):
        for name, read in readers.items():
            started = process_time()
            assert sum(read(*job) for job in jobs) == sum(count for *_, count in jobs)
            best[name] = min(best[name], process_time() - started)
    return {name: sum(count for *_, count in jobs) / used for name, used in best.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", default="128x224")
    parser.add_argument("--threads", type=int, default=1, help="of ffmpeg; 0: one per core")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    torch.set_num_threads(max(args.threads, 1))
    readers: dict[str, Reader] = {
        "plain PyAV": partial(plain, threads=args.threads),
        "ours": partial(ours, threads=args.threads),
        f"item {args.size}": partial(item, threads=args.threads, size=(height, width)),
    }
    with tempfile.TemporaryDirectory() as drawn:
        if args.folder is None:
            write_clips(Path(drawn), 4, size=(432, 768), frames=93)
        videos, _ = find_videos(args.folder or Path(drawn))
        whole = [(path, 0, len(frame_times(path))) for path in videos]
        halves = [(path, count // 2, count - count // 2) for path, _, count in whole]
        print(f"{len(videos)} clips; frames per CPU second, and their ratio to plain PyAV")
        for what, jobs in (("whole", whole), ("window", halves)):
            measured = rates(readers, jobs, args.rounds)
            base = measured["plain PyAV"]
            told = "   ".join(f"{n} {r:5.0f} ({r / base:.2f})" for n, r in measured.items())
            print(f"{what:7} {told}")


if __name__ == "__main__":
    main()

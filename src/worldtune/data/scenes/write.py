"""Writing clips of the built-in traffic world, whole or not at all.

OUT/normal/ and OUT/accident/ hold videos/NAME.mp4, metas/NAME.txt and labels/NAME.json each;
OUT/scenes.json tells what they were made with, so that the same command goes on after a break.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from worldtune.data.folder import CAPTIONS, VIDEOS
from worldtune.data.scenes import library
from worldtune.data.scenes.its import ItsScene, its_scene
from worldtune.data.scenes.labels import label
from worldtune.data.scenes.paint_frames import paint_frames
from worldtune.data.scenes.recording import SceneKind
from worldtune.data.video import write_video
from worldtune.errors import DataError, RunError, StoppedEarlyError

LABELS, NOTE = "labels", "scenes.json"
KINDS: tuple[SceneKind, ...] = ("normal", "accident")
_CRF = 20
_BLOCK = 16  # x264 reads unset memory past the edges of other sizes
_LEAST = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Film:
    """How every clip of a folder is filmed."""

    size: tuple[int, int] = (128, 224)  # height, width
    frames: int = 93
    fps: float = 16.0
    seed: int = 0
    recorded: str = ""  # a folder of recordings; empty for the package's own


@dataclass(frozen=True)
class _Task:
    out: Path
    kind: SceneKind
    number: int
    film: Film

    @property
    def files(self) -> dict[str, Path]:
        """The clip's three files; the video, which makes it whole, is the last."""
        name, folder = f"{self.kind}_{self.number:05d}", self.out / self.kind
        return {
            LABELS: folder / LABELS / f"{name}.json",
            CAPTIONS: folder / CAPTIONS / f"{name}.txt",
            VIDEOS: folder / VIDEOS / f"{name}.mp4",
        }


def write_its(
    out: Path,
    *,
    normal: int,
    accident: int,
    size: tuple[int, int] = (128, 224),
    frames: int = 93,
    fps: float = 16.0,
    seed: int = 0,
    recorded: Path | None = None,
    workers: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write clips of normal traffic and of accidents; return the videos.

    size is (height, width); recorded is a folder of recordings in place of the package's. Clips
    that are there already, made with the same settings, stay. Whatever the number of workers, the
    same settings give the same pictures and labels. progress is told how many clips are done, and
    of how many.

    Raises DataError for settings that cannot be met and for a folder that holds other things,
    RunError where the disk is full, StoppedEarlyError on Ctrl-C; whole clips remain.
    """
    film = Film(size, frames, float(fps), seed, str(recorded or ""))
    _check(film, normal, accident, workers)
    kept = _claim(out, film, force)
    tasks = [
        _Task(out, kind, number, film)
        for kind, count in zip(KINDS, (normal, accident), strict=True)
        for number in range(count)
    ]
    missing = [task for task in tasks if not (kept and task.files[VIDEOS].exists())]
    _run(missing, workers, len(tasks), progress or (lambda done, total: None))
    return [task.files[VIDEOS] for task in tasks]


def _check(film: Film, normal: int, accident: int, workers: int) -> None:
    height, width = film.size
    if min(height, width) < _LEAST or height % _BLOCK or width % _BLOCK:
        nearest = tuple(max(round(side / _BLOCK), _LEAST // _BLOCK) * _BLOCK for side in film.size)
        raise DataError(
            f"size {height}x{width} does not fit: both sides are multiples of {_BLOCK}, {_LEAST} "
            f"at least; the nearest is {nearest[0]}x{nearest[1]}"
        )
    if normal < 0 or accident < 0 or normal + accident == 0:
        raise DataError(
            f"{normal} normal and {accident} accident clips were asked for; give at least one"
        )
    if film.frames < 2 or not 1 <= film.fps <= 120:
        raise DataError(
            f"{film.frames} frames at {film.fps:g} a second make no clip; give 2 frames or more, "
            "and a rate from 1 to 120"
        )
    if workers < 1:
        raise DataError(f"{workers} workers cannot paint; give 1 or more")


def _claim(out: Path, film: Film, force: bool) -> bool:
    """Make the folder ours; return whether clips that lie there are of these settings."""
    note, asked = out / NOTE, json.loads(json.dumps(asdict(film)))
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder for the clips")
    same = False
    if note.exists():
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        same = before == asked
        if not same and not force:
            raise DataError(
                f"{out} holds clips made with {before}, and these are of {asked}; name another "
                "folder, or write over them with --force"
            )
    elif out.exists() and any(out.iterdir()) and not force:
        others = ", ".join(sorted(path.name for path in out.iterdir())[:3])
        raise DataError(
            f"{out} holds other things ({others}); name a new folder, or add --force to write "
            "clips beside them"
        )
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)
        _write_text(note, json.dumps(asked, indent=1) + "\n")
    return same


def _run(tasks: Sequence[_Task], workers: int, total: int, progress: Progress) -> None:
    done = total - len(tasks)
    progress(done, total)
    if not tasks:
        return
    out = tasks[0].out
    finished = _in_turn(tasks) if workers == 1 else _in_parallel(tasks, min(workers, len(tasks)))
    try:
        with _explained(out):
            for _ in finished:
                done += 1
                progress(done, total)
    except KeyboardInterrupt:
        raise StoppedEarlyError(
            f"stopped: {done} of {total} clips are in {out}, each whole; the same command goes on"
        ) from None


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{out} cannot be written: {error.strerror or error}; the clips that are there are "
            "whole; make room, or name another folder, and give the same command again"
        ) from error


def _in_turn(tasks: Sequence[_Task]) -> Iterator[None]:
    with _one_thread():
        for task in tasks:
            _work(task)
            yield


def _in_parallel(tasks: Sequence[_Task], workers: int) -> Iterator[None]:
    # A fresh process: a forked one would inherit locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    waiting: set[Future[None]] = set()
    try:
        with _threads_in_children(1):
            waiting = {pool.submit(_work, task) for task in tasks}
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _threads_in_children(count: int) -> Iterator[None]:
    """Let processes that start meanwhile use so many threads for their maths."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the first one tells the others to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _work(task: _Task) -> None:
    write_clip(its_scene_of(task), task.files)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def its_scene_of(task: _Task) -> ItsScene:
    """Return the scene that a clip shows."""
    film = task.film
    return its_scene(
        task.kind, task.number, seed=film.seed, size=film.size, frames=film.frames, fps=film.fps,
        recorded=Path(film.recorded) if film.recorded else library.RECORDED,
    )  # fmt: skip


def write_clip(scene: ItsScene, files: dict[str, Path]) -> None:
    """Write one clip's video, caption and label: all of them, or none.

    files names them by the folders "labels", "metas" and "videos".
    """
    told = label(scene)
    pictures = torch.from_numpy(np.stack(list(paint_frames(scene.shot))))
    unfinished = {kind: _beside(path) for kind, path in files.items()}
    placed: list[Path] = []
    try:
        _write_text(unfinished[LABELS], json.dumps(told, separators=(",", ":")) + "\n")
        _write_text(unfinished[CAPTIONS], told["caption"] + "\n")
        write_video(unfinished[VIDEOS], pictures, scene.shot.fps, crf=_CRF, threads=1)
        # While there is no video there is no clip, so it goes first and comes last.
        files[VIDEOS].unlink(missing_ok=True)
        for kind in (LABELS, CAPTIONS, VIDEOS):
            unfinished[kind].replace(files[kind])
            placed.append(files[kind])
    except BaseException:
        if files[VIDEOS] not in placed:
            for path in placed:
                path.unlink(missing_ok=True)
        raise
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

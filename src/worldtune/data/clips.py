"""Finding the clips of a data set and checking each before the first step."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal

from worldtune.data.clip_list import BadClip, Clip, ClipGroup, ClipList, beside
from worldtune.data.folder import CAPTIONS, EMBEDDINGS, find_mixed, find_videos
from worldtune.data.probe import probe_video
from worldtune.data.t5_pickles import read_pickle
from worldtune.errors import DataError, RecipeError

TextNeeded = Literal["caption", "embedding", "none"]

# Threads wait for files and for ffmpeg, which both let the others run.
_THREADS = 8


@dataclass(frozen=True)
class Needs:
    """What a clip must have to be used."""

    num_frames: int
    text: TextNeeded = "caption"
    text_width: int = 1024  # of a text embedding
    text_tokens: int = 512  # longer text is cut, which is told
    count_tokens: Callable[[str], int] | None = None  # of a caption, where it is encoded
    thorough: bool = False  # decode every frame, not only the first


def list_clips(
    dataset_dir: Path | str,
    needs: Needs,
    *,
    mix: Mapping[str, float | int] | None = None,
    on_bad_clip: Literal["fail", "skip"] = "fail",
    max_bad_share: float = 0.05,
) -> ClipList:
    """List and check the clips of a folder, or of several below it mixed by ratio.

    mix gives a share, above 0, to each folder name. Clips that cannot be used are an error that
    names them all; with on_bad_clip "skip" they are left out, up to max_bad_share of all clips.
    Raises DataError, also where a folder is missing or has no clip left.
    """
    folder = Path(dataset_dir)
    _check_mix(mix)
    places = find_mixed(folder, mix) if mix else {"": folder}
    found = {name: find_videos(place) for name, place in places.items()}
    groups, bad, notices, lengths = [], [], [], {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, (videos, others) in found.items():
            check = partial(_check, folder=folder, group=name, needs=needs)
            checked = list(pool.map(check, videos))
            good = [result for result in checked if not isinstance(result, BadClip)]
            bad += [result for result in checked if isinstance(result, BadClip)]
            bad += [_wrong_type(folder, other) for other in others]
            weight = float(mix[name]) if mix else 1.0
            groups.append(ClipGroup(name, weight, tuple(clip for clip, _ in good)))
            lengths |= {clip.name: tokens for clip, tokens in good}
            notices += _ownerless(folder, places[name], needs.text, [*videos, *others])
    notices += _cut(lengths, needs.text_tokens)
    if bad:
        total = sum(len(group.clips) for group in groups) + len(bad)
        _judge(folder, bad, total, on_bad_clip, max_bad_share)
        notices.insert(0, f"{len(bad)} of {total} clips are left out:\n{_lines(bad)}")
    for group in groups:
        if not group.clips:
            raise DataError(f"{folder / group.name} has no usable clip left:\n{_lines(bad)}")
    return ClipList(folder, tuple(groups), tuple(bad), tuple(notices))


def _check_mix(mix: Mapping[str, float | int] | None) -> None:
    wrong = {name: share for name, share in (mix or {}).items() if not 0 < share < inf}
    if wrong or mix == {}:
        told = ", ".join(f"{name}: {share}" for name, share in wrong.items()) or "empty"
        raise RecipeError(f"dataset.mix is {told}; expected folders with shares above 0")


def _wrong_type(folder: Path, other: Path) -> BadClip:
    return BadClip(_below(folder, other), f"is {other.suffix}, not .mp4; convert it")


def _ownerless(folder: Path, place: Path, text: TextNeeded, videos: list[Path]) -> list[str]:
    """Tell of captions or embeddings whose clip is not there: a name may be misspelt."""
    if text == "none":
        return []
    kind, suffix = (CAPTIONS, ".txt") if text == "caption" else (EMBEDDINGS, ".pickle")
    stems = {video.stem for video in videos}
    files = sorted(path for path in (place / kind).glob(f"*{suffix}") if path.stem not in stems)
    if not files:
        return []
    few = ", ".join(path.name for path in files[:5]) + (" ..." if len(files) > 5 else "")
    return [f"{len(files)} files in {_below(folder, place / kind)} belong to no clip: {few}"]


def _check(video: Path, folder: Path, group: str, needs: Needs) -> tuple[Clip, int] | BadClip:
    """Return the clip and the tokens of its text, or why it cannot be used."""
    reasons, caption, tokens = [], "", 0
    try:
        facts = probe_video(video, thorough=needs.thorough)
        if facts.frames < needs.num_frames:
            reasons.append(f"has {facts.frames} frames, fewer than num_frames={needs.num_frames}")
    except DataError as error:
        facts = None
        reasons.append(_without_path(error, video))
    caption_path = beside(video, CAPTIONS, ".txt")
    embedding_path = beside(video, EMBEDDINGS, ".pickle")
    try:
        caption = read_caption(caption_path)
    except DataError as error:
        if needs.text == "caption":
            reasons.append(_below(folder, caption_path) + " " + _without_path(error, caption_path))
    if needs.text == "embedding":
        try:
            tokens = len(read_pickle(embedding_path, needs.text_width))
        except DataError as error:
            told = _without_path(error, embedding_path)
            reasons.append(_below(folder, embedding_path) + " " + told)
    if reasons or facts is None:
        return BadClip(_below(folder, video), "; ".join(reasons))
    name = f"{group}/{video.stem}" if group else video.stem
    clip = Clip(
        name=name,
        path=_below(folder, video),
        frames=facts.frames,
        fps=facts.fps,
        height=facts.height,
        width=facts.width,
        bytes=facts.bytes,
        caption=caption,
    )
    if needs.text == "caption" and needs.count_tokens is not None:
        tokens = needs.count_tokens(caption)
    return clip, tokens


def _cut(lengths: Mapping[str, int], most: int) -> list[str]:
    """Tell which clips' text is too long."""
    longer = [f"{name} ({tokens})" for name, tokens in lengths.items() if tokens > most]
    if not longer:
        return []
    few = ", ".join(longer[:5]) + (" ..." if len(longer) > 5 else "")
    return [f"{len(longer)} clips have more than {most} tokens of text, the rest is cut: {few}"]


def read_caption(path: Path) -> str:
    """Read a caption. Raises DataError where it is missing, not UTF-8 or empty."""
    try:
        caption = path.read_bytes().decode("utf-8-sig").strip()
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start})"
        ) from error
    if not caption:
        raise DataError(f"{path}: is empty")
    return caption


def check_enough(clips: ClipList, batch_size: int, data_ranks: int) -> None:
    """Refuse a list with fewer clips than all ranks take at once."""
    needed = batch_size * data_ranks
    if len(clips) < needed:
        raise DataError(
            f"{clips.folder} has {len(clips)} usable clips, fewer than one batch: batch_size "
            f"{batch_size} on {data_ranks} data ranks takes {needed}; add clips, lower "
            f"dataloader_train.batch_size or use fewer data ranks"
        )


def _judge(
    folder: Path, bad: Sequence[BadClip], total: int, on_bad_clip: str, max_bad_share: float
) -> None:
    """Raise DataError unless the bad clips may be left out."""
    if on_bad_clip == "fail":
        raise DataError(
            f"{len(bad)} of {total} clips in {folder} cannot be used:\n{_lines(bad)}\n"
            "Repair or remove them, or set dataset.on_bad_clip=skip to leave them out."
        )
    share = len(bad) / total
    if share > max_bad_share:
        raise DataError(
            f"{len(bad)} of {total} clips in {folder} cannot be used, a share of {share:.3g}, and "
            f"dataset.max_bad_share={max_bad_share:g} allows fewer:\n{_lines(bad)}\n"
            "Repair or remove them, or raise dataset.max_bad_share."
        )


def _lines(bad: Sequence[BadClip]) -> str:
    return "\n".join(f"  {clip}" for clip in bad)


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")

"""What is asked of `worldtune generate`, and everything that can be wrong with it.

All is checked before the first clip is made, and all mistakes are told at once.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldtune.config.mistakes import suggestion
from worldtune.errors import DataError, UserMistakeError
from worldtune.inference.clip_input import IMAGE_SUFFIXES, check_input

# What the published model's videos lack when they are good, in words.
NEGATIVE_PROMPT = (
    "Poor footage: a frozen or barely moving scene, jerky jumps between frames, flicker, ghosting "
    "and smeared motion. Blurred, grainy, over-exposed or murky pictures with blocky compression, "
    "false colours, banding and crooked edges. Objects that melt, merge, change shape, vanish or "
    "pass through one another, bodies and vehicles of impossible build, movement against the laws "
    "of physics. Cartoon or rendered looks, abrupt cuts, visible subtitles, logos, borders and "
    "watermarks."
)
BATCH_KEYS = ("input_video", "prompt", "output_video")
GIVEN_FRAMES = (1, 5)
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ClipRequest:
    """One clip to make; without an input for a model of single images only."""

    prompt: str
    output: Path
    input: Path | None

    @property
    def record(self) -> Path:
        """The file beside the clip that says how it was made."""
        return self.output.with_suffix(".json")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What all clips of a command have in common. None: as the model was trained."""

    num_given: int = 1  # pixel frames: 1 or 5
    guidance: float = 7.0
    negative_prompt: str = NEGATIVE_PROMPT
    seed: int = 0
    steps: int | None = None
    num_chunks: int = 1
    fps: float | None = None
    force: bool = False


def read_batch(path: Path) -> list[ClipRequest]:
    """Read a JSON list of {input_video, prompt, output_video}.

    Paths are taken from the working folder. Errors: DataError with every mistake in the file.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; expected a JSON list of clips") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: is not JSON (line {error.lineno}: {error.msg})") from None
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{path}: expected a list of one or more {{{', '.join(BATCH_KEYS)}}}, not "
            + ("an empty list" if entries == [] else _json_kind(entries))
        )
    mistakes = [
        f"entry {number}: {mistake}"
        for number, entry in enumerate(entries, 1)
        for mistake in _entry_mistakes(entry)
    ]
    if mistakes:
        raise DataError(f"{path}:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    return [
        ClipRequest(
            prompt=entry["prompt"],
            output=Path(entry["output_video"]),
            input=Path(entry["input_video"]) if "input_video" in entry else None,
        )
        for entry in entries
    ]


def _entry_mistakes(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return [f"expected {{{', '.join(BATCH_KEYS)}}}, not {_json_kind(entry)}"]
    missing = [f"{key} is missing" for key in ("prompt", "output_video") if key not in entry]
    extra = [
        f"{key!r} is no key of an entry{suggestion(key, BATCH_KEYS)}"
        for key in entry
        if key not in BATCH_KEYS
    ]
    wrong = [
        f"{key} is {_json_kind(entry[key])}; expected text"
        for key in BATCH_KEYS
        if key in entry and not isinstance(entry[key], str)
    ]
    empty = [f"{key} is empty" for key in ("input_video", "output_video") if entry.get(key) == ""]
    return [*missing, *extra, *wrong, *empty]


def _json_kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return kinds.get(type(value), "nothing" if value is None else "a number")


def request_mistakes(requests: Sequence[ClipRequest], wishes: Wishes, num_frames: int) -> list[str]:
    """Say what cannot be made of clips of num_frames; decodes one frame of each input."""
    mistakes = _wish_mistakes(wishes, num_frames)
    taken: dict[Path, int] = {}
    for number, request in enumerate(requests, 1):
        found = _mistakes_of(request, wishes, num_frames)
        if request.output.resolve() in taken:
            first = taken[request.output.resolve()]
            found.append(f"{request.output}: is the output of entry {first} too")
        taken.setdefault(request.output.resolve(), number)
        where = f"entry {number}: " if len(requests) > 1 else ""
        mistakes += [f"{where}{mistake}" for mistake in found]
    return mistakes


def _wish_mistakes(wishes: Wishes, num_frames: int) -> list[str]:
    mistakes = []
    if wishes.num_given not in GIVEN_FRAMES:
        mistakes.append(f"--num-conditional-frames is {wishes.num_given}; expected 1 or 5")
    if num_frames > 1 and wishes.num_given >= num_frames:
        mistakes.append(
            f"--num-conditional-frames {wishes.num_given} leaves nothing to make of clips of "
            f"{num_frames} frames; use 1"
        )
    if wishes.steps is not None and wishes.steps < 1:
        mistakes.append(f"--steps is {wishes.steps}; expected 1 or more")
    if wishes.num_chunks < 1:
        mistakes.append(f"--num-chunks is {wishes.num_chunks}; expected 1 or more")
    if num_frames == 1 and wishes.num_chunks > 1:
        mistakes.append("--num-chunks makes long videos, and this model makes single images")
    if wishes.fps is not None and not 0 < wishes.fps <= 1000:
        mistakes.append(f"--fps is {wishes.fps:g}; expected a rate above 0, such as 16")
    last = wishes.seed + max(wishes.num_chunks, 1) - 1
    if wishes.seed < 0 or last > LARGEST_SEED:
        mistakes.append(f"--seed is {wishes.seed}; expected 0 to {LARGEST_SEED}, chunks included")
    return mistakes


def _mistakes_of(request: ClipRequest, wishes: Wishes, num_frames: int) -> list[str]:
    mistakes = [*_output_mistakes(request, wishes.force, num_frames)]
    if num_frames == 1:
        if request.input is not None:
            mistakes.append(
                f"{request.input}: this model makes single images from text; give no input"
            )
        return mistakes
    if request.input is None:
        mistakes.append(
            "the input is missing (--input, or input_video in a batch); expected the image or "
            "video that the clip goes on from"
        )
        return mistakes
    try:
        # Asked for a number of frames that is a mistake in itself, one is looked for.
        check_input(request.input, wishes.num_given if wishes.num_given in GIVEN_FRAMES else 1)
    except UserMistakeError as error:
        mistakes.append(str(error))
    return mistakes


def _output_mistakes(request: ClipRequest, force: bool, num_frames: int) -> list[str]:
    output, mistakes = request.output, []
    suffixes = IMAGE_SUFFIXES if num_frames == 1 else (".mp4",)
    if output.suffix.lower() not in suffixes:
        what = "single images" if num_frames == 1 else "videos"
        mistakes.append(
            f"{output}: this model makes {what}; expected a name that ends in "
            f"{' or '.join(suffixes)}"
        )
    there = [path for path in (output, request.record) if path.exists()]
    if output.is_dir():
        mistakes.append(f"{output}: is a folder; expected a file to write")
    elif there and not force:
        names = " and ".join(str(path) for path in there)
        mistakes.append(f"{names}: exists already; use --force to write over it")
    if request.input is not None and output.resolve() == request.input.resolve():
        mistakes.append(f"{output}: is the input too, and would be written over")
    folder = next((f for f in output.resolve().parents if f.exists()), Path("/"))
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        mistakes.append(
            f"{output}: cannot be written: {folder} is no folder that may be written to"
        )
    return mistakes

"""The clips that a run trains on, as plain facts.

The list is part of a run's state: its fingerprint tells whether a resumed run still sees the
same clips, and its JSON form carries it to other processes and into a checkpoint.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from worldtune.data.folder import EMBEDDINGS, VIDEOS
from worldtune.data.order import ClipOrder
from worldtune.errors import DataError


@dataclass(frozen=True)
class Clip:
    """One usable clip."""

    name: str  # the file's stem; in a mix FOLDER/STEM
    path: str  # of the video, below the dataset's folder
    frames: int
    fps: float
    height: int  # as shown
    width: int
    bytes: int  # of the video file
    caption: str  # empty where none is needed and none is there


@dataclass(frozen=True)
class ClipGroup:
    """The clips of one folder and its share in the mix."""

    name: str  # empty where nothing is mixed
    weight: float
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class BadClip:
    """A clip that cannot be used, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        """Return one line for a message."""
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class ClipList:
    """All clips of a run, folder after folder, those left out, and what to tell the user."""

    folder: Path
    groups: tuple[ClipGroup, ...]
    left_out: tuple[BadClip, ...] = ()
    notices: tuple[str, ...] = ()

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of all folders; an order's clip numbers count along this."""
        return tuple(clip for group in self.groups for clip in group.clips)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def order(self, seed: int, *, shuffle: bool = True) -> ClipOrder:
        """Return the global order over these clips."""
        sizes = tuple(len(group.clips) for group in self.groups)
        return ClipOrder(sizes, tuple(group.weight for group in self.groups), seed, shuffle)

    def video_path(self, clip: Clip) -> Path:
        """Return where a clip's video lies."""
        return self.folder / clip.path

    def embedding_path(self, clip: Clip) -> Path:
        """Return where a clip's text embedding lies, where it has one."""
        return beside(self.folder / clip.path, EMBEDDINGS, ".pickle")

    def first(self, count: int) -> "ClipList":
        """Keep the first clips only, in the ratio of the mix: for a trial of overfitting."""
        if not 0 < count <= len(self):
            raise DataError(
                f"{count} clips were asked for, but {self.folder} has {len(self)} usable ones"
            )
        order, kept, place = self.order(0, shuffle=False), set[int](), 0
        while len(kept) < count:
            kept.add(order.at(place).clip)
            place += 1
        numbers = iter(range(len(self)))
        groups = [
            replace(group, clips=tuple(c for c in group.clips if next(numbers) in kept))
            for group in self.groups
        ]
        return replace(self, groups=tuple(group for group in groups if group.clips))

    def fingerprint(self) -> str:
        """Return a hash of what is trained on: names, shares, lengths, file sizes, captions.

        The folder's own place is left out, so that a data set may be moved.
        """
        facts = [[g.name, g.weight, [_content(clip) for clip in g.clips]] for g in self.groups]
        return blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the list as plain JSON values, without the folder."""
        return {
            "fingerprint": self.fingerprint(),
            "groups": [asdict(group) for group in self.groups],
            "left_out": [asdict(bad) for bad in self.left_out],
            "notices": list(self.notices),
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any], folder: Path) -> "ClipList":
        """Rebuild a list from to_json's values and the folder it lies in."""
        groups = (
            ClipGroup(g["name"], g["weight"], tuple(Clip(**clip) for clip in g["clips"]))
            for g in saved["groups"]
        )
        left_out = tuple(BadClip(**bad) for bad in saved["left_out"])
        return ClipList(folder, tuple(groups), left_out, tuple(saved["notices"]))

    def changes_since(self, before: "ClipList") -> list[str]:
        """Tell, in a line each, how this list differs from an earlier one."""
        old = {clip.name: clip for clip in before.clips}
        new = {clip.name: clip for clip in self.clips}
        both = [(name, clip, old[name]) for name, clip in new.items() if name in old]
        lines = {
            "gone": [name for name in old if name not in new],
            "new": [name for name in new if name not in old],
            "changed": [name for name, clip, was in both if _content(clip) != _content(was)],
        }
        told = [_named(how, names) for how, names in lines.items() if names]
        shares = [[(g.name, g.weight) for g in some.groups] for some in (before, self)]
        if shares[0] != shares[1]:
            told.append(f"the mix was {_mix(before)} and is {_mix(self)}")
        return told

    def summary(self) -> str:
        """Return one line: how many clips, of which lengths, sizes and rates."""
        lengths = [clip.frames for clip in self.clips]
        sizes = Counter(f"{clip.height}x{clip.width}" for clip in self.clips)
        rates = Counter(f"{clip.fps:g} fps" for clip in self.clips)
        frames = f"{min(lengths)}" + (f" to {max(lengths)}" if len(set(lengths)) > 1 else "")
        mix = f" ({_mix(self)})" if len(self.groups) > 1 else ""
        parts = (f"{len(self)} clips{mix}", f"{frames} frames", _counted(sizes), _counted(rates))
        return "; ".join(parts)


def beside(video: Path, folder: str, suffix: str) -> Path:
    """Return the file of a video's name in a folder beside videos/."""
    assert video.parent.name == VIDEOS
    return video.parent.parent / folder / f"{video.stem}{suffix}"


def _content(clip: Clip) -> list[Any]:
    """Return what training sees of a clip; sizes and rates follow from the file."""
    return [clip.name, clip.frames, clip.bytes, clip.caption]


def _named(how: str, names: list[str]) -> str:
    few = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return f"{len(names)} clips are {how}: {few}"


def _mix(some: ClipList) -> str:
    return ", ".join(f"{group.name or 'one folder'}: {group.weight:g}" for group in some.groups)


def _counted(counts: Counter[str]) -> str:
    common = counts.most_common(4)
    if len(counts) == 1:
        return common[0][0]
    told = ", ".join(f"{what} ({number})" for what, number in common)
    return told + (f" and {len(counts) - 4} more" if len(counts) > 4 else "")

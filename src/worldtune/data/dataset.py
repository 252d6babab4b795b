"""Places of the global order to items: decoded, resized, with their text."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldtune.data.batch import Item
from worldtune.data.clip_list import ClipList
from worldtune.data.decode import window_frames
from worldtune.data.order import Place
from worldtune.data.resize import Resize, resize_clip
from worldtune.data.text import TextSource
from worldtune.objectives.randomness import integers


@runtime_checkable
class ClipSource(Protocol):
    """Anything that gives an item for each place of the order."""

    @property
    def item_bytes(self) -> int:
        """Size of one item's video."""
        ...

    def __len__(self) -> int:
        """Return the number of clips."""
        ...

    def name_of(self, clip: int) -> str:
        """Return a clip's name, for messages."""
        ...

    def read(self, place: Place, threads: int = 1) -> Item:
        """Return the item; threads for decoding."""
        ...


@dataclass(frozen=True)
class VideoClips:
    """Windows of video files.

    video_size is (height, width). The window's first frame is drawn, evenly over all windows that
    fit, by the seed and the place in the order: an epoch later the same clip gives another one.
    """

    clips: ClipList
    text: TextSource
    num_frames: int
    video_size: tuple[int, int]
    resize: Resize = "stretch"
    seed: int = 0

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    @property
    def item_bytes(self) -> int:
        """Size of one item's video."""
        return 3 * self.num_frames * self.video_size[0] * self.video_size[1]

    def name_of(self, clip: int) -> str:
        """Return a clip's name."""
        return self.clips.clips[clip].name

    def window_start(self, place: Place) -> int:
        """Return the number of the window's first frame, 0 to frames - num_frames inclusive."""
        spare = self.clips.clips[place.clip].frames - self.num_frames
        return int(integers(self.seed, "window", [place.index], 0, spare)) if spare else 0

    def read(self, place: Place, threads: int = 1) -> Item:
        """Decode the window. Raises DataError naming the file where that fails."""
        clip = self.clips.clips[place.clip]
        frames = window_frames(
            self.clips.video_path(clip), self.window_start(place), self.num_frames, threads
        )
        return Item(
            video=resize_clip(frames, self.num_frames, self.video_size, self.resize),
            text=self.text.text_of(clip.caption, self.clips.embedding_path(clip)),
            fps=clip.fps,
            caption=clip.caption,
            name=clip.name,
            index=place.index,
        )

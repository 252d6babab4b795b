"""Clips of noise, for trying a recipe's sizes without data."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from worldtune.data.batch import Item
from worldtune.data.order import ClipOrder, Place

MOCK_CLIPS = 32_768
VIDEO_FPS, IMAGE_FPS = 24.0, 1.0


@dataclass(frozen=True)
class MockClips:
    """Noise for pixels and for text; a clip is the same each time it comes.

    "image" gives clips of one frame; "both" gives every other micro-batch of images, so its
    micro_batch must be the clips that all ranks take at once. video_size is (height, width),
    text_shape (tokens, width).
    Source: the mock data of Cosmos-Predict2: uniform pixels, normal text, 24 fps, 32768 clips.
    """

    num_frames: int
    video_size: tuple[int, int]
    text_shape: tuple[int, int] = (512, 1024)
    seed: int = 0
    kind: Literal["video", "image", "both"] = "video"
    micro_batch: int = 1

    @property
    def item_bytes(self) -> int:
        """Size of the largest item's video."""
        frames = 1 if self.kind == "image" else self.num_frames
        return 3 * frames * self.video_size[0] * self.video_size[1]

    def __len__(self) -> int:
        """Return the number of clips."""
        return MOCK_CLIPS

    def order(self, seed: int, *, shuffle: bool = True) -> ClipOrder:
        """Return the global order over the clips."""
        return ClipOrder((len(self),), (1.0,), seed, shuffle)

    def fingerprint(self) -> str:
        """Return what the clips depend on."""
        return f"mock-{self.kind}-{self.num_frames}-{self.video_size}-{self.text_shape}-{self.seed}"

    def name_of(self, clip: int) -> str:
        """Return a clip's name."""
        return f"mock_{clip:05d}"

    def read(self, place: Place, threads: int = 1) -> Item:
        """Draw the clip."""
        image = self.kind == "image" or (
            self.kind == "both" and place.index // self.micro_batch % 2 == 1
        )
        shape = (3, 1 if image else self.num_frames, *self.video_size)
        size = int(np.prod(shape))
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, place.clip]))
        normal = torch.Generator().manual_seed(int(bits.random_raw()) >> 1)
        pixels = bits.random_raw(-(-size // 8)).view(np.uint8)[:size]
        return Item(
            video=torch.from_numpy(pixels.reshape(shape)),
            text=torch.randn(self.text_shape, generator=normal),
            fps=IMAGE_FPS if image else VIDEO_FPS,
            caption="",
            name=self.name_of(place.clip),
            index=place.index,
        )

"""Clips of noise, for trying a recipe's sizes without data."""

from dataclasses import dataclass

import numpy as np
import torch

from worldtune.data.batch import Item
from worldtune.data.order import ClipOrder, Place

MOCK_CLIPS = 32_768
MOCK_FPS = 24.0


@dataclass(frozen=True)
class MockClips:
    """Noise for videos and for text; a clip is the same each time it comes.

    video_size is (height, width); text_shape (tokens, width).
    Source: the mock data of Cosmos-Predict2: uniform pixels, normal text, 24 fps, 32768 clips.
    """

    num_frames: int
    video_size: tuple[int, int]
    text_shape: tuple[int, int] = (512, 1024)
    seed: int = 0

    @property
    def item_bytes(self) -> int:
        """Size of one item's video."""
        return 3 * self.num_frames * self.video_size[0] * self.video_size[1]

    def __len__(self) -> int:
        """Return the number of clips."""
        return MOCK_CLIPS

    def order(self, seed: int, *, shuffle: bool = True) -> ClipOrder:
        """Return the global order over the clips."""
        return ClipOrder((len(self),), (1.0,), seed, shuffle)

    def fingerprint(self) -> str:
        """Return what the clips depend on."""
        return f"mock-{self.num_frames}-{self.video_size}-{self.text_shape}-{self.seed}"

    def name_of(self, clip: int) -> str:
        """Return a clip's name."""
        return f"mock_{clip:05d}"

    def read(self, place: Place, threads: int = 1) -> Item:
        """Draw the clip."""
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, place.clip]))
        shape = (3, self.num_frames, *self.video_size)
        raw = bits.random_raw(-(-self.item_bytes // 8)).view(np.uint8)[: self.item_bytes]
        normal = torch.Generator().manual_seed(int(bits.random_raw()) >> 1)
        return Item(
            video=torch.from_numpy(raw.reshape(shape)),
            text=torch.randn(self.text_shape, generator=normal),
            fps=MOCK_FPS,
            caption="",
            name=self.name_of(place.clip),
            index=place.index,
        )

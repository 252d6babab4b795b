"""Clip sources for a test of the loader; workers import them by name."""

import os
import signal
import time
from dataclasses import dataclass

import torch

from worldtune.data.batch import Item
from worldtune.data.order import Place
from worldtune.errors import DataError


@dataclass(frozen=True)
class Still:
    """One-pixel clips that tell their number."""

    clips: int = 20
    takes_s: float = 0.0
    bad: int = -1  # cannot be read
    deadly: int = -1  # kills the process that reads it
    item_bytes: int = 3

    def __len__(self) -> int:
        return self.clips

    def name_of(self, clip: int) -> str:
        return f"clip_{clip}"

    def read(self, place: Place, threads: int = 1) -> Item:
        time.sleep(self.takes_s)
        if place.clip == self.bad:
            raise DataError("videos/bad.mp4: frame 3 is damaged")
        if place.clip == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return Item(
            video=torch.full((3, 1, 1, 1), place.clip, dtype=torch.uint8),
            text=torch.full((2, 4), float(place.clip)),
            fps=24.0,
            caption=f"caption {place.clip}",
            name=self.name_of(place.clip),
            index=place.index,
        )

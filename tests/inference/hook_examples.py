"""Hooks for tests, named as package.module:callable."""

import numpy as np

from worldtune.config.video2world import HelperModelSettings


class Strict:
    """Refuses prompts and dark clips, and blackens the left edge of what may be shown."""

    def __init__(self, settings: HelperModelSettings) -> None:
        self.settings = settings

    def refuse_prompt(self, prompt: str) -> str | None:
        return "it says 'crash'" if "crash" in prompt else None

    def refuse_video(self, frames_THWC: np.ndarray) -> str | None:
        return "it is dark" if frames_THWC[0].mean() < 20 else None

    def edit_video(self, frames_THWC: np.ndarray) -> np.ndarray:
        edited = frames_THWC.copy()
        edited[:, :, :8] = 0
        return edited


class Cropping(Strict):
    """Returns frames of another size."""

    def edit_video(self, frames_THWC: np.ndarray) -> np.ndarray:
        return frames_THWC[:, 2:]


def longer(settings: HelperModelSettings):
    """A refiner that counts the frames it sees."""
    return lambda prompt, frames: f"{prompt}, seen in {0 if frames is None else len(frames)} frames"


def crashing(settings: HelperModelSettings):
    return lambda prompt, frames: f"{prompt} and a crash"


def silent(settings: HelperModelSettings):
    return lambda prompt, frames: "  "


def half(settings: HelperModelSettings):
    """Lacks what a guardrail needs."""
    return object()


NOT_CALLABLE = 3

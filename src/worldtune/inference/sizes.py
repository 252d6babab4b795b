"""The published frame sizes, and the one that a clip gets."""

from typing import Literal

Resolution = Literal["480", "512", "720"]
AspectRatio = Literal["1:1", "4:3", "3:4", "16:9", "9:16"]

# (height, width). Source: Cosmos-Predict2's table of video sizes.
SIZES: dict[Resolution, dict[AspectRatio, tuple[int, int]]] = {
    "720": {
        "1:1": (960, 960),
        "4:3": (704, 960),
        "3:4": (960, 704),
        "16:9": (704, 1280),
        "9:16": (1280, 704),
    },
    "512": {
        "1:1": (512, 512),
        "4:3": (512, 640),
        "3:4": (640, 512),
        "16:9": (384, 640),
        "9:16": (640, 384),
    },
    "480": {
        "1:1": (480, 480),
        "4:3": (480, 640),
        "3:4": (640, 480),
        "16:9": (432, 768),
        "9:16": (768, 432),
    },
}


def choose_size(
    resolution: Resolution | None,
    aspect_ratio: AspectRatio | None,
    *,
    trained_resolution: Resolution | None,
    trained_size: tuple[int, int],
) -> tuple[int, int]:
    """Choose (height, width): what was asked for, else what the model was trained on.

    Of two words, the one that was not said is the model's resolution, or 720 for a model
    without one, and 16:9.
    """
    if resolution is None and aspect_ratio is None:
        return trained_size
    return SIZES[resolution or trained_resolution or "720"][aspect_ratio or "16:9"]


def size_mistakes(size: tuple[int, int], multiple: int, largest: tuple[int, int]) -> list[str]:
    """Say why clips of a size cannot be made: it does not divide, or has no positions.

    multiple is of pixels a token, per side; largest is (height, width) in pixels.
    """
    instead = "; choose another --resolution and --aspect-ratio"
    mistakes = []
    for word, side, limit in zip(("height", "width"), size, largest, strict=True):
        if side % multiple:
            mistakes.append(f"the {word} {side} is no multiple of {multiple}{instead}")
        if side > limit:
            mistakes.append(f"the {word} {side} is above {limit}, the network's largest{instead}")
    return mistakes

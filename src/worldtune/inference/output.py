"""Writing a clip and, beside it, how it was made."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from worldtune.data.video import write_video
from worldtune.inference.request import ClipRequest

JPEG_QUALITY = 95


def write_clip(
    request: ClipRequest,
    frames: UInt8[Tensor, "t h w 3"],
    fps: float,
    record: Mapping[str, Any],
) -> None:
    """Write the clip, or the image where there is one frame, then the record beside it.

    Each file is there whole or not at all; missing folders are made.
    """
    # First of all, so that no clip is left without a record by what fails here.
    text = json.dumps(record, indent=2, ensure_ascii=False)
    request.output.parent.mkdir(parents=True, exist_ok=True)
    if len(frames) == 1:
        _write_image(request.output, frames[0])
    else:
        write_video(request.output, frames, fps)
    with _whole_or_nothing(request.record) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def _write_image(path: Path, frame: UInt8[Tensor, "h w 3"]) -> None:
    with _whole_or_nothing(path) as unfinished:
        image = Image.fromarray(frame.numpy())
        kind = Image.registered_extensions()[path.suffix.lower()]
        quality = {"quality": JPEG_QUALITY} if kind == "JPEG" else {}
        # WebP loses detail by default; PNG never does.
        image.save(unfinished, kind, **quality, **({"lossless": True} if kind == "WEBP" else {}))


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[Path]:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

"""The conditioning input: the frames a clip begins with, from an image or the end of a video.

Dims: N given frames, T frames of the whole clip, H and W pixels.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from worldtune.data.batch import to_model_range
from worldtune.data.decode import read_window
from worldtune.data.probe import probe_video
from worldtune.data.resize import resize_frame
from worldtune.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Kinds of picture (Pillow's modes) with more than 8 bits a channel, which it would cut off.
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")

Kind = Literal["image", "video"]
Rest = Literal["black", "last"]


def kind_of(path: Path) -> Kind:
    """Say whether a file is taken for an image, by its name; anything else is a video."""
    return "image" if path.suffix.lower() in IMAGE_SUFFIXES else "video"


def check_input(path: Path, num_given: int) -> None:
    """Refuse an input that does not give num_given frames; decodes one frame at most.

    Errors: DataError.
    """
    if kind_of(path) == "image":
        read_image(path)
        if num_given > 1:
            raise DataError(
                f"{path}: an image gives 1 frame, and {num_given} were asked for; use "
                "--num-conditional-frames 1, or a video"
            )
        return
    frames = probe_video(path).frames
    if frames < num_given:
        raise DataError(
            f"{path}: has {frames} frames, and the last {num_given} were asked for; use "
            "--num-conditional-frames 1, or a longer video"
        )


def read_given_frames(
    path: Path, num_given: int, size: tuple[int, int]
) -> UInt8[Tensor, "3 n h w"]:
    """Read an image, or the last frames of a video, at (height, width).

    A frame is scaled until it covers the size, and its middle is cut out.
    Errors: DataError where there are fewer frames or one cannot be read.
    """
    check_input(path, num_given)
    if kind_of(path) == "image":
        frames = read_image(path)[None]
    else:
        total = probe_video(path).frames
        frames = read_window(path, total - num_given, num_given)
    return torch.stack([resize_frame(frame, size, "crop") for frame in frames], dim=1)


def read_image(path: Path) -> UInt8[Tensor, "h w 3"]:
    """Read an image upright: turned as its EXIF tag says, without transparency.

    Errors: DataError where it is not there, not an image or not of 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode in DEEP_MODES:
                raise DataError(
                    f"{path}: has more than 8 bits a channel ({image.mode}); save it with 8"
                )
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return torch.from_numpy(np.array(upright))
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; expected an image or a video") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; expected an image or a video") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image, whatever its name says") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def conditioning_clip(
    given: Float[Tensor, "3 n h w"], num_frames: int, rest: Rest
) -> Float[Tensor, "1 3 t h w"]:
    """Lay the given frames, -1 to 1, at the beginning of a clip.

    The rest is black after an image and repeats the last frame after a video, as in
    Cosmos-Predict2. A causal tokenizer's first latents do not depend on it.
    """
    clip = given.new_full((1, 3, num_frames, *given.shape[2:]), -1.0)
    clip[0, :, : given.shape[1]] = given
    if rest == "last":
        clip[0, :, given.shape[1] :] = given[:, -1:]
    return clip


def read_given(
    path: Path, num_given: int, size: tuple[int, int]
) -> tuple[Float[Tensor, "3 n h w"], Rest]:
    """Read the given frames, -1 to 1, and what stands behind them. Errors: DataError."""
    given = to_model_range(read_given_frames(path, num_given, size))
    return given, "black" if kind_of(path) == "image" else "last"

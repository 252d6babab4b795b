"""What a video tokenizer is, and the arithmetic between frames and latents.

A tokenizer is causal in time: the first latent is the first frame alone, and each later
latent adds `temporal_factor` frames. So T latents are `temporal_factor * (T - 1) + 1`
frames: 1, 5, 9, ... 93 for a factor of 4.

Dims: B clips, T frames or latents, H and W rows and columns.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from worldtune.errors import DataError, RecipeError


@runtime_checkable
class VideoTokenizer(Protocol):
    """Clips to latents and back."""

    @property
    def name(self) -> str:
        """The word for it in a recipe and in a cache."""
        ...

    @property
    def temporal_factor(self) -> int:
        """Frames that one latent after the first adds."""
        ...

    @property
    def spatial_factor(self) -> int:
        """Rows, and columns, of pixels in one row or column of latents."""
        ...

    @property
    def latent_channels(self) -> int:
        """Numbers in one place of a latent."""
        ...

    def encode(self, video: Tensor) -> Float[Tensor, "b c s y x"]:
        """Normalised float32 latents of RGB frames [B, 3, T, H, W] in -1 to 1.

        Errors: DataError where the shape does not divide into latents.
        """
        ...

    def decode(self, latents: Tensor) -> Float[Tensor, "b 3 t h w"]:
        """RGB frames in -1 to 1, float32, of normalised latents [B, C, S, Y, X]."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever the latents of a clip would; caches are named by it."""
        ...


def count_latents(num_frames: int, temporal_factor: int = 4) -> int:
    """Latents of a clip of num_frames.

    Errors: RecipeError with the nearest numbers that fit.
    """
    if num_frames < 1 or (num_frames - 1) % temporal_factor:
        raise RecipeError(
            f"num_frames is {num_frames}; {_frames_rule(num_frames, temporal_factor)}"
        )
    return (num_frames - 1) // temporal_factor + 1


def count_frames(num_latents: int, temporal_factor: int = 4) -> int:
    """Frames of a clip of num_latents.

    Errors: RecipeError where there is no latent.
    """
    if num_latents < 1:
        raise RecipeError(f"the number of latent frames is {num_latents}; it must be 1 or more")
    return (num_latents - 1) * temporal_factor + 1


def latent_size(
    tokenizer: VideoTokenizer, num_frames: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """Channels, latents, rows and columns of a clip's latents.

    Errors: RecipeError that tells every number that does not fit.
    """
    mistakes = []
    if num_frames < 1 or (num_frames - 1) % tokenizer.temporal_factor:
        rule = _frames_rule(num_frames, tokenizer.temporal_factor)
        mistakes.append(f"num_frames is {num_frames}; {rule}")
    mistakes += _size_mistakes(height, width, tokenizer.spatial_factor)
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    factor = tokenizer.spatial_factor
    latents = count_latents(num_frames, tokenizer.temporal_factor)
    return tokenizer.latent_channels, latents, height // factor, width // factor


def check_video(tokenizer: VideoTokenizer, video: Tensor) -> None:
    """Refuse a clip that the tokenizer cannot divide.

    Errors: DataError that tells every mistake of the shape.
    """
    if video.ndim != 5 or video.shape[1] != 3:
        raise DataError(
            f"the {tokenizer.name} tokenizer reads clips of shape [B, 3, T, H, W]; "
            f"this one is {list(video.shape)}"
        )
    if not video.is_floating_point():
        raise DataError(
            f"the {tokenizer.name} tokenizer reads frames as floating point in -1 to 1; "
            f"this clip is {video.dtype}. Divide bytes by 127.5 and subtract 1"
        )
    frames, height, width = video.shape[2:]
    mistakes = []
    if frames < 1 or (frames - 1) % tokenizer.temporal_factor:
        mistakes.append(
            f"the clip has {frames} frames; {_frames_rule(frames, tokenizer.temporal_factor)}"
        )
    mistakes += _size_mistakes(height, width, tokenizer.spatial_factor)
    if mistakes:
        raise DataError("\n".join(mistakes))


def check_latents(tokenizer: VideoTokenizer, latents: Tensor) -> None:
    """Refuse latents of another shape than [B, latent_channels, T, H, W].

    Errors: DataError.
    """
    channels = tokenizer.latent_channels
    if latents.ndim != 5 or latents.shape[1] != channels or 0 in latents.shape:
        raise DataError(
            f"the {tokenizer.name} tokenizer decodes latents of shape [B, {channels}, T, H, W], "
            f"none of them 0; these are {list(latents.shape)}"
        )


def _frames_rule(num_frames: int, factor: int) -> str:
    below = max((num_frames - 1) // factor, 0) * factor + 1
    nearest = f"{below}" if num_frames < 1 else f"{below} or {below + factor}"
    return f"a clip has {factor} * n + 1 frames: the nearest are {nearest}"


def _size_mistakes(height: int, width: int, factor: int) -> list[str]:
    mistakes = []
    for word, size in (("height", height), ("width", width)):
        if size < factor or size % factor:
            below = max(size // factor, 1) * factor
            nearest = f"{below}" if size < factor else f"{below} or {below + factor}"
            mistakes.append(
                f"the {word} is {size}; it must be a multiple of {factor}: "
                f"the nearest are {nearest}"
            )
    return mistakes

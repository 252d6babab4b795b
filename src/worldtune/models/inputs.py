"""What goes into the network: checked against its switches, and stacked on the channels.

Legend: B batch, C channels, T frames (of all cameras), H rows, W columns, N text tokens.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.embeddings import nearest_resize
from worldtune.models.positions import check_grid


@dataclass(frozen=True)
class Conditions:
    """What a network is told beside latents, time and text; None where nothing is told.

    condition_mask: 1 on given frames. padding_mask: 1 on padding, at the size of the
    pixels, one for all samples or one each. fps: frames per second of each clip.
    view_indices: the camera's row of each frame; None gives camera v row v.
    frame_repeat: one number per camera, already divided by 10.
    """

    condition_mask: Shaped[Tensor, "_ 1 _ _ _"] | None = None
    padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None = None
    fps: Shaped[Tensor, "b"] | None = None
    view_indices: Shaped[Tensor, "_ _"] | None = None
    frame_repeat: Shaped[Tensor, "_ _"] | None = None


def token_grid(
    config: TransformerConfig,
    latents_BCTHW: Float[Tensor, "b c t h w"],
    total_frames: int | None = None,
) -> tuple[int, int, int]:
    """One camera's tokens (frames, rows, columns) held here.

    `total_frames` counts those of the whole clip where only a piece of it is held. Raises
    RecipeError where the latents do not divide into cameras and patches, or have no positions.
    """
    _, channels, frames, rows, columns = latents_BCTHW.shape
    views, spatial, temporal = config.num_views, config.patch_spatial, config.patch_temporal
    if channels != config.latent_channels:
        raise RecipeError(
            f"the latents have {channels} channels, the network takes {config.latent_channels}; "
            "use the tokenizer that the network was trained with."
        )
    if rows % spatial or columns % spatial:
        raise RecipeError(
            f"latents of {rows} rows and {columns} columns do not divide into patches of "
            f"{spatial} by {spatial}; choose a video size whose latents do."
        )
    if frames % (views * temporal):
        raise RecipeError(
            f"{frames} latent frames do not divide into {views} cameras of patches "
            f"{temporal} long; give every camera the same number of frames."
        )
    grid = (frames // (views * temporal), rows // spatial, columns // spatial)
    check_grid(config, total_frames or grid[0], grid[1], grid[2])
    return grid


def frame_times(
    time_BT: Float[Tensor, "b ..."], token_frames: int, batch: int
) -> Float[Tensor, "b t_or_1"]:
    """The time as [B,1] or [B,T]; RecipeError where it is neither."""
    times = time_BT[:, None] if time_BT.ndim == 1 else time_BT
    if times.ndim != 2 or times.shape[0] != batch or times.shape[1] not in (1, token_frames):
        raise RecipeError(
            f"the time has shape {list(time_BT.shape)}; expected [{batch}], [{batch}, 1] or "
            f"[{batch}, {token_frames}]: one for each sample, or one for each frame."
        )
    return times


def captions(
    config: TransformerConfig, text_BND: Float[Tensor, "_ n c"], batch: int
) -> Float[Tensor, "bv nv c"]:
    """Fold the cameras' captions into the batch, so that each meets its own camera only."""
    expected = config.text_input_channels or config.text_channels
    text_batch, tokens, channels = text_BND.shape
    if channels != expected:
        raise RecipeError(
            f"the text is {channels} wide, the network takes {expected}; use the text encoder "
            "that the network was trained with."
        )
    if text_batch != batch:
        raise RecipeError(f"{text_batch} captions for {batch} clips; give each clip one.")
    if tokens % config.num_views:
        raise RecipeError(
            f"{tokens} text tokens do not divide into {config.num_views} cameras; give every "
            "camera a caption of the same length, one after another."
        )
    return text_BND.reshape(batch * config.num_views, -1, channels)


def cameras_told(
    config: TransformerConfig, latents_BCTHW: Float[Tensor, "b c t h w"], told: Conditions
) -> tuple[Int[Tensor, "b t"], Float[Tensor, "b v"]] | None:
    """Each frame's row in the table of cameras, and each camera's number of repeated frames.

    Without indices camera v has row v; without numbers they are 0. None for a network that
    does not tell cameras apart; RecipeError where it is told of them, or in another shape.
    """
    batch, frames, views = latents_BCTHW.shape[0], latents_BCTHW.shape[2], config.num_views
    indices, repeat = told.view_indices, told.frame_repeat
    if not config.view_channels:
        if indices is not None or repeat is not None:
            raise RecipeError(
                "the network does not tell cameras apart; pass neither view_indices nor "
                "frame_repeat."
            )
        return None
    if indices is None:
        rows = torch.arange(views, device=latents_BCTHW.device)
        indices = rows.repeat_interleave(frames // views).expand(batch, -1)
    if repeat is None:
        repeat = latents_BCTHW.new_zeros(batch, views)
    expected = {
        "view_indices": (indices, (batch, frames)),
        "frame_repeat": (repeat, (batch, views)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise RecipeError(
                f"{name} has shape {list(tensor.shape)}; these clips need {list(shape)}."
            )
    return indices.long(), repeat.float()


def stack_channels(
    config: TransformerConfig,
    latents_BCTHW: Float[Tensor, "b c t h w"],
    told: Conditions,
    views_BCT: Float[Tensor, "b c_view t"] | None,
) -> Float[Tensor, "b c_in t h w"]:
    """Latents, condition mask, padding mask, view: those that the network has, in that order."""
    batch, _, frames, rows, columns = latents_BCTHW.shape
    one_channel = (batch, 1, frames, rows, columns)
    parts = [latents_BCTHW]
    if config.condition_mask:
        parts.append(_condition_mask(told.condition_mask, latents_BCTHW, one_channel))
    elif told.condition_mask is not None:
        raise RecipeError("the network has no channel for a condition mask; do not pass one.")
    if config.padding_mask:
        parts.append(padding_channel(told.padding_mask, latents_BCTHW))
    elif told.padding_mask is not None:
        raise RecipeError("the network has no channel for a padding mask; do not pass one.")
    if views_BCT is not None:
        parts.append(views_BCT[..., None, None].expand(-1, -1, -1, rows, columns))
    return torch.cat([part.to(latents_BCTHW.dtype) for part in parts], dim=1)


def padding_channel(
    padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None,
    latents_BCTHW: Float[Tensor, "b c t h w"],
) -> Float[Tensor, "b 1 t h w"]:
    """The padding mask at the size of the latents, the same for every frame."""
    batch, _, frames, rows, columns = latents_BCTHW.shape
    if padding_mask is None:
        return latents_BCTHW.new_zeros(batch, 1, frames, rows, columns)
    if padding_mask.shape[0] not in (1, batch):
        raise RecipeError(
            f"{padding_mask.shape[0]} padding masks for {batch} clips; give one, or one each."
        )
    mask = nearest_resize(padding_mask, rows, columns)
    return mask[:, :, None].expand(batch, -1, frames, -1, -1)


def _condition_mask(
    mask: Tensor | None, latents_BCTHW: Tensor, shape: tuple[int, ...]
) -> Float[Tensor, "b 1 t h w"]:
    if mask is None:
        return latents_BCTHW.new_zeros(shape)
    if tuple(mask.shape) != shape:
        raise RecipeError(
            f"the condition mask has shape {list(mask.shape)}; the latents need {list(shape)}."
        )
    return mask

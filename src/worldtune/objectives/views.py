"""Which frames of several cameras are given, and one view number for each latent frame.

The clips of V cameras lie behind each other in time: frame t of view v is frame v * T + t.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from worldtune.config.condition_location import Location
from worldtune.errors import DataError, RecipeError
from worldtune.objectives import conditioning, randomness


def given_mask(
    location: Location,
    seed: int,
    indices: Tensor | Sequence[int],
    *,
    num_views: int,
    num_latents: int,
    first_n: int = 0,
) -> Float[Tensor, "b 1 vt 1 1"]:
    """Return the mask of given latent frames, 1 where given, for each clip.

    num_latents is that of one view; first_n is the number of first frames, or the largest
    number where it is random. Random parts depend on the seed and the clip's index alone.
    """
    if not 0 <= first_n < num_latents:
        raise RecipeError(
            f"{first_n} first latent frames of {num_latents} are given in every view; expected "
            f"0 to {num_latents - 1} (first_random_n_num_condition_t_max)"
        )
    if location.first == "random":
        count = randomness.integers(seed, "given_frames", indices, 0, first_n)
    else:
        count = torch.full((len(indices),), first_n if location.first == "fixed" else 0)
    first = conditioning.first_frames_mask(count, num_latents, num_views=num_views)
    whole = _whole_views(location, seed, indices, num_views)
    whole = whole.repeat_interleave(num_latents, dim=1)[:, None, :, None, None]
    return torch.maximum(first, whole.float())


def _whole_views(
    location: Location, seed: int, indices: Tensor | Sequence[int], num_views: int
) -> Bool[Tensor, "b v"]:
    whole = torch.zeros(len(indices), num_views, dtype=torch.bool)
    if location.views is not None:
        whole[:, list(location.views)] = True
        return whole
    assert location.view_range is not None
    low, high = location.view_range
    for row, index in enumerate(indices):
        g = randomness.generator(seed, "given_views", int(index))
        size = int(torch.randint(low, high + 1, (), generator=g))
        whole[row, torch.randperm(num_views, generator=g)[:size]] = True
    return whole


def latent_view_indices(
    view_indices: Num[Tensor, "b vf"] | Int[Tensor, "b vf"],
    *,
    num_views: int,
    temporal_factor: int = 8,
) -> Num[Tensor, "b vt"]:
    """Reduce one view number per pixel frame to one per latent frame.

    Of each view the frames 0, 1, 1 + f, 1 + 2f, ... stay, f being the tokenizer's temporal
    factor: the first pixel frame of every latent frame. Lengths that the tokenizer would not
    fill (other than 1 + k * f frames a view) raise DataError.
    """
    total = view_indices.shape[1]
    frames = total // num_views
    if total % num_views or (frames - 1) % temporal_factor:
        raise DataError(
            f"{total} view numbers do not fit {num_views} views of 1 + k * {temporal_factor} "
            f"frames each; cut every view's video to such a length"
        )
    kept = [0, *range(1, frames, temporal_factor)]
    per_view = view_indices.unflatten(1, (num_views, frames))
    return per_view[:, :, kept].flatten(1)

"""Which frames of several cameras are given, and one view number for each latent frame.

The clips of V cameras lie behind each other in time: frame t of view v is frame v * T + t.

Source: the condition locations of Cosmos-Transfer1's Single2MultiView.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from worldtune.errors import DataError, RecipeError
from worldtune.objectives import conditioning, randomness

# What a location says of the first frames of every view.
FirstFrames = Literal["none", "fixed", "random"]

_PLAIN: dict[str, tuple[tuple[int, ...] | None, FirstFrames]] = {
    "first_cam": ((0,), "none"),
    "first_cam_and_first_n": ((0,), "fixed"),
    "first_cam_and_random_n": ((0,), "random"),
    "first_n": ((), "fixed"),
    "first_random_n": ((), "random"),
    "any_cam": (None, "none"),
    "any_cam_and_random_n": (None, "random"),
}
# Longest first, since the shorter one begins the longer one.
_WITH_VIEWS: dict[str, FirstFrames] = {
    "fixed_cam_and_first_n": "fixed",
    "fixed_cam": "none",
}


@dataclass(frozen=True)
class Location:
    """Where the given frames lie.

    views are given whole; None stands for a random set of view_range[0] to view_range[1]
    views. first says whether the first frames of every view are given too: as many as asked
    ("fixed"), or a random number from 0 to as many ("random").
    """

    views: tuple[int, ...] | None
    first: FirstFrames
    view_range: tuple[int, int] | None = None


def parse_location(
    name: str, num_views: int, view_range: tuple[int, int] | None = None
) -> Location:
    """Read a condition_location such as "first_cam_and_random_n" or "fixed_cam_0_2".

    view_range is the smallest and largest number of views (n_cond_view_min, n_cond_view_max),
    needed by "any_cam" and "any_cam_and_random_n" only. Anything else raises RecipeError.
    """
    if name in _PLAIN:
        views, first = _PLAIN[name]
        return _check(name, Location(views, first, view_range), num_views)
    for prefix, first in _WITH_VIEWS.items():
        numbers = name.removeprefix(prefix).split("_")[1:]
        if name.startswith(prefix + "_") and all(number.isdecimal() for number in numbers):
            views = tuple(sorted({int(number) for number in numbers}))
            return _check(name, Location(views, first), num_views)
    known = [*_PLAIN, *(f"{prefix}_0" for prefix in _WITH_VIEWS)]
    near = difflib.get_close_matches(name, known, n=1)
    raise RecipeError(
        f"condition_location '{name}' is not a place for given frames; "
        + (f"did you mean '{near[0]}'? " if near else "")
        + f"Known: {', '.join(known)} (view numbers joined by '_')"
    )


def _check(name: str, location: Location, num_views: int) -> Location:
    if location.views is None:
        low, high = location.view_range or (0, 0)
        if not 1 <= low <= high < num_views:
            raise RecipeError(
                f"condition_location '{name}' gives {low} to {high} of {num_views} views; set "
                f"n_cond_view_min and n_cond_view_max to 1 <= min <= max <= {num_views - 1}"
            )
    elif any(view >= num_views for view in location.views):
        raise RecipeError(
            f"condition_location '{name}' names view {max(location.views)}, but there are "
            f"{num_views} views, numbered from 0"
        )
    elif len(location.views) == num_views:
        raise RecipeError(
            f"condition_location '{name}' gives all {num_views} views and leaves nothing to "
            "predict; leave one out"
        )
    return location


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

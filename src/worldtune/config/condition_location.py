"""Where a recipe says that given frames of several cameras lie: its condition_location.

Source: the condition locations of Cosmos-Transfer1's Single2MultiView.
"""

import difflib
from dataclasses import dataclass
from typing import Literal

from worldtune.errors import RecipeError

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

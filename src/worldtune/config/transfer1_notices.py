"""Notices on Transfer1 recipes: one line for each place where one contradicts itself or the truth.

The run goes on as written.
"""

from worldtune.config.notices import (
    Notice,
    after_the_schedule,
    clips_a_step,
    endless_warm_up,
    idle_words,
    inert_settings,
    schedule_unused,
    told,
    two_intervals,
)
from worldtune.config.root import Facts

RELEASED_TIME_RATIO = 2.0
# What the published generation for several cameras makes.
GENERATED_FOR_SEVERAL = (576, 1024)


def released_time_ratio(facts: Facts) -> str | None:
    """The published bases stretch time by 2; the published experiments of cars train them at 1."""
    model = facts.recipe.model
    ratio, key = model.net.rope_t_extrapolation_ratio, "model.net.rope_t_extrapolation_ratio"
    if model.fresh_weights:
        return None
    if ratio != RELEASED_TIME_RATIO:
        return f"{key} is {ratio:g}; the published bases were trained and generate with 2"
    if model.net.marks_given_frames and model.n_views == 1:
        return None
    return f"{key} is 2, as the published bases have it; the published experiments train with 1"


def base_of_a_fresh_branch(facts: Facts) -> str | None:
    """The documents call it training from scratch."""
    model, starts_at = facts.recipe.model, facts.recipe.checkpoint.load_path
    if model.fresh_weights or starts_at:
        return None
    return (
        "the branch starts fresh, on a base that stays as it is: training from scratch needs the "
        f"base's weights too ({model.base_load_from.load_path})"
    )


def generated_size(facts: Facts) -> str | None:
    """Several cameras are trained at another size than is generated."""
    size, model = facts.recipe.dataloader_train.dataset.size, facts.recipe.model
    if model.n_views == 1 or model.fresh_weights or size == GENERATED_FOR_SEVERAL:
        return None
    rows, columns = GENERATED_FOR_SEVERAL
    return (
        f"clips of several cameras are {size[0]}x{size[1]} (height x width); the published "
        f"generation makes {rows}x{columns}"
    )


def cameras_understood(facts: Facts) -> str | None:
    """A camera's bare name is its folder's, which the toolkit writes with a prefix."""
    dataset = facts.recipe.dataloader_train.dataset
    pairs = zip(dataset.view_keys or (), dataset.views, strict=True)
    meant = [f"'{written}' is '{view}'" for written, view in pairs if written != view]
    return f"dataloader_train.dataset.view_keys: {', '.join(meant)}" if meant else None


def always_strict(facts: Facts) -> str | None:
    """The documents read weights leniently, because a branch's file leaves the base out."""
    if facts.recipe.checkpoint.strict_resume:
        return None
    return (
        "checkpoint.strict_resume=false changes nothing: every weight of the branch has to be in "
        "its file, and every weight of the base in the base's"
    )


NOTICES: tuple[Notice, ...] = (
    released_time_ratio,
    base_of_a_fresh_branch,
    generated_size,
    cameras_understood,
    always_strict,
    endless_warm_up,
    after_the_schedule,
    clips_a_step,
    schedule_unused,
    two_intervals,
    idle_words,
    inert_settings,
)


def notices_of(facts: Facts) -> tuple[str, ...]:
    """Every notice on a Transfer1 recipe that is true, one a line, in the table's order."""
    return told(NOTICES, facts)

"""Notices: one line for each place where a recipe contradicts itself, its text or the truth.

The run goes on as written. Each notice is a function from the facts of a composition to a
line, or to nothing where it is not true of the settings at hand.
"""

import math
from collections.abc import Callable, Sequence

from worldtune.config.inert import reason_of
from worldtune.config.origins import COMMAND_LINE, DEFAULTS, EXPERIMENT
from worldtune.config.root import Facts
from worldtune.config.settings import SchedulerSettings
from worldtune.config.tree import dotted, leaves

Notice = Callable[[Facts], str | None]

ITS_EXPERIMENTS = (
    "predict2_video2world_training_2b_its",
    "predict2_video2world_lora_training_2b_its",
)
ITS_TEXT_ITERATIONS = 10_000
MAX_LORA_RANK = 64
# The sizes nearest to these that the 720p weights were trained on.
PUBLISHED_720P = {(720, 1280): (704, 1280), (1280, 720): (1280, 704)}
DOCUMENTED_PROCESSES = 8


def commented_rate(facts: Facts) -> str | None:
    """The recipe's comment calls 2^-14.5 about 3.05e-5, which is 2^-15."""
    written = facts.origins["optimizer.lr"].startswith(EXPERIMENT)
    if not written or not math.isclose(facts.recipe.optimizer.lr, 2**-14.5, rel_tol=1e-6):
        return None
    return "optimizer.lr is 2^-14.5 = 4.32e-05; the recipe's comment, 3.05e-05, is 2^-15"


def documented_iterations(facts: Facts) -> str | None:
    """The recipe's text speaks of 10k iterations; its dict stops earlier."""
    steps = facts.recipe.trainer.max_iter
    chosen_by_user = facts.origins["trainer.max_iter"] == COMMAND_LINE
    if facts.experiment not in ITS_EXPERIMENTS or chosen_by_user or steps >= ITS_TEXT_ITERATIONS:
        return None
    return (
        f"the run ends after trainer.max_iter={steps} steps; "
        f"the recipe's text speaks of {ITS_TEXT_ITERATIONS}"
    )


def endless_warm_up(facts: Facts) -> str | None:
    """The schedule climbs during the whole run."""
    scheduler, steps = facts.recipe.scheduler, facts.recipe.trainer.max_iter
    if scheduler.kind != "lambdalinear" or scheduler.warm_up_steps[0] < steps:
        return None
    climb = scheduler.warm_up_steps[0]
    last = _factor_while_climbing(scheduler, steps - 1)
    mean = (scheduler.f_start[0] + last) / 2
    return (
        f"the whole run is warm-up (warm_up_steps {climb}, max_iter {steps}): the rate climbs to "
        f"{last:.3g} of optimizer.lr and is {mean:.2g} of it on average"
    )


def _factor_while_climbing(scheduler: SchedulerSettings, step: int) -> float:
    start, end = scheduler.f_start[0], scheduler.f_max[0]
    return start + (end - start) * step / scheduler.warm_up_steps[0]


def after_the_schedule(facts: Facts) -> str | None:
    """The run is longer than all cycles; the last factor then holds."""
    scheduler, steps = facts.recipe.scheduler, facts.recipe.trainer.max_iter
    planned = sum(scheduler.cycle_lengths)
    if scheduler.kind != "lambdalinear" or steps <= planned + 1:
        return None
    return (
        f"the schedule ends after {planned} of {steps} steps; "
        f"the factor stays at f_min={scheduler.f_min[-1]:g}"
    )


def clips_a_step(facts: Facts) -> str | None:
    """Processes that share a clip do not hold clips of their own."""
    parallel = facts.recipe.model_parallel
    sharing = parallel.context_parallel_size * parallel.tensor_model_parallel_size
    processes = facts.processes or DOCUMENTED_PROCESSES
    if sharing == 1 or processes % sharing:
        return None
    batch = facts.recipe.dataloader_train.batch_size * facts.recipe.trainer.grad_accum_iter
    data_ranks = processes // sharing
    clips = data_ranks * batch
    return (
        f"a step on {processes} processes takes {clips} clip{'s' if clips > 1 else ''}, not "
        f"{processes * batch}: {sharing} processes share a clip"
    )


def rows_of_720p(facts: Facts) -> str | None:
    """720 rows are trained on, but the published 720p weights know 704."""
    pipe, dataset = facts.recipe.model.config.pipe_config, facts.recipe.dataloader_train.dataset
    published = PUBLISHED_720P.get(dataset.video_size)
    if pipe.resolution != "720" or published is None or facts.recipe.model.config.fresh_weights:
        return None
    return (
        f"clips are {_size(dataset.video_size)} (height x width), "
        f"the published 720p weights were trained at {_size(published)}"
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def recomputing_already(facts: Facts) -> str | None:
    """Gradient checkpointing, the recipe's remedy for lack of memory, is on."""
    mode = facts.recipe.model.config.pipe_config.net.sac_config.mode
    if mode in ("none", "block_wise"):
        return None
    return (
        f"gradient checkpointing is on (net.sac_config.mode={mode}); "
        f"block_wise saves more memory for more time"
    )


def large_rank(facts: Facts) -> str | None:
    """A rank that is seldom worth its memory."""
    config = facts.recipe.model.config
    if config.train_architecture != "lora" or config.lora_rank <= MAX_LORA_RANK:
        return None
    return f"model.config.lora_rank is {config.lora_rank}; above {MAX_LORA_RANK} it seldom helps"


def adapters_unused(facts: Facts) -> str | None:
    """LoRA settings were changed, but all weights are trained."""
    if facts.recipe.model.config.train_architecture == "lora":
        return None
    names = ("lora_rank", "lora_alpha", "lora_target_modules", "init_lora_weights")
    names += ("use_rslora", "use_dora")
    changed = [name for name in names if facts.changed(f"model.config.{name}")]
    return _change_nothing(changed, "model.config.train_architecture is 'base'")


def schedule_unused(facts: Facts) -> str | None:
    """Numbers of a schedule were given, but the factor is constant."""
    if facts.recipe.scheduler.kind != "constant":
        return None
    names = ("warm_up_steps", "cycle_lengths", "f_start", "f_max", "f_min")
    changed = [name for name in names if facts.changed(f"scheduler.{name}")]
    return _change_nothing(changed, "scheduler.kind is 'constant'")


def _change_nothing(what: Sequence[str], why: str) -> str | None:
    verb = "changes" if len(what) == 1 else "change"
    return f"{', '.join(what)} {verb} nothing: {why}" if what else None


def folder_unused(facts: Facts) -> str | None:
    """A folder of clips is named, but the clips are made up."""
    dataset = facts.recipe.dataloader_train.dataset
    if dataset.kind == "clips" or not (dataset.dataset_dir or dataset.mix):
        return None
    return f"no clip is read: dataloader_train.dataset.kind is '{dataset.kind}'"


def two_intervals(facts: Facts) -> str | None:
    """The interval of the log lines was given twice."""
    speed = facts.recipe.trainer.callbacks.iter_speed
    if speed is None or not speed.hit_thres or speed.hit_thres == speed.every_n:
        return None
    return (
        f"trainer.callbacks.iter_speed.hit_thres={speed.hit_thres} gives a log line every "
        f"{speed.hit_thres} steps; trainer.logging_iter={facts.recipe.trainer.logging_iter} "
        "gives way to it"
    )


def idle_words(facts: Facts) -> str | None:
    """A word of the command line repeats what the recipe says."""
    return _change_nothing(facts.idle_words, "the recipe says so already")


def inert_settings(facts: Facts) -> str | None:
    """Settings that mean nothing here were changed."""
    lines = []
    for path, _ in leaves(facts.recipe.model_dump()):
        key = dotted(path)
        if facts.origins.get(key, DEFAULTS) == DEFAULTS:
            continue
        reason = reason_of(key)
        if reason and facts.changed(key):
            lines.append(f"{key} changes nothing: {reason}")
    return "\n".join(lines) or None


NOTICES: tuple[Notice, ...] = (
    commented_rate,
    documented_iterations,
    endless_warm_up,
    after_the_schedule,
    clips_a_step,
    rows_of_720p,
    recomputing_already,
    large_rank,
    adapters_unused,
    schedule_unused,
    folder_unused,
    two_intervals,
    idle_words,
    inert_settings,
)


def notices_of(facts: Facts) -> tuple[str, ...]:
    """Every notice on a Predict2 recipe that is true, one a line, in the table's order."""
    return told(NOTICES, facts)


def told(notices: Sequence[Notice], facts: Facts) -> tuple[str, ...]:
    """The lines of the notices that are true."""
    lines = [line for notice in notices if (line := notice(facts))]
    return tuple(line for block in lines for line in block.splitlines())

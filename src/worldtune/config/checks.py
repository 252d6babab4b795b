"""Checks of settings against one another, for the sections that all recipes share.

A check yields a mistake for each disagreement, with the keys it is about.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pydantic_core import PydanticCustomError

from worldtune.config.dataloader import DataLoaderSettings, DatasetSettings, LoaderSettings
from worldtune.config.mistakes import Mistake
from worldtune.config.network import TransformerSettings
from worldtune.config.settings import (
    JobSettings,
    ModelParallelSettings,
    OptimizerSettings,
    SchedulerSettings,
)
from worldtune.config.trainer import TrainerSettings

DISAGREEMENT = "settings_disagree"


def raise_disagreements(mistakes: Iterable[Mistake]) -> None:
    """Raise what pydantic passes on, if there is any mistake; it carries all of them."""
    found = list(mistakes)
    if found:
        told = "; ".join(mistake.text for mistake in found)
        raise PydanticCustomError(DISAGREEMENT, "{told}", {"told": told, "mistakes": found})


def check_job(job: JobSettings) -> Iterator[Mistake]:
    """The run's folder stays under the output root."""
    for name, value in (("project", job.project), ("group", job.group), ("name", job.name)):
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts:
            text = f"job.{name} is '{value}'; expected a folder's name under the output root"
            yield Mistake(text, (f"job.{name}",))


def check_scheduler(scheduler: SchedulerSettings) -> Iterator[Mistake]:
    """Every list has one entry a cycle, and each cycle has room for its climb."""
    lists = {
        "cycle_lengths": scheduler.cycle_lengths,
        "warm_up_steps": scheduler.warm_up_steps,
        "f_start": scheduler.f_start,
        "f_max": scheduler.f_max,
        "f_min": scheduler.f_min,
    }
    keys = {name: f"scheduler.{name}" for name in lists}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1 or not scheduler.cycle_lengths:
        sizes = ", ".join(f"{name} {length}" for name, length in lengths.items())
        text = f"scheduler's lists have different lengths ({sizes}); expected one entry a cycle"
        odd = [keys[name] for name in lists if lengths[name] != lengths["cycle_lengths"]]
        yield Mistake(text, (*odd, keys["cycle_lengths"]))
        return
    for place, (steps, length) in enumerate(
        zip(scheduler.warm_up_steps, scheduler.cycle_lengths, strict=True)
    ):
        if length < 1:
            text = f"scheduler.cycle_lengths[{place}] is {length}; expected 1 or more steps"
            yield Mistake(text, (keys["cycle_lengths"],))
        elif not 0 <= steps <= length:
            text = (
                f"scheduler.warm_up_steps[{place}] is {steps}; expected 0 to {length}, "
                f"the length of the cycle"
            )
            yield Mistake(text, (keys["warm_up_steps"], keys["cycle_lengths"]))
    for name in ("f_start", "f_max", "f_min"):
        for place, factor in enumerate(lists[name]):
            if factor < 0:
                text = f"scheduler.{name}[{place}] is {factor}; expected 0 or more"
                yield Mistake(text, (keys[name],))


def check_optimizer(optimizer: OptimizerSettings) -> Iterator[Mistake]:
    """Both memories are shares."""
    for place, beta in enumerate(optimizer.betas):
        if not 0 <= beta < 1:
            text = f"optimizer.betas[{place}] is {beta}; expected 0 or more and less than 1"
            yield Mistake(text, ("optimizer.betas",))


def check_validation(trainer: TrainerSettings, loader: LoaderSettings | None) -> Iterator[Mistake]:
    """Validation has clips."""
    if trainer.run_validation and loader is None:
        text = (
            "trainer.run_validation is true, but there is no dataloader_val; "
            "expected clips to validate on, like dataloader_val.dataset.dataset_dir=..."
        )
        yield Mistake(text, ("trainer.run_validation",))


def check_parallel(
    parallel: ModelParallelSettings,
    net: TransformerSettings,
    *,
    net_key: str,
    latent_frames: tuple[int, str],
) -> Iterator[Mistake]:
    """Every process that shares a clip has frames, heads and a part of the MLP's width.

    Frames need not come out even; heads and width must. `net_key` is the key of `net`;
    `latent_frames` is a number with the key that sets it.
    """
    context, tensor = parallel.context_parallel_size, parallel.tensor_model_parallel_size
    keys = [f"model_parallel.{name}" for name in _PARALLEL]
    if parallel.pipeline_model_parallel_size != 1:
        found = parallel.pipeline_model_parallel_size
        text = f"{keys[2]} is {found}; expected 1: blocks are not shared out over processes"
        yield Mistake(text, (keys[2],))
    width = int(net.model_channels * net.mlp_ratio)
    for number, name, what in (
        (net.num_heads, "num_heads", f"the {net.num_heads} heads"),
        (width, "mlp_ratio", f"the {width} columns of an MLP"),
    ):
        if number % tensor:
            fits = ", ".join(map(str, divisors(number)))
            source = f"{net_key}.{name}"
            text = f"{keys[1]} is {tensor}; expected a divisor of {what} ({source}): {fits}"
            yield Mistake(text, (keys[1], source))
            break
    pieces = context * (tensor if parallel.sequence_parallel else 1)
    number, source = latent_frames
    if pieces > number:
        ranks = keys[0] if pieces == context else f"{keys[0]} times {keys[1]}"
        text = (
            f"{ranks} is {pieces}; expected at most the {number} latent frames ({source}), so "
            "that every process has some"
        )
        yield Mistake(text, (keys[0], source))


def divisors(number: int) -> list[int]:
    """All divisors, smallest first."""
    return [size for size in range(1, number + 1) if number % size == 0]


_PARALLEL = (
    "context_parallel_size",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
)


def check_loader(loader: DataLoaderSettings, name: str) -> Iterator[Mistake]:
    """The clips come from one place, in shares that are some."""
    yield from _check_source(loader.dataset, f"{name}.dataset")


def _check_source(dataset: DatasetSettings, key: str) -> Iterator[Mistake]:
    if dataset.kind != "clips":
        return
    if dataset.mix is not None:
        for folder, share in dataset.mix.items():
            if share <= 0:
                text = f"{key}.mix gives '{folder}' the share {share}; expected more than 0"
                yield Mistake(text, (f"{key}.mix.{folder}",))
        if not dataset.mix:
            yield Mistake(f"{key}.mix is empty; expected folders and their shares", (f"{key}.mix",))
        if dataset.dataset_dir is not None:
            text = f"{key} has both dataset_dir and mix; expected one of them"
            yield Mistake(text, (f"{key}.dataset_dir", f"{key}.mix"))
    elif not dataset.dataset_dir:
        text = f"{key}.dataset_dir is not set; expected the folder that holds videos/ and t5_xxl/"
        yield Mistake(text, (f"{key}.dataset_dir",))

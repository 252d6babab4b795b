"""Settings of the originals whose feature does not exist yet: a real run refuses them.

A dry run composes and shows them all the same. A row goes when its feature comes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worldtune.config.mistakes import Mistake, raise_all, shown
from worldtune.config.settings import Settings
from worldtune.config.tree import Tree, found, value_at


@dataclass(frozen=True)
class Refusal:
    """A setting, the values of it that work, and what to do instead of the others."""

    key: str
    works: tuple[Any, ...]
    instead: str


PIPE = "model.config.pipe_config"
CALLBACKS = "trainer.callbacks"
VIDEOS = ("clips", "mock_video")
REFUSALS: tuple[Refusal, ...] = (
    Refusal(f"{PIPE}.conditioning_strategy", ("frame_replace",), "no published weights use it"),
    Refusal(f"{PIPE}.text_encoder.cls", ("t5", "builtin"), "the published weights know T5"),
    Refusal("trainer.profiling.enable_profiling", (False,), "run under a profiler of your own"),
    Refusal("trainer.profiling.enable_memory_snapshot", (False,), "take one from outside"),
    Refusal("checkpoint.jit.enabled", (False,), "trace an exported checkpoint"),
    Refusal("dataloader_train.dataset.kind", VIDEOS, "train on videos"),
    Refusal("optimizer.master_weights", (True,), "steps are added to float32 weights"),
    Refusal("checkpoint.strict_resume", (True,), "every weight has to be there"),
    Refusal(f"{CALLBACKS}.grad_clip.force_finite", (True,), "a step that is not finite is skipped"),
    Refusal(f"{CALLBACKS}.loss_log.logging_iter_multipler", (1,), "the record has every step"),
    Refusal(f"{CALLBACKS}.device_monitor.step_size", (1,), "measurements follow every_n"),
    Refusal(f"{CALLBACKS}.device_monitor.log_memory_detail", (True,), "all of it is shown"),
)
VALIDATION = Refusal("dataloader_val.dataset.kind", VIDEOS, "validate on videos")
CONTROL_REFUSALS: tuple[Refusal, ...] = (
    Refusal("model.finetune_base_model", (False,), "the base stays as it is"),
    Refusal("model.net_ctrl.random_drop_control_blocks", (False,), "every block steers"),
)
NO_CONTROL_TRAINING = Mistake(
    "control branches are not trained yet; what works is --dryrun, and `worldtune show`, `split`, "
    "`join` and `inspect`"
)


def refusals(recipe: Settings) -> list[Mistake]:
    """What of a recipe a real run cannot do yet."""
    tree = recipe.model_dump()
    if tree["root"] == "transfer1":
        return [NO_CONTROL_TRAINING, *_told(CONTROL_REFUSALS, tree)]
    rows = list(REFUSALS)
    if tree["trainer"]["run_validation"]:
        rows.append(VALIDATION)
    return _told(rows, tree)


def _told(rows: Iterable[Refusal], tree: Tree) -> list[Mistake]:
    return [mistake for row in rows if (mistake := _refused(row, tree))]


def _refused(row: Refusal, tree: Tree) -> Mistake | None:
    path = tuple(row.key.split("."))
    if not found(tree, path) or value_at(tree, path) in row.works:
        return None
    value = shown(value_at(tree, path)).removeprefix("the text ")
    return Mistake(f"{row.key}={value} is not supported yet; {row.instead}", (row.key,))


def refuse_unsupported(recipe: Settings, origins: Mapping[str, str]) -> None:
    """Raise RecipeError with everything that a real run cannot do yet."""
    raise_all(refusals(recipe), origins)

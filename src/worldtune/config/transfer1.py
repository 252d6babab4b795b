"""The tree of a Transfer1 recipe: a control branch beside a frozen base."""

from collections.abc import Iterator
from typing import Literal

from pydantic import model_validator

from worldtune.config.checks import (
    check_job,
    check_optimizer,
    check_parallel,
    check_scheduler,
    check_validation,
    raise_disagreements,
)
from worldtune.config.mistakes import Mistake
from worldtune.config.settings import (
    CheckpointSettings,
    JobSettings,
    ModelParallelSettings,
    OptimizerSettings,
    SchedulerSettings,
    Settings,
    required,
    setting,
)
from worldtune.config.trainer import TrainerSettings
from worldtune.config.transfer1_checks import check_model
from worldtune.config.transfer1_clip_checks import check_clips
from worldtune.config.transfer1_data import Transfer1LoaderSettings
from worldtune.config.transfer1_model import Transfer1ModelSettings


class Transfer1CheckpointSettings(CheckpointSettings):
    """What is saved, when, and what a run starts from."""

    type: Literal["fsdp", "multi_rank", "tp", "fast_tp"] = setting(
        "multi_rank",
        "Layout of the published files: one part a tensor rank (tp, fast_tp), or whole.",
    )


class ModelObjectSettings(Settings):
    """The original's class of the model."""


class Transfer1Recipe(Settings):
    """Everything that training a control branch is made of."""

    root: Literal["transfer1"] = setting("transfer1", "The family of settings.")
    job: JobSettings = required("Where the run lives.")
    trainer: TrainerSettings = setting(TrainerSettings(), "How the loop runs.")
    model_parallel: ModelParallelSettings = setting(
        ModelParallelSettings(), "Processes that share one clip."
    )
    checkpoint: Transfer1CheckpointSettings = setting(
        Transfer1CheckpointSettings(), "What is saved and loaded."
    )
    model: Transfer1ModelSettings = required("What is trained.")
    model_obj: ModelObjectSettings = setting(
        ModelObjectSettings(), "The original's class of the model."
    )
    optimizer: OptimizerSettings = setting(OptimizerSettings(), "AdamW.")
    scheduler: SchedulerSettings = setting(SchedulerSettings(), "Learning rate over the steps.")
    dataloader_train: Transfer1LoaderSettings = required("Clips to train on.")
    dataloader_val: Transfer1LoaderSettings | None = setting(None, "Clips to validate on.")
    overfit: int = setting(
        0, "Train on the first n clips only, to see whether the loss falls; 0: all.", ge=0
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> "Transfer1Recipe":
        """Check settings against one another."""
        raise_disagreements(_disagreements(self))
        return self


def _disagreements(recipe: Transfer1Recipe) -> Iterator[Mistake]:
    yield from check_job(recipe.job)
    yield from check_scheduler(recipe.scheduler)
    yield from check_optimizer(recipe.optimizer)
    yield from check_validation(recipe.trainer, recipe.dataloader_val)
    model = recipe.model
    yield from check_model(model)
    if model.n_views != model.net.n_views:
        keys = ("model.n_views", "model.net.n_views")
        text = f"{keys[0]} is {model.n_views}; expected the {model.net.n_views} of {keys[1]}"
        yield Mistake(text, keys)
    yield from check_parallel(
        recipe.model_parallel,
        model.net,
        net_key="model.net",
        latent_frames=(model.latent_shape[1], "model.latent_shape[1]"),
    )
    loaders = {"dataloader_train": recipe.dataloader_train}
    if recipe.dataloader_val and recipe.trainer.run_validation:
        loaders["dataloader_val"] = recipe.dataloader_val
    for name, loader in loaders.items():
        yield from check_clips(loader.dataset, f"{name}.dataset", model)

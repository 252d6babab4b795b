"""The tree of a Predict2 Video2World recipe."""

from collections.abc import Iterator
from typing import Literal

from pydantic import model_validator

from worldtune.config.checks import (
    check_job,
    check_loader,
    check_optimizer,
    check_parallel,
    check_scheduler,
    check_validation,
    raise_disagreements,
)
from worldtune.config.dataloader import DataLoaderSettings
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
from worldtune.config.video2world import ModelSettings
from worldtune.config.video2world_checks import (
    check_adapters,
    check_clips,
    check_compiled,
    check_model,
)


class StandardCheckpointSettings(CheckpointSettings):
    """What is saved, when, and what a run starts from."""

    type: Literal["standard"] | None = setting(
        None, "Layout of the published files; 'standard' is the only one."
    )


class Predict2Recipe(Settings):
    """Everything a Video2World run is made of."""

    root: Literal["predict2"] = setting("predict2", "The family of settings.")
    job: JobSettings = required("Where the run lives.")
    trainer: TrainerSettings = setting(TrainerSettings(), "How the loop runs.")
    model_parallel: ModelParallelSettings = setting(
        ModelParallelSettings(), "Processes that share one clip."
    )
    checkpoint: StandardCheckpointSettings = setting(
        StandardCheckpointSettings(), "What is saved and loaded."
    )
    model: ModelSettings = required("What is trained.")
    optimizer: OptimizerSettings = setting(OptimizerSettings(), "AdamW.")
    scheduler: SchedulerSettings = setting(SchedulerSettings(), "Learning rate over the steps.")
    dataloader_train: DataLoaderSettings = required("Clips to train on.")
    dataloader_val: DataLoaderSettings | None = setting(None, "Clips to validate on.")
    overfit: int = setting(
        0, "Train on the first n clips only, to see whether the loss falls; 0: all.", ge=0
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> "Predict2Recipe":
        """Check settings against one another."""
        raise_disagreements(_disagreements(self))
        return self


def _disagreements(recipe: Predict2Recipe) -> Iterator[Mistake]:
    yield from check_job(recipe.job)
    yield from check_scheduler(recipe.scheduler)
    yield from check_optimizer(recipe.optimizer)
    yield from check_validation(recipe.trainer, recipe.dataloader_val)
    config = recipe.model.config
    yield from check_model(config, starts_elsewhere=bool(recipe.checkpoint.load_path))
    yield from check_adapters(config, recipe.model_parallel)
    yield from check_compiled(config)
    pipe = config.pipe_config
    yield from check_parallel(
        recipe.model_parallel,
        pipe.net,
        net_key="model.config.pipe_config.net",
        latent_frames=(pipe.state_t, "model.config.pipe_config.state_t"),
    )
    loaders = {"dataloader_train": recipe.dataloader_train}
    if recipe.dataloader_val and recipe.trainer.run_validation:
        loaders["dataloader_val"] = recipe.dataloader_val
    for name, loader in loaders.items():
        yield from check_loader(loader, name)
        yield from check_clips(loader.dataset, f"{name}.dataset", pipe)

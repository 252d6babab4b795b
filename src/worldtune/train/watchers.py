"""Who looks on at a run, from its recipe."""

from pathlib import Path

from worldtune.config.predict2 import Predict2Recipe
from worldtune.inference.pieces import objective, pipeline, sampling
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.train.curve import LossCurve
from worldtune.train.logs import LogLine, Metrics, ProgressBar
from worldtune.train.monitors import DeviceMonitor, ManualGc, SkippedSteps
from worldtune.train.report import Watcher
from worldtune.train.samples import GUIDANCE, Samples
from worldtune.train.setup import Learner
from worldtune.train.validation import HeldOut, Validation

# The curve takes a third of a second to draw.
CURVE_EVERY_LINES = 5


def watchers_of(
    recipe: Predict2Recipe,
    folder: Path,
    learner: Learner,
    tokenizer: VideoTokenizer,
    held_out: tuple[HeldOut, ...],
    sampled: tuple[HeldOut, ...],
    mesh: ProcessMesh = ALONE,
) -> list[Watcher]:
    """Those that the recipe asks for, in the order in which they look.

    Every process has those that compute with the network, the first one those that tell.
    """
    trainer, callbacks = recipe.trainer, recipe.trainer.callbacks
    metrics = Metrics(folder) if mesh.first else None
    watchers: list[Watcher] = [] if metrics is None else [metrics, SkippedSteps()]
    if callbacks.manual_gc is not None:
        watchers.append(ManualGc(callbacks.manual_gc.every_n, callbacks.manual_gc.warm_up))
    if mesh.first and callbacks.iter_speed is not None:
        every = callbacks.iter_speed.hit_thres or callbacks.iter_speed.every_n
        watchers.append(LogLine(every))
    if mesh.first and callbacks.device_monitor is not None:
        watchers.append(DeviceMonitor(callbacks.device_monitor.every_n))
    if trainer.run_validation:
        every = trainer.validation_iter
        watchers.append(
            Validation(learner.clip_loss, learner.average, held_out, every, metrics, mesh)
        )
    if trainer.sample_iter:
        watchers.append(_samples(recipe, folder, learner, tokenizer, sampled, mesh))
    if metrics is None:
        return watchers
    watchers.append(LossCurve(folder, metrics.path, trainer.logging_iter * CURVE_EVERY_LINES))
    watchers.append(ProgressBar(trainer.max_iter))
    return watchers


def _samples(
    recipe: Predict2Recipe,
    folder: Path,
    learner: Learner,
    tokenizer: VideoTokenizer,
    sampled: tuple[HeldOut, ...],
    mesh: ProcessMesh,
) -> Samples:
    return Samples(
        learner.network,
        learner.average,
        tokenizer,
        objective(recipe),
        sampling(recipe, guidance=GUIDANCE),
        sampled,
        num_given=max(1, pipeline(recipe).min_num_conditional_frames),
        every=recipe.trainer.sample_iter,
        folder=folder / "samples",
        writes=mesh.first,
    )

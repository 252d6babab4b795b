"""Who looks on at a run, from its recipe."""

from pathlib import Path

from worldtune.config.predict2 import Predict2Recipe
from worldtune.inference.pieces import objective, pipeline, sampling
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.train.curve import LossCurve
from worldtune.train.logs import LogLine, Metrics, ProgressBar
from worldtune.train.monitors import DeviceMonitor, ManualGc, SkippedSteps
from worldtune.train.report import Watcher
from worldtune.train.samples import GUIDANCE, Samples
from worldtune.train.setup import Learner
from worldtune.train.validation import HeldOut, Validation

SAMPLED_CLIPS = 2
# The curve takes a third of a second to draw.
CURVE_EVERY_LINES = 5


def watchers_of(
    recipe: Predict2Recipe,
    folder: Path,
    learner: Learner,
    tokenizer: VideoTokenizer,
    held_out: tuple[HeldOut, ...],
) -> list[Watcher]:
    """Those that the recipe asks for, in the order in which they look."""
    trainer, callbacks = recipe.trainer, recipe.trainer.callbacks
    metrics = Metrics(folder)
    watchers: list[Watcher] = [metrics, SkippedSteps()]
    if callbacks.manual_gc is not None:
        watchers.append(ManualGc(callbacks.manual_gc.every_n, callbacks.manual_gc.warm_up))
    if callbacks.iter_speed is not None:
        every = callbacks.iter_speed.hit_thres or callbacks.iter_speed.every_n
        watchers.append(LogLine(every))
    if callbacks.device_monitor is not None:
        watchers.append(DeviceMonitor(callbacks.device_monitor.every_n))
    if trainer.run_validation:
        every = trainer.validation_iter
        watchers.append(Validation(learner.clip_loss, learner.average, held_out, every, metrics))
    if trainer.sample_iter:
        watchers.append(_samples(recipe, folder, learner, tokenizer, held_out))
    watchers.append(LossCurve(folder, metrics.path, trainer.logging_iter * CURVE_EVERY_LINES))
    watchers.append(ProgressBar(trainer.max_iter))
    return watchers


def _samples(
    recipe: Predict2Recipe,
    folder: Path,
    learner: Learner,
    tokenizer: VideoTokenizer,
    held_out: tuple[HeldOut, ...],
) -> Samples:
    return Samples(
        learner.network,
        learner.average,
        tokenizer,
        objective(recipe),
        sampling(recipe, guidance=GUIDANCE),
        held_out[:SAMPLED_CLIPS],
        num_given=max(1, pipeline(recipe).min_num_conditional_frames),
        every=recipe.trainer.sample_iter,
        folder=folder / "samples",
    )

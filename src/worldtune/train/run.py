"""One training run, from a composed recipe to its last checkpoint."""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from worldtune.checkpoint.run_lock import RunLock, lock_run
from worldtune.config.compose import Composed
from worldtune.config.files import write_config
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.refusals import refuse_unsupported
from worldtune.inference.pieces import build_tokenizer, pipeline
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.parallel.recompute import recompute_blocks
from worldtune.train.disk_faults import explain_disk_faults
from worldtune.train.fit import check_weights_fit
from worldtune.train.logs import log, log_lines
from worldtune.train.loop import Training, train
from worldtune.train.memory import explain_out_of_memory
from worldtune.train.origin import Start
from worldtune.train.overfit import train_by_heart
from worldtune.train.resume import begin, check_same_pieces, lasting_facts
from worldtune.train.save import Saver
from worldtune.train.setup import (
    Learner,
    build_learner,
    choose_device,
    clip_norm,
    learning_rate_schedule,
    memory_remedies,
)
from worldtune.train.signals import StopRequest, explain_interruption, stop_on_signals
from worldtune.train.sources import ClipData, find_clips, find_held_out, first_batch, timed
from worldtune.train.start import STATES, find_origin, start_network
from worldtune.train.validation import HeldOut, encode_held_out
from worldtune.train.watchers import watchers_of


@dataclass(frozen=True)
class Run:
    """The parts of one run."""

    recipe: Predict2Recipe
    folder: Path
    device: torch.device
    tokenizer: VideoTokenizer
    data: ClipData
    held_out: ClipData | None
    start: Start
    learner: Learner


def run_training(composed: Composed, folder: Path) -> None:
    """Train as the recipe says, into `folder`; a run that is there already goes on.

    Raises WorldtuneError of every kind; StoppedEarlyError after a signal, with a state saved.
    """
    recipe: Predict2Recipe = composed.recipe
    refuse_unsupported(recipe, composed.origins)
    if recipe.overfit:
        folder = folder.with_name(f"{folder.name}_overfit{recipe.overfit}")
    with (
        explain_disk_faults(folder),
        log_lines(folder / "stdout.log"),
        lock_run(folder / STATES) as lock,
        explain_interruption(folder / STATES),
        stop_on_signals() as stop,
        explain_out_of_memory(memory_remedies(recipe)) as held,
    ):
        write_config(folder, recipe)
        for notice in composed.notices:
            log.info(f"Notice: {notice}")
        run = _set_up(recipe, folder)
        held.update(run.learner.bytes_held())
        _go(run, lock, stop)
        log.info("Done with training.")


def _set_up(recipe: Predict2Recipe, folder: Path) -> Run:
    """Build everything, in an order that finds mistakes before costs."""
    device = choose_device()
    # Every draw of ours has a generator of its own; this is for code that asks torch for one.
    torch.manual_seed(recipe.trainer.seed)
    torch.backends.cudnn.benchmark = recipe.trainer.cudnn.benchmark
    torch.backends.cudnn.deterministic = recipe.trainer.cudnn.deterministic
    log.info(f"Starting training on single node with {_processes(device)}...")
    log.info("Context parallel size: 1, Data parallel size: 1")
    origin = find_origin(recipe, folder)
    tokenizer = build_tokenizer(recipe, device=device)
    data = find_clips(recipe, recipe.dataloader_train, tokenizer, overfit=recipe.overfit)
    held_out = find_held_out(recipe, tokenizer)
    _tell_clips("Clips", data)
    if held_out is not None:
        _tell_clips("Held-out clips", held_out)
    start = start_network(recipe, origin, device)
    recompute = pipeline(recipe).net.sac_config
    recompute_blocks(start.network, recompute.mode, recompute.every_n_blocks)
    learner = build_learner(recipe, start.network, tokenizer)
    return Run(recipe, folder, device, tokenizer, data, held_out, start, learner)


def _go(run: Run, lock: RunLock, stop: StopRequest) -> None:
    """Restore what was saved, check what is new, and train."""
    recipe, trainer = run.recipe, run.recipe.trainer
    check_same_pieces(run.start, recipe, run.tokenizer)
    progress = begin(run.start, run.learner, run.data, recipe)
    facts = lasting_facts(recipe, run.data, run.tokenizer, run.start)
    saver = Saver(run.learner, progress, facts, recipe, run.folder, lock)
    if run.start.resumed is not None:
        saver.complete()
    if progress.iteration >= trainer.max_iter:
        log.info(f"Nothing to do: iteration {progress.iteration} of {trainer.max_iter} is done.")
        return
    if run.start.from_file:
        first = encode_held_out(run.learner.clip_loss, [first_batch(run.data).to(run.device)], 1)
        check_weights_fit(run.learner.clip_loss, first[0], run.start.origin)
    with closing(run.data.loader(progress.next_index)) as loader:
        training = Training(
            clip_loss=run.learner.clip_loss,
            optimizer=run.learner.optimizer,
            average=run.learner.average,
            schedule=learning_rate_schedule(recipe.scheduler),
            base_learning_rate=recipe.optimizer.lr,
            clip_norm=clip_norm(recipe),
            grad_accum_iter=trainer.grad_accum_iter,
            max_iter=trainer.max_iter,
            save_iter=recipe.checkpoint.save_iter,
            data_ranks=1,
            progress=progress,
            batches=timed(loader, run.device),
            save=saver,
        )
        _train(run, training, saver, stop)


def _train(run: Run, training: Training, saver: Saver, stop: StopRequest) -> None:
    recipe = run.recipe
    clips = _encoded(run, run.held_out, recipe.trainer.max_val_iter)
    watchers = watchers_of(recipe, run.folder, run.learner, run.tokenizer, clips)
    if recipe.overfit:
        all_weights = recipe.model.config.train_architecture == "base"
        clips = _encoded(run, run.data, None)
        train_by_heart(training, clips, watchers, stop, all_weights_train=all_weights)
        return
    saver.tell_size()
    train(training, watchers, stop)


def _encoded(run: Run, data: ClipData | None, most: int | None) -> tuple[HeldOut, ...]:
    """Latents of the clips of one pass, at most so many batches."""
    if data is None:
        return ()
    with closing(data.one_pass()) as batches:
        on_device = (batch.to(run.device) for batch in batches)
        return encode_held_out(run.learner.clip_loss, on_device, most)


def _processes(device: torch.device) -> str:
    """Count and kind of what trains, as the documents say it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    kind = "GPU" if device.type == "cuda" else "CPU process"
    plural = ("" if count == 1 else "s") if kind == "GPU" else ("" if count == 1 else "es")
    return f"{count} {kind}{plural}"


def _tell_clips(what: str, data: ClipData) -> None:
    if data.clips is None:
        return
    log.info(f"{what}: {data.clips.summary()}")
    for notice in data.clips.notices:
        log.warning(notice)

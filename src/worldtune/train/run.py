"""One training run, from a composed recipe to its last checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch

from worldtune.checkpoint.run_lock import RunLock
from worldtune.config.compose import Composed
from worldtune.config.files import write_config
from worldtune.config.mistakes import raise_all
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.refusals import refuse_unsupported
from worldtune.inference.pieces import build_tokenizer
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.parallel.agreement import check_agreement
from worldtune.parallel.layout import choose_layout, launch_mistakes, wanted_by
from worldtune.parallel.mesh import (
    ProcessMesh,
    choose_device,
    join_processes,
    launched_processes,
    launched_rank,
)
from worldtune.train.disk_faults import explain_disk_faults
from worldtune.train.fit import check_weights_fit
from worldtune.train.logs import log
from worldtune.train.loop import Training, train
from worldtune.train.memory import explain_out_of_memory
from worldtune.train.origin import Start
from worldtune.train.overfit import train_by_heart
from worldtune.train.resume import begin, check_same_pieces, lasting_facts
from worldtune.train.save import Saver
from worldtune.train.setup import (
    Learner,
    build_learner,
    clip_norm,
    learning_rate_schedule,
    memory_remedies,
)
from worldtune.train.share import batches_of, encode_pass, first_clips, first_of_training
from worldtune.train.signals import StopRequest, explain_interruption, stop_on_signals
from worldtune.train.sources import ClipData, find_clips, find_held_out
from worldtune.train.start import STATES, find_origin, start_network
from worldtune.train.together import fail_together, hold_folder, launch_lines, speak
from worldtune.train.validation import HeldOut
from worldtune.train.watchers import watchers_of

SAMPLED_CLIPS = 2


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
    mesh: ProcessMesh


def run_training(composed: Composed, folder: Path) -> None:
    """Train as the recipe says, into `folder`; a run that is there already goes on.

    Raises WorldtuneError of every kind; StoppedEarlyError after a signal, with a state saved.
    """
    recipe: Predict2Recipe = composed.recipe
    refuse_unsupported(recipe, composed.origins)
    world = launched_processes()
    raise_all(launch_mistakes(recipe, world), composed.origins)
    layout, _ = choose_layout(wanted_by(recipe), world)
    if recipe.overfit:
        folder = folder.with_name(f"{folder.name}_overfit{recipe.overfit}")
    with (
        join_processes(recipe.trainer.timeout_period),
        fail_together(),
        explain_disk_faults(folder),
        speak(folder / "stdout.log", first=launched_rank() == 0),
        explain_interruption(folder / STATES),
        stop_on_signals(layout.world) as stop,
        explain_out_of_memory(memory_remedies(recipe)) as held,
    ):
        mesh = ProcessMesh(layout, launched_rank(), recipe.trainer.timeout_period)
        with hold_folder(folder / STATES, mesh) as lock:
            mesh.from_first(lambda: write_config(folder, recipe) and None)
            for notice in composed.notices:
                log.info(f"Notice: {notice}")
            run = _set_up(recipe, folder, mesh)
            held.update(run.learner.bytes_held())
            _go(run, lock, stop)
            log.info("Done with training.")


def _set_up(recipe: Predict2Recipe, folder: Path, mesh: ProcessMesh) -> Run:
    """Build everything, in an order that finds mistakes before costs."""
    device = choose_device()
    # Every draw of ours has a generator of its own; this is for code that asks torch for one.
    torch.manual_seed(recipe.trainer.seed)
    torch.backends.cudnn.benchmark = recipe.trainer.cudnn.benchmark
    torch.backends.cudnn.deterministic = recipe.trainer.cudnn.deterministic
    for line in launch_lines(mesh.layout, device):
        log.info(line)
    origin = mesh.from_first(lambda: find_origin(recipe, folder))
    tokenizer = build_tokenizer(recipe, device=device)
    data = find_clips(recipe, recipe.dataloader_train, tokenizer, mesh, overfit=recipe.overfit)
    held_out = find_held_out(recipe, tokenizer, mesh)
    _tell_clips("Clips", data)
    if held_out is not None:
        _tell_clips("Held-out clips", held_out)
    start = start_network(recipe, origin, device, mesh)
    learner = build_learner(recipe, start.network, tokenizer, mesh)
    return Run(recipe, folder, device, tokenizer, data, held_out, start, learner, mesh)


def _go(run: Run, lock: RunLock | None, stop: StopRequest) -> None:
    """Restore what was saved, check what is new, and train."""
    recipe, trainer, mesh = run.recipe, run.recipe.trainer, run.mesh
    check_same_pieces(run.start, recipe, run.tokenizer)
    progress = begin(run.start, run.learner, run.data, recipe)
    facts = lasting_facts(recipe, run.data, run.tokenizer, run.start)
    saver = Saver(run.learner, progress, facts, recipe, run.folder, lock)
    if run.start.resumed is not None:
        saver.complete()
    if progress.iteration >= trainer.max_iter:
        log.info(f"Nothing to do: iteration {progress.iteration} of {trainer.max_iter} is done.")
        return
    check_agreement(run.learner.named_for_comparison(), mesh)
    if run.start.from_file:
        first = first_of_training(run.data, run.learner.clip_loss, mesh, run.device)
        check_weights_fit(run.learner.clip_loss, first, run.start.origin)
    with batches_of(run.data, progress.next_index, run.learner.clip_loss, mesh, run.device) as some:
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
            progress=progress,
            batches=some,
            save=saver,
            mesh=mesh,
        )
        _train(run, training, saver, stop)


def _train(run: Run, training: Training, saver: Saver, stop: StopRequest) -> None:
    recipe, mesh = run.recipe, run.mesh
    clips = _encoded(run, run.held_out, recipe.trainer.max_val_iter)
    count = SAMPLED_CLIPS if recipe.trainer.sample_iter else 0
    sampled = first_clips(clips, count, run.learner.clip_loss, mesh, run.device)
    watchers = watchers_of(recipe, run.folder, run.learner, run.tokenizer, clips, sampled, mesh)
    if recipe.overfit:
        all_weights = recipe.model.config.train_architecture == "base"
        clips = _encoded(run, run.data, None)
        train_by_heart(training, clips, watchers, stop, all_weights_train=all_weights)
        return
    saver.tell_size()
    train(training, watchers, stop)


def _encoded(run: Run, data: ClipData | None, most: int | None) -> tuple[HeldOut, ...]:
    """Latents of this rank's clips of one pass, at most so many batches of all."""
    if data is None:
        return ()
    return encode_pass(data, most, run.learner.clip_loss, run.mesh, run.device)


def _tell_clips(what: str, data: ClipData) -> None:
    if data.clips is None:
        return
    log.info(f"{what}: {data.clips.summary()}")
    for notice in data.clips.notices:
        log.warning(notice)

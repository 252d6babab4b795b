"""Kill training runs at random moments, resume each, and hold its end against an unbroken run.

    python benchmarks/kill_test.py [--lora] [--runs N] [--seed N] [--folder DIR]

Half of the kills (SIGKILL) aim at a save, half at the steps between saves; the moment within
the phase is drawn evenly from the time that the phase took in the unbroken run. Where a kill
fell is what the killed process had said last and what it left on the disk. Compared are every
bit of the last state (masters, moments, average, random states, progress), every published
file, and every number of the metrics. The status is 1 where anything differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep

import torch

from worldtune.checkpoint.state import read_state
from worldtune.checkpoint.state_folder import find_latest, list_states, state_name
from worldtune.config.compose import Composed, compose
from worldtune.data.shapes import write_clips
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train import loop
from worldtune.train.loop import Training
from worldtune.train.report import StepReport
from worldtune.train.run import run_training
from worldtune.train.save import Saver

EXPERIMENT = "predict2_video2world_training_tiny"
STEPS, SAVE_EVERY = 6, 2
SIZE, FRAMES = (48, 80), 9
LATENT_FRAMES = 3
WANTED_SHARE = 0.4  # of the kills, in a save and between saves
IN_A_SAVE, BETWEEN = "in a save", "between saves"
NOT_COMPARED = ("step_s", "wait_s", "clips_per_s", "memory_gib")
PRELOADED = ["worldtune.train.run", "torch.utils.tensorboard", "matplotlib.backends.backend_agg"]
PATIENCE_S = 300.0
LORA = ("model.config.train_architecture=lora", "model.config.lora_rank=4")
PUBLISHED = ("model/iter_*.pt", "adapters/iter_*.safetensors")


def recipe(clips: Path, more: Sequence[str] = ()) -> Composed:
    """The tiny experiment on small clips, a few steps long, and what else is wanted."""
    words = [
        *more,
        f"trainer.max_iter={STEPS}",
        f"checkpoint.save_iter={SAVE_EVERY}",
        f"trainer.validation_iter={SAVE_EVERY}",
        "trainer.max_val_iter=1",
        "trainer.logging_iter=1",
        "scheduler.warm_up_steps=[2]",
        f"model.config.pipe_config.state_t={LATENT_FRAMES}",
    ]
    for name in ("dataloader_train", "dataloader_val"):
        words += [
            f"{name}.dataset.dataset_dir={clips}",
            f"{name}.dataset.num_frames={FRAMES}",
            f"{name}.dataset.video_size=[{SIZE[0]},{SIZE[1]}]",
            f"{name}.batch_size=1",
            f"{name}.num_workers=0",
        ]
    return compose(PREDICT2, EXPERIMENT, words, environment={})


# --- in the process that is killed ---


def train_and_tell(clips: Path, folder: Path, more: Sequence[str], told: Connection) -> None:
    """Train, and tell each phase as it begins."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    step, saving, publish = loop._step, Saver.__call__, Saver._write_published

    def told_step(training: Training) -> StepReport:
        told.send(("step", training.progress.iteration + 1))
        return step(training)

    def told_save(self: Saver) -> None:
        told.send(("save", self._progress.iteration))
        saving(self)
        told.send(("saved", self._progress.iteration))

    def told_publish(self: Saver) -> tuple[Path, ...]:
        told.send(("published file", self._progress.iteration))
        return publish(self)

    loop._step = told_step
    Saver.__call__, Saver._write_published = told_save, told_publish
    run_training(recipe(clips, more), folder)
    told.send(("end", STEPS))


# --- in the process that kills ---

Phase = tuple[str, int]


@dataclass(frozen=True)
class Aim:
    """A phase to kill in, and how far into it, 0 to 1."""

    phase: Phase
    share: float


@dataclass(frozen=True)
class Life:
    """What a process said: its phases and when each began; whether it was killed."""

    phases: tuple[tuple[Phase, float], ...]
    killed: bool

    @property
    def last(self) -> Phase:
        """What it was in when it ended."""
        return self.phases[-1][0]

    def durations(self) -> dict[Phase, float]:
        """Seconds of each phase; a save with its published file is one."""
        starts = [(phase, when) for phase, when in self.phases if phase[0] != "published file"]
        return {
            phase: after - when
            for (phase, when), (_, after) in pairwise(starts)
            if phase[0] in ("step", "save")
        }


def live(
    clips: Path,
    folder: Path,
    aim: Aim | None = None,
    lasts: float = 0.0,
    more: Sequence[str] = (),
) -> Life:
    """Run a process to its end, or kill it `aim.share * lasts` seconds into a phase."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    hears, tells = context.Pipe(duplex=False)
    process = context.Process(target=train_and_tell, args=(clips, folder, more, tells))
    process.start()
    tells.close()
    phases: list[tuple[Phase, float]] = []
    killed = False
    with suppress(EOFError):
        while True:
            if not hears.poll(PATIENCE_S):
                process.kill()
                raise TimeoutError(f"{folder} has been silent for {PATIENCE_S:.0f} s")
            phases.append((hears.recv(), monotonic()))
            if aim is not None and phases[-1][0] == aim.phase and not killed:
                sleep(aim.share * lasts)
                assert process.pid is not None
                with suppress(ProcessLookupError):  # it was quicker than the unbroken run
                    os.kill(process.pid, signal.SIGKILL)
                    killed = True
    process.join()
    if not killed and process.exitcode != 0:
        raise RuntimeError(f"{folder} ended with status {process.exitcode}; see its stdout.log")
    return Life(tuple(phases), killed and process.exitcode == -signal.SIGKILL)


def place_of(last: Phase) -> str | None:
    """Whether a kill fell in a save or between saves; None before the second step or at the end."""
    kind, iteration = last
    if kind in ("save", "published file"):
        return IN_A_SAVE
    return BETWEEN if kind in ("step", "saved") and iteration > 1 else None


def left_behind(folder: Path, last: Phase) -> str:
    """What a kill left on the disk, in words."""
    states = folder / "checkpoints" / "state"
    pointer = states / "latest_state.txt"
    pointed = pointer.read_text().strip() if pointer.exists() else "nothing"
    parts = [f"pointer at {pointed}"]
    newest = [path.name for path in list_states(states)]
    if newest and newest[-1] != pointed:
        parts.append(f"{newest[-1]} is whole and not pointed at")
    unfinished = sorted(path.name for path in folder.rglob("*.tmp"))
    parts += [f"{name} unfinished" for name in unfinished]
    if last[0] in ("save", "published file") and state_name(last[1]) == pointed:
        there = [name for name in _files(folder) if name.startswith(state_name(last[1]))]
        parts.append(f"{len(there)} published files of it" if there else "no published file")
    return ", ".join(parts)


def compare(one: Path, other: Path) -> list[str]:
    """Say everything that differs between the ends of two runs; nothing where they are equal."""
    found: list[str] = []
    (mine, my_facts), (theirs, their_facts) = (_last_state(run) for run in (one, other))
    names = mine.keys() | theirs.keys()
    found += [name for name in sorted(names) if not _same(mine.get(name), theirs.get(name))]
    for fact in ("progress", "optimizer_steps", "clips"):
        if my_facts[fact] != their_facts[fact]:
            found.append(f"{fact}: {my_facts[fact]} and {their_facts[fact]}")
    published = [_files(run) for run in (one, other)]
    for name in sorted(published[0].keys() | published[1].keys()):
        if published[0].get(name) != published[1].get(name):
            found.append(f"published file {name}")
    if _metrics(one) != _metrics(other):
        found.append("metrics.jsonl")
    found += [f"left over: {path.name}" for path in one.rglob("*.tmp")]
    return found


def _last_state(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    sections, info = read_state(run / "checkpoints" / "state" / state_name(STEPS))
    return {f"{s}/{n}": t for s, tensors in sections.items() for n, t in tensors.items()}, info


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None or one.dtype != other.dtype:
        return False
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def _files(run: Path) -> dict[str, bytes]:
    files = [file for kind in PUBLISHED for file in (run / "checkpoints").glob(kind)]
    return {file.name: file.read_bytes() for file in files}


def _metrics(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in NOT_COMPARED} for line in lines]


@dataclass
class Tally:
    """What happened so far."""

    places: Counter[str]
    differing: int = 0

    def wanting(self) -> str:
        """The kind of place that has had fewer kills."""
        return min((IN_A_SAVE, BETWEEN), key=lambda place: self.places[place])

    def done(self, runs: int) -> bool:
        """Whether there are enough kills, of both kinds."""
        least = WANTED_SHARE * runs
        both = all(self.places[place] >= least for place in (IN_A_SAVE, BETWEEN))
        return both and self.places.total() >= runs


def one_kill(
    number: int,
    aim: Aim,
    lasts: float,
    clips: Path,
    folder: Path,
    unbroken: Path,
    more: Sequence[str],
) -> tuple[str | None, list[str]]:
    """Kill a run, resume it, and tell where the kill fell and what differs at the end."""
    life = live(clips, folder, aim, lasts, more)
    place = place_of(life.last)
    if not life.killed or place is None:
        shutil.rmtree(folder)
        return None, []
    left = left_behind(folder, life.last)
    found = find_latest(folder / "checkpoints" / "state").state
    live(clips, folder, more=more)
    differing = compare(folder, unbroken)
    resumed = f"resumed from {found.iteration if found else 'the start'}"
    told = "equal" if not differing else f"DIFFERENT: {'; '.join(differing[:5])}"
    kind, iteration = life.last
    print(f"{number:3} {place:13} {kind} {iteration}: {left}; {resumed}; {told}", flush=True)
    if not differing:
        shutil.rmtree(folder)
    return place, differing


def kill_runs(runs: int, seed: int, base: Path, more: Sequence[str] = ()) -> int:
    """Do it all and give the exit status."""
    clips, unbroken = base / "clips", base / "unbroken"
    write_clips(clips, 5, size=SIZE, frames=2 * FRAMES - 1)
    lasts = live(clips, unbroken, more=more).durations()
    print("seconds of the unbroken run's phases:")
    print("  " + ", ".join(f"{kind} {n}: {s:.3f}" for (kind, n), s in lasts.items()), flush=True)
    draw = random.Random(seed)
    aims: dict[str, Callable[[], Sequence[Phase]]] = {
        IN_A_SAVE: lambda: [phase for phase in lasts if phase[0] == "save"],
        BETWEEN: lambda: [phase for phase in lasts if phase[0] == "step" and phase[1] > 1],
    }
    tally = Tally(Counter())
    for attempt in range(1, 4 * runs + 1):
        if tally.done(runs):
            break
        aim = Aim(draw.choice(aims[tally.wanting()]()), draw.random())
        folder = base / f"killed_{attempt}"
        number = tally.places.total() + 1
        place, differing = one_kill(number, aim, lasts[aim.phase], clips, folder, unbroken, more)
        if place is not None:
            tally.places[place] += 1
            tally.differing += bool(differing)
    told = ", ".join(f"{count} {place}" for place, count in sorted(tally.places.items()))
    print(f"{tally.places.total()} kills: {told}; {tally.differing} resumed runs differ")
    if not tally.done(runs):
        print("too few of the kills fell where they should")
    return 0 if tally.done(runs) and not tally.differing else 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep here what differs")
    parser.add_argument("--lora", action="store_true", help="train adapters")
    args = parser.parse_args()
    more = LORA if args.lora else ()
    if args.folder is not None:
        args.folder.mkdir(parents=True)
        return kill_runs(args.runs, args.seed, args.folder, more)
    with tempfile.TemporaryDirectory() as base:
        return kill_runs(args.runs, args.seed, Path(base), more)


if __name__ == "__main__":
    sys.exit(main())

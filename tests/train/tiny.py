"""Runs small enough for a test: a network of 32 channels on clips of 9 frames at 32x48."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldtune.checkpoint.state import read_state
from worldtune.checkpoint.state_folder import state_name
from worldtune.config.compose import Composed, compose
from worldtune.data.shapes import write_clips
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train.run import run_training

EXPERIMENT = "predict2_video2world_training_tiny"
NET = "model.config.pipe_config.net"
TEXT = "model.config.pipe_config.text_encoder.builtin"
SIZES = (
    "model.config.pipe_config.state_t=3",
    f"{NET}.model_channels=32",
    f"{NET}.num_blocks=1",
    f"{NET}.num_heads=2",
    f"{NET}.adaln_lora_dim=8",
    f"{NET}.crossattn_emb_channels=16",
    f"{TEXT}.embed_dim=16",
    f"{TEXT}.num_tokens=32",
)
LENGTHS = (
    "trainer.max_iter=4",
    "checkpoint.save_iter=2",
    "trainer.logging_iter=2",
    "trainer.validation_iter=2",
    "scheduler.warm_up_steps=[3]",
)
WITHOUT_VALIDATION = ("trainer.run_validation=False",)
STEPS_ONLY = (*WITHOUT_VALIDATION, "checkpoint.native=none")


def draw_clips(folder: Path) -> Path:
    """Five clips to train on, longer than a window, and three to validate on."""
    write_clips(folder / "train", 5, size=(32, 48), frames=12)
    write_clips(folder / "val", 3, kind="collision", size=(32, 48), frames=9, seed=1)
    return folder


def _loader(name: str, folder: Path) -> tuple[str, ...]:
    return (
        f"{name}.dataset.dataset_dir={folder}",
        f"{name}.dataset.num_frames=9",
        f"{name}.dataset.video_size=[32,48]",
        f"{name}.batch_size=1",
        f"{name}.num_workers=0",
    )


def tiny_words(clips: Path) -> tuple[str, ...]:
    """The words that make the tiny experiment tiny enough."""
    loaders = _loader("dataloader_train", clips / "train") + _loader(
        "dataloader_val", clips / "val"
    )
    return (*loaders, *SIZES, *LENGTHS)


@cache
def tiny(clips: Path, *words: str) -> Composed:
    """A recipe of four steps, saved after the second; later words win."""
    return compose(PREDICT2, EXPERIMENT, [*tiny_words(clips), *words], environment={})


@dataclass(frozen=True)
class Tiny:
    """Where runs of this test lie, and the clips that they are trained on."""

    folder: Path
    clips: Path

    def run(self, name: str, *words: str) -> Path:
        """Train, or go on, and give the run's folder."""
        run_training(tiny(self.clips, *words), self.folder / name)
        return self.folder / name

    def copied(self, run: Path, name: str) -> Path:
        """A copy of a run under another name."""
        shutil.copytree(run, self.folder / name)
        return self.folder / name


Sections = Mapping[str, Mapping[str, Tensor]]


def states(run: Path) -> Path:
    """The folder of a run's states."""
    return run / "checkpoints" / "state"


def state_of(run: Path, iteration: int) -> tuple[Sections, Mapping[str, Any]]:
    """Tensors and facts of a saved state."""
    return read_state(states(run) / state_name(iteration))


def forget_after(run: Path, iteration: int) -> Path:
    """Leave a run as a kill right after this save would: its later states are gone."""
    for path in states(run).glob("iter_*"):
        if path.name > state_name(iteration):
            shutil.rmtree(path)
    for path in (run / "checkpoints" / "model").glob("iter_*"):
        if path.stem > state_name(iteration):
            path.unlink()
    (states(run) / "latest_state.txt").write_text(f"{state_name(iteration)}\n")
    return run


def differences(one: Sections, other: Sections) -> list[str]:
    """Names of what is not the same in every bit, or is in one of them only."""
    mine, theirs = (
        {f"{section}/{name}": tensor for section in some for name, tensor in some[section].items()}
        for some in (one, other)
    )
    return sorted(mine.keys() ^ theirs.keys()) + [
        name for name in mine.keys() & theirs.keys() if not _same(mine[name], theirs[name])
    ]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )


# What differs between two runs of the same numbers.
TIMES = ("step_s", "wait_s", "clips_per_s", "memory_gib")
TIMES = (*TIMES, *(f"{name}_{end}" for name in TIMES for end in ("min", "max")))


def metrics(run: Path, kinds: Iterable[str] = ("step", "validation")) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without times; every line must be strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = (run / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [
        {name: value for name, value in line.items() if name not in TIMES}
        for line in lines
        if line["kind"] in kinds
    ]


def log_of(run: Path) -> str:
    """Everything that a run has said."""
    return (run / "stdout.log").read_text()

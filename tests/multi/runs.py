"""Training runs for these tests: small networks that every layout can hold."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.train.tiny import EXPERIMENT, NET, TEXT, metrics, state_of
from worldtune.config.compose import Composed, compose
from worldtune.data.shapes import write_clips
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train.run import run_training

STEPS = 3
# Five latent frames divide by no number of ranks here; four heads do by two and four, not three.
SIZES = (
    "model.config.pipe_config.state_t=5",
    f"{NET}.model_channels=64",
    f"{NET}.num_blocks=2",
    f"{NET}.num_heads=4",
    f"{NET}.adaln_lora_dim=16",
    f"{NET}.crossattn_emb_channels=16",
    f"{TEXT}.embed_dim=16",
    f"{TEXT}.num_tokens=24",
)
LENGTHS = (
    f"trainer.max_iter={STEPS}",
    f"checkpoint.save_iter={STEPS}",
    "trainer.logging_iter=1",
    "trainer.run_validation=False",
    "scheduler.warm_up_steps=[0]",
    "optimizer.lr=4.3e-5",  # the published rate; a step of AdamW is as large as it
    # Gradients are about 1e-4: of those that are nearly 0 a step would be all rounding, and
    # differ from processor to processor.
    "optimizer.eps=1e-6",
    "checkpoint.native=none",
)
# Weights that are drawn are 0 in places, where a first step of AdamW is all sign: there
# rounding shows a hundredfold. So runs begin on weights that were trained a little.
BASE = ("trainer.max_iter=20", "checkpoint.save_iter=20", "optimizer.lr=1e-2")


def draw_clips(folder: Path) -> Path:
    """Nine clips to train on and five to validate on."""
    write_clips(folder / "train", 9, size=(32, 48), frames=20)
    write_clips(folder / "val", 5, kind="collision", size=(32, 48), frames=17, seed=1)
    return folder


def loader_words(clips: Path, batch_size: int) -> list[str]:
    """Both loaders on these clips."""
    return [
        word
        for name, part in (("dataloader_train", "train"), ("dataloader_val", "val"))
        for word in (
            f"{name}.dataset.dataset_dir={clips / part}",
            f"{name}.dataset.num_frames=17",
            f"{name}.dataset.video_size=[32,48]",
            f"{name}.batch_size={batch_size}",
            f"{name}.num_workers=0",
        )
    ]


@cache
def recipe(clips: Path, *words: str) -> Composed:
    """The tiny experiment at these sizes; later words win."""
    said = [*loader_words(clips, 4), *SIZES, *LENGTHS, *words]
    return compose(PREDICT2, EXPERIMENT, said, environment={})


def run(composed: Composed, folder: Path) -> None:
    """Train in this process, alone or with those of its group."""
    torch.set_num_threads(1)
    run_training(composed, folder)


def farthest(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference of a tensor as a share of its largest value, and its name."""
    assert ours.keys() == theirs.keys()
    return max(
        (((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max()).item(), n) for n in theirs
    )


def hold_to(ours: Path, theirs: Path, tolerance: float, iteration: int = STEPS) -> None:
    """Compare losses, gradient norms, weights, averages and moments of two runs."""
    lines, others = metrics(ours), metrics(theirs)
    assert len(lines) == len(others) > 0
    for line, other in zip(lines, others, strict=True):
        for name, value in other.items():
            if isinstance(value, float):
                assert abs(line[name] - value) <= tolerance * abs(value), (name, line, other)
            else:
                assert line[name] == value
    sections, expected = (state_of(run, iteration)[0] for run in (ours, theirs))
    for section in ("masters", "average"):
        difference, name = farthest(sections[section], expected[section])
        assert difference <= tolerance, (section, name, difference)
    # AdamW hides a factor on one tensor's gradient; its first moment does not.
    difference, name = farthest(sections["exp_avg"], expected["exp_avg"])
    assert difference <= 10 * tolerance, ("exp_avg", name, difference)


def facts_of(run: Path, iteration: int = STEPS) -> Mapping[str, Any]:
    """What a state says of its run."""
    return state_of(run, iteration)[1]

"""The built-in traffic world: pretraining a tiny base, and post-training it on accidents."""

from pathlib import Path

from worldtune.config.root import Experiment
from worldtune.config.tree import Tree
from worldtune.recipes.networks import TINY
from worldtune.recipes.predict2_experiments import (
    AVERAGED,
    FULL,
    LORA,
    WORD,
    adapters,
    job,
    joined,
    pipe,
    schedule,
)
from worldtune.recipes.predict2_models import TINY_TEXT_WIDTH

BASE_WEIGHTS = Path(__file__).with_name("base") / "traffic.safetensors"
"""The base that comes with the package: the average at the end of BASE_EXPERIMENT."""
BASE_EXPERIMENT = "predict2_video2world_base_traffic"
TUNED_EXPERIMENT = "predict2_video2world_training_tiny_its"

# Two seconds at 12 frames a second: long enough for an approach, a crash and where it ends.
SIZE, FRAMES, FPS, LATENT_FRAMES = (64, 112), 25, 12.0, 7
CLIPS = "datasets/its"
BASE_STEPS = 18_000


def loader(folder: str, *, shuffle: bool, batch_size: int = 4) -> Tree:
    """Clips of a folder."""
    return {
        "dataset": {
            "dataset_dir": folder,
            "num_frames": FRAMES,
            "video_size": list(SIZE),
        },
        "sampler": {"shuffle": shuffle, "seed": 0},
        "batch_size": batch_size,
        "drop_last": shuffle,
        "num_workers": 1,
        "pin_memory": False,
    }


def length(steps: int, warm_up: int, *, lines: int, validations: int) -> Tree:
    """A run whose rate falls in a line to 0 at its last step."""
    return joined(
        {
            "trainer": {
                "max_iter": steps,
                "logging_iter": lines,
                "run_validation": True,
                "validation_iter": validations,
            },
            "checkpoint": {"save_iter": validations, "keep_last": 2},
        },
        schedule(warm_up=warm_up, cycle=steps, f_max=1.0, f_min=0.0),
    )


# A token is one latent pixel, 8x8 of the clip's: vehicles are small here, and of as much
# computing, tokens of 16x16 learn less.
NET: Tree = {**TINY, "patch_spatial": 1, "crossattn_emb_channels": TINY_TEXT_WIDTH}
MODEL: Tree = joined(AVERAGED, pipe({"net": NET, "state_t": LATENT_FRAMES}))
DEFAULTS: list[object] = [
    {"override /model": "predict2_video2world_tiny"},
    {"override /scheduler": "lambdalinear"},
    {"override /ckpt_type": "standard"},
    "_self_",
]
BASE: Tree = joined(
    MODEL,
    {
        # One clip on each of two processes, which share nothing but gradients.
        "dataloader_train": loader(f"{CLIPS}/base/normal", shuffle=True, batch_size=1),
        "dataloader_val": loader(f"{CLIPS}/val/normal", shuffle=False),
        "trainer": {"distributed_parallelism": "ddp"},
        "optimizer": {"lr": 4e-3},
    },
    length(BASE_STEPS, 200, lines=100, validations=BASE_STEPS // 10),
    # Down in a line over four fifths of the steps, then a last fifth that hardly moves.
    {
        "scheduler": {
            "warm_up_steps": [200, 0],
            "cycle_lengths": [BASE_STEPS * 4 // 5, BASE_STEPS // 5],
            "f_start": [1e-6, 1e-6],
            "f_max": [1.0, 0.03],
            "f_min": [0.03, 0.0],
        }
    },
    job(FULL, "base_traffic"),
)
TUNED: Tree = joined(
    MODEL,
    {
        # The folders to mix are the command line's:
        # dataset.mix={FOLDER/normal: 1, FOLDER/accident: 1}
        "dataloader_train": loader(f"{CLIPS}/train", shuffle=True, batch_size=2),
        "dataloader_val": loader(f"{CLIPS}/val", shuffle=False),
        "optimizer": {"lr": 5e-4},
        "model": {
            "config": {
                "fresh_weights": False,
                "model_manager_config": {"dit_path": str(BASE_WEIGHTS)},
            }
        },
    },
    length(600, 20, lines=20, validations=200),
)
KINDS: dict[str, Tree] = {
    FULL: job(FULL, "tiny_its"),
    LORA: joined(adapters(16), {"optimizer": {"lr": 3e-3}}, job(LORA, "tiny_its_lora")),
}
WHAT = {FULL: "all weights", LORA: "LoRA"}

EXPERIMENTS: dict[str, Experiment] = {
    BASE_EXPERIMENT: Experiment(
        "Tiny, from random weights: normal traffic at 64x112, 25 frames, on a CPU",
        {"defaults": DEFAULTS, **BASE},
    ),
    **{
        f"predict2_video2world_{WORD[kind]}training_tiny_its": Experiment(
            f"Tiny, {WHAT[kind]}: normal traffic and accidents 1:1 from the package's base",
            {"defaults": DEFAULTS, **joined(TUNED, own)},
        )
        for kind, own in KINDS.items()
    },
}

"""The experiments of Predict2 Video2World: the published recipes and tiny ones for a CPU."""

from typing import Any

from worldtune.config.predict2 import LORA_TARGETS
from worldtune.config.root import Experiment
from worldtune.config.tree import Tree, merged

ITS_CLIPS = "datasets/its_traffic/train"
ALL_WEIGHTS = {"group": "video2world"}
ADAPTERS = {"group": "video2world_lora"}


def choices(model: str, validation: str = "data_val") -> list[Any]:
    """The options that every published recipe chooses."""
    return [
        {"override /model": model},
        {"override /optimizer": "fusedadamw"},
        {"override /scheduler": "lambdalinear"},
        {"override /ckpt_type": "standard"},
        {f"override /{validation}": "mock"},
        "_self_",
    ]


def clips(folder: str, frames: int, size: tuple[int, int]) -> Tree:
    """The published recipes' loader: one clip a rank, shuffled, eight workers."""
    return {
        "dataset": {"dataset_dir": folder, "num_frames": frames, "video_size": list(size)},
        "sampler": {"shuffle": True, "seed": 0},
        "batch_size": 1,
        "drop_last": True,
        "num_workers": 8,
        "pin_memory": True,
    }


ITS: Tree = {
    "job": {"project": "posttraining"},
    "model": {
        "config": {
            "pipe_config": {"ema": {"enabled": True}, "guardrail_config": {"enabled": False}}
        }
    },
    "model_parallel": {"context_parallel_size": 2},
    "dataloader_train": clips(ITS_CLIPS, 93, (720, 1280)),
    "trainer": {"distributed_parallelism": "fsdp", "max_iter": 2000},
    "checkpoint": {"save_iter": 500},
    "optimizer": {"lr": 2.0**-14.5},
    "scheduler": {
        "warm_up_steps": [2_000],
        "cycle_lengths": [400_000],
        "f_max": [0.6],
        "f_min": [0.3],
    },
}
"""What the recipe's two experiments have in common."""

NO_REFINER: Tree = {
    "model": {"config": {"pipe_config": {"prompt_refiner_config": {"enabled": False}}}}
}
WITH_LORA: Tree = {
    "model": {
        "config": {
            "train_architecture": "lora",
            "lora_rank": 16,
            "lora_alpha": 16,
            "lora_target_modules": LORA_TARGETS,
            "init_lora_weights": True,
        }
    },
    "trainer": {"callbacks": {"iter_speed": {"hit_thres": 10}}},
}

EXPERIMENTS: dict[str, Experiment] = {
    "predict2_video2world_training_2b_its": Experiment(
        "2B, all weights, traffic clips at 720p: the published recipe",
        {
            "defaults": choices("predict2_video2world_fsdp_2b"),
            **merged(merged(ITS, NO_REFINER), {"job": {"group": "video2world", "name": "2b_its"}}),
        },
    ),
}

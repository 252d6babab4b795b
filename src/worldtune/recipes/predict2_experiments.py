"""The experiments of Predict2 Video2World: published recipes, and tiny ones for a CPU."""

from functools import reduce
from typing import Any

from worldtune.config.root import Experiment
from worldtune.config.tree import Tree, merged
from worldtune.config.video2world import LORA_TARGETS

FULL, LORA = "video2world", "video2world_lora"
WORD = {FULL: "", LORA: "lora_"}
WHAT = {FULL: "all weights", LORA: "LoRA"}
# Clips of the published sizes: height and width, and frames at each rate.
PUBLISHED_SIZE = {"480": (432, 768), "720": (704, 1280)}
PUBLISHED_FRAMES = {10: 61, 16: 93}
CONTEXT_RANKS = {"2b": 2, "14b": 8}


def joined(*layers: Tree) -> Tree:
    """The layers laid over one another, later ones on top."""
    return reduce(merged, layers, {})


def job(group: str, name: str) -> Tree:
    """Where a run lives."""
    return {"job": {"project": "posttraining", "group": group, "name": name}}


def choices(model: str, validation: str = "dataloader_val") -> dict[str, list[Any]]:
    """The options that every published recipe chooses."""
    return {
        "defaults": [
            {"override /model": model},
            {"override /optimizer": "fusedadamw"},
            {"override /scheduler": "lambdalinear"},
            {"override /ckpt_type": "standard"},
            {f"override /{validation}": "mock"},
            "_self_",
        ]
    }


def clips(folder: str, frames: int, size: tuple[int, int], batch_size: int = 1) -> Tree:
    """The published recipes' loader: shuffled clips, eight workers."""
    return {
        "dataloader_train": {
            "dataset": {"dataset_dir": folder, "num_frames": frames, "video_size": list(size)},
            "sampler": {"shuffle": True, "seed": 0},
            "batch_size": batch_size,
            "drop_last": True,
            "num_workers": 8,
            "pin_memory": True,
        }
    }


def pipe(values: Tree) -> Tree:
    """Values of the pipeline at their place."""
    return {"model": {"config": {"pipe_config": values}}}


def context(ranks: int) -> Tree:
    """How many processes share a clip."""
    return {"model_parallel": {"context_parallel_size": ranks}}


def steps(max_iter: int, save_iter: int) -> Tree:
    """How long a run is, and how often it is saved."""
    return {
        "trainer": {"distributed_parallelism": "fsdp", "max_iter": max_iter},
        "checkpoint": {"save_iter": save_iter},
    }


def schedule(warm_up: int, cycle: int, f_max: float, f_min: float) -> Tree:
    """One cycle of the learning rate."""
    return {
        "scheduler": {
            "warm_up_steps": [warm_up],
            "cycle_lengths": [cycle],
            "f_max": [f_max],
            "f_min": [f_min],
        }
    }


AVERAGED = pipe({"ema": {"enabled": True}, "guardrail_config": {"enabled": False}})
NO_REFINER = pipe({"prompt_refiner_config": {"enabled": False}})
SPEED_LINES: Tree = {"trainer": {"callbacks": {"iter_speed": {"hit_thres": 10}}}}


def adapters(rank: int) -> Tree:
    """LoRA as the published recipes spell it out, alpha equal to the rank."""
    return {
        "model": {
            "config": {
                "train_architecture": "lora",
                "lora_rank": rank,
                "lora_alpha": rank,
                "lora_target_modules": LORA_TARGETS,
                "init_lora_weights": True,
            }
        }
    }


# The recipe for traffic clips. ----------------------------------------------------------

ITS_CLIPS = "datasets/its_traffic/train"
ITS = joined(
    AVERAGED,
    steps(max_iter=2000, save_iter=500),
    {"optimizer": {"lr": 2.0**-14.5}},
    schedule(warm_up=2_000, cycle=400_000, f_max=0.6, f_min=0.3),
)
"""What its two experiments have in common."""
ITS_KINDS = {FULL: NO_REFINER, LORA: joined(adapters(16), SPEED_LINES)}


def its_experiments() -> dict[str, Experiment]:
    """The recipe at its own size, and at each published size, for both models."""
    result: dict[str, Experiment] = {}
    for size, ranks in CONTEXT_RANKS.items():
        for kind, own in ITS_KINDS.items():
            name = f"{size}_its" if kind == FULL else f"{size}_its_lora"
            shared = joined(ITS, own, context(ranks))
            model = f"predict2_video2world_fsdp_{size}"
            experiment = f"predict2_video2world_{WORD[kind]}training_{size}_its"
            result[experiment] = Experiment(
                f"{size.upper()}, {WHAT[kind]}: traffic clips at 720x1280, 93 frames",
                choices(model, "data_val")
                | joined(shared, clips(ITS_CLIPS, 93, (720, 1280)), job(kind, name)),
            )
            for resolution, rows in PUBLISHED_SIZE.items():
                for fps, frames in PUBLISHED_FRAMES.items():
                    at = f"{resolution}p_{fps}fps"
                    result[f"{experiment}_{at}"] = Experiment(
                        f"{size.upper()}, {WHAT[kind]}: traffic clips at "
                        f"{rows[0]}x{rows[1]}, {frames} frames, {fps} frames a second",
                        choices(f"{model}_{at}")
                        | joined(shared, clips(ITS_CLIPS, frames, rows), job(kind, f"{name}_{at}")),
                    )
    return result


# The published examples on Cosmos-NeMo-Assets. -------------------------------------------

NEMO_CLIPS = "datasets/cosmos_nemo_assets"


def nemo_experiments() -> dict[str, Experiment]:
    """Numbers of the four published examples. Source: nvidia-cosmos/cosmos-predict2."""
    decay = {"optimizer": {"weight_decay": 0.2}}
    numbers: dict[tuple[str, str], Tree] = {
        ("2b", FULL): joined(
            steps(1000, 500), schedule(2_000, 400_000, 0.6, 0.3), {"optimizer": {"lr": 2.0**-14.5}}
        ),
        ("14b", FULL): joined(
            steps(1000, 500),
            schedule(2_000, 40_000, 0.25, 0.1),
            {"optimizer": {"lr": 2.0**-14.5}},
            decay,
        ),
        ("2b", LORA): joined(
            adapters(16),
            steps(2000, 100),
            schedule(0, 2_000, 0.6, 0.0),
            {"optimizer": {"lr": 2.0**-10}},
        ),
        ("14b", LORA): joined(
            adapters(32),
            steps(1500, 300),
            schedule(0, 1_500, 0.25, 0.0),
            {"optimizer": {"lr": 2.0**-11}},
            decay,
        ),
    }
    return {
        f"predict2_video2world_{WORD[kind]}training_{size}_cosmos_nemo_assets": Experiment(
            f"{size.upper()}, {WHAT[kind]}: the Cosmos-NeMo-Assets clips",
            choices(f"predict2_video2world_fsdp_{size}")
            | joined(
                AVERAGED,
                NO_REFINER,
                SPEED_LINES,
                context(CONTEXT_RANKS[size]),
                clips(NEMO_CLIPS, 93, PUBLISHED_SIZE["720"], 1 if kind == FULL else 2),
                own,
                job(kind, f"{size}_cosmos_nemo_assets"),
            ),
        )
        for (size, kind), own in numbers.items()
    }


# Small enough for a CPU. -----------------------------------------------------------------

TINY_CLIPS = "datasets/scenes"
TINY_FRAMES, TINY_SIZE = 17, (128, 224)


def tiny_loader(part: str, *, shuffle: bool) -> Tree:
    """Small clips of one part of the built-in scenes."""
    return {
        "dataset": {
            "dataset_dir": f"{TINY_CLIPS}/{part}",
            "num_frames": TINY_FRAMES,
            "video_size": list(TINY_SIZE),
        },
        "sampler": {"shuffle": shuffle, "seed": 0},
        "batch_size": 2,
        "drop_last": shuffle,
        "num_workers": 1,
        "pin_memory": False,
    }


TINY: Tree = joined(
    AVERAGED,
    {
        "dataloader_train": tiny_loader("train", shuffle=True),
        "dataloader_val": tiny_loader("val", shuffle=False),
        "trainer": {
            "max_iter": 300,
            "logging_iter": 10,
            "run_validation": True,
            "validation_iter": 50,
            "max_val_iter": 4,
        },
        "checkpoint": {"save_iter": 100},
        # From random weights a tiny network wants a far larger rate than a trained one.
        "optimizer": {"lr": 2e-3},
    },
    # A climb of 20 steps, then the full rate.
    schedule(warm_up=20, cycle=1_000_000, f_max=1.0, f_min=1.0),
)


def tiny_experiments() -> dict[str, Experiment]:
    """Both ways of training, without weights, GPU or download."""
    return {
        f"predict2_video2world_{WORD[kind]}training_tiny": Experiment(
            f"Tiny, {WHAT[kind]}: built-in scenes at 128x224, 17 frames, on a CPU",
            {
                "defaults": [
                    {"override /model": "predict2_video2world_tiny"},
                    {"override /scheduler": "lambdalinear"},
                    {"override /ckpt_type": "standard"},
                    "_self_",
                ],
                **joined(TINY, own, job(kind, "tiny" if kind == FULL else "tiny_lora")),
            },
        )
        for kind, own in ((FULL, {}), (LORA, adapters(16)))
    }


EXPERIMENTS: dict[str, Experiment] = {
    **its_experiments(),
    **nemo_experiments(),
    **tiny_experiments(),
}

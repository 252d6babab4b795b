"""The root of Predict2 Video2World: its groups and what they default to."""

import shlex

from worldtune.config.notices import notices_of
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.root import Group, Root
from worldtune.config.tree import Tree, merged, nested
from worldtune.errors import RecipeError
from worldtune.recipes.options import EVERY_STEP, LAMBDALINEAR
from worldtune.recipes.predict2_experiments import EXPERIMENTS
from worldtune.recipes.predict2_models import DEFAULT_MODEL, UNSUPPORTED_MODELS, model_options
from worldtune.recipes.traffic_experiments import EXPERIMENTS as TRAFFIC_EXPERIMENTS

OPTIMIZERS: dict[str, Tree] = {
    "fusedadamw": {"lr": 1e-4, "weight_decay": 0.1, "betas": [0.9, 0.99], "eps": 1e-8}
}
SCHEDULERS: dict[str, Tree] = {
    "constant": {"kind": "constant"},
    "lambdalinear": LAMBDALINEAR,
}
CALLBACKS: dict[str, Tree] = {
    "basic": {
        **EVERY_STEP,
        "device_monitor": {
            "every_n": "${trainer.logging_iter}",
            "step_size": 1,
            "log_memory_detail": True,
        },
        "manual_gc": {"every_n": 5, "warm_up": 5},
        "loss_log": {"logging_iter_multipler": 1},
    }
}
MOCK_CLIPS: dict[str, Tree] = {
    kind: {
        "dataset": {"kind": kind, "num_frames": frames, "video_size": [432, 768]},
        "batch_size": batch_size,
    }
    for kind, frames, batch_size in (("mock", 93, 1), ("mock_image", 1, 2), ("mock_video", 93, 1))
}
# The documents' guidelines for the 2B model: rank, and the power of two that is the rate.
LORA_STRENGTHS = {"conservative": (8, -15), "recommended": (16, -14.5), "aggressive": (32, -14)}
LORA: dict[str, Tree] = {
    name: {
        "model": {"config": {"train_architecture": "lora", "lora_rank": rank, "lora_alpha": rank}},
        "optimizer": {"lr": 2.0**power},
    }
    for name, (rank, power) in LORA_STRENGTHS.items()
}
NOT_HERE = "put your clips in a folder and name it in dataloader_train.dataset.dataset_dir"


ENVIRONMENT_VARIABLE = "COSMOS_PREDICT2_ARGS"
ENVIRONMENT_FLAGS = {
    "--checkpoints": ("checkpoint", "weights_dir"),
    "--text_encoder": ("model", "config", "pipe_config", "text_encoder", "cls"),
}


def read_environment(written: str) -> Tree:
    """Read --checkpoints DIR and --text_encoder NAME.

    Raises RecipeError for anything else.
    """
    result: Tree = {}
    words = iter(shlex.split(written))
    for word in words:
        flag, equals, value = word.partition("=")
        value = value if equals else next(words, "")
        if flag not in ENVIRONMENT_FLAGS or not value:
            expected = "expected --checkpoints DIR and --text_encoder NAME"
            raise RecipeError(f"{ENVIRONMENT_VARIABLE}='{written}' is not understood; {expected}")
        result = merged(result, nested(ENVIRONMENT_FLAGS[flag], value))
    return result


PREDICT2 = Root(
    name="predict2",
    schema=Predict2Recipe,
    summary="Predict2 Video2World: all weights or LoRA, 2B, 14B and a tiny model for a CPU",
    values={"job": {"project": "cosmos_predict2"}},
    groups=(
        Group(
            "dataloader_train",
            "dataloader_train",
            MOCK_CLIPS,
            unsupported={name: NOT_HERE for name in ("gr1", "bridge_train")},
        ),
        Group("dataloader_val", "dataloader_val", MOCK_CLIPS, unsupported={"bridge_val": NOT_HERE}),
        Group("optimizer", "optimizer", OPTIMIZERS, default="fusedadamw"),
        Group("scheduler", "scheduler", SCHEDULERS, default="constant"),
        Group(
            "model",
            "_global_",
            model_options(),
            default=DEFAULT_MODEL,
            unsupported=UNSUPPORTED_MODELS,
        ),
        Group("callbacks", "trainer.callbacks", CALLBACKS, default=["basic"]),
        Group(
            "ema",
            "_global_",
            {"power": {}},
            inert={"power": "the average is switched by model.config.pipe_config.ema.enabled"},
        ),
        Group("ckpt_type", "checkpoint", {"standard": {"type": "standard"}}),
        Group("lora", "_global_", LORA, late=True),
    ),
    experiments=EXPERIMENTS | TRAFFIC_EXPERIMENTS,
    config_paths=("cosmos_predict2/configs/base/config.py",),
    output_root_variable="IMAGINAIRE_OUTPUT_ROOT",
    notices=notices_of,
    environment_variable=ENVIRONMENT_VARIABLE,
    read_environment=read_environment,
    aliases={"data_val": "dataloader_val", "data_train": "dataloader_train"},
    targets={
        "model": ("Predict2Video2WorldModel",),
        "model.config": ("Predict2Video2WorldModelConfig",),
        "model.config.model_manager_config": ("Predict2ModelManagerConfig",),
        "model.config.pipe_config": ("Video2WorldPipelineConfig",),
        "model.config.pipe_config.net": ("MinimalV1LVGDiT",),
        "model.config.pipe_config.net.sac_config": ("SACConfig",),
        "model.config.pipe_config.tokenizer": ("TokenizerInterface",),
        "model.config.pipe_config.ema": ("EMAConfig",),
        "model.config.pipe_config.conditioner": ("Vid2VidConditioner",),
        "model.config.pipe_config.conditioner.*": ("TextAttr", "ReMapkey", "BooleanFlag"),
        "dataloader_*": ("DataLoader",),
        "dataloader_*.dataset": ("Dataset",),
        "dataloader_*.sampler": ("DistributedSampler", "get_sampler"),
        "optimizer": ("get_base_optimizer",),
        "scheduler": ("LambdaLinearScheduler",),
        "trainer.callbacks.low_prec": ("LowPrecisionCallback",),
        "trainer.callbacks.iter_speed": ("IterSpeed",),
        "trainer.callbacks.device_monitor": ("DeviceMonitor",),
        "trainer.callbacks.manual_gc": ("ManualGarbageCollection",),
        "trainer.callbacks.loss_log": ("LossLog",),
        "trainer.callbacks.grad_clip": ("GradClip",),
    },
)

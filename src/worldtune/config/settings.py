"""The rules that every section of settings follows, and the sections all recipes share.

A section is a frozen record: nothing changes after reading, a key that is not listed is
a mistake, and a value is taken as it is, never converted (the text "100" is not a number).
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FOREVER = 999_999_999
"""The documents' word for "never", in steps or seconds."""


class Settings(BaseModel):
    """A section of settings: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False
    )

    @model_validator(mode="before")
    @classmethod
    def _keep_lists_as_tuples(cls, values: Any) -> Any:
        """Recipes write lists; a frozen record keeps tuples, which cannot change."""
        if not isinstance(values, Mapping):
            return values
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def setting(default: Any, description: str, **limits: Any) -> Any:
    """A setting with its default, what it means (with its unit) and its limits."""
    return Field(default=default, description=description, **limits)


def required(description: str, **limits: Any) -> Any:
    """A setting without a default: a recipe must give it."""
    return Field(description=description, **limits)


class JobSettings(Settings):
    """Where the run lives: <output root>/<project>/<group>/<name>/."""

    project: str = setting("worldtune", "First folder under the output root.", min_length=1)
    group: str = setting("debug", "Folder under the project.", min_length=1)
    name: str = required(
        "Folder of this run, under the group; the experiment's name where it gives none.",
        min_length=1,
    )


class ModelParallelSettings(Settings):
    """How many processes share one clip. What is left over holds other clips (data ranks)."""

    tensor_model_parallel_size: int = setting(
        1, "Processes that share every large weight matrix.", ge=1
    )
    pipeline_model_parallel_size: int = setting(
        1, "Processes that share the blocks in turn; only 1 is supported.", ge=1
    )
    context_parallel_size: int = setting(1, "Processes that share one clip along time.", ge=1)
    sequence_parallel: bool = setting(
        False, "Tensor ranks also share a clip's frames outside the large matrices."
    )
    bf16: bool = setting(False, "Megatron's own word for bfloat16.")
    params_dtype: str = setting("fp32", "Megatron's precision of weights.")
    enable_autocast: bool = setting(False, "Megatron's mixed precision.")
    autocast_dtype: str = setting("fp32", "Precision of Megatron's mixed precision.")
    cpu_offloading_weights: bool = setting(False, "Megatron keeps weights off the GPU.")
    cpu_offloading_activations: bool = setting(False, "Megatron keeps activations off the GPU.")


class JitSettings(Settings):
    """A traced copy of the network beside each checkpoint, as the original could write."""

    enabled: bool = setting(False, "Write a traced copy.")
    input_shape: tuple[int, ...] | None = setting(None, "Shape to trace with.")
    device: str = setting("cuda", "Device to trace on.")
    dtype: str = setting("bfloat16", "Precision to trace in.")
    strict: bool = setting(True, "Check the traced copy.")


class CheckpointSettings(Settings):
    """What is saved, when, and what a run starts from."""

    save_iter: int = setting(FOREVER, "Steps between saves; the last step is always saved.", ge=1)
    load_path: str = setting("", "Weights or state to start from; empty: the model's own weights.")
    load_training_state: bool = setting(
        False, "Take optimiser, schedule and step from load_path too, not only the weights."
    )
    only_load_scheduler_state: bool = setting(
        False, "With load_training_state: take the schedule's position, not the optimiser's state."
    )
    strict_resume: bool = setting(
        True, "A weight missing from load_path, or left over in it, stops the run."
    )
    load_ema_to_reg: bool = setting(False, "Start the network from the averaged weights.")
    keys_not_to_resume: tuple[str, ...] = setting((), "Parts of a state that are not taken over.")
    native: Literal["model", "all", "none"] = setting(
        "model",
        "Files written beside the run's own state: the model (of a LoRA run its adapters alone), "
        "all of the published layout too, or none.",
    )
    keep_last: int | None = setting(
        None, "States kept, the latest ones; older ones are removed. Nothing: all.", ge=1
    )
    weights_dir: str = setting("checkpoints", "Folder of the published weights.", min_length=1)
    verbose: bool = setting(True, "Say more while loading.")
    dcp_async_mode_enabled: bool = setting(False, "Save in a process of its own.")
    broadcast_via_filesystem: bool = setting(False, "Every rank reads the file itself.")
    dcp_allow_mismatched_size: bool = setting(False, "Load weights of another shape.")
    jit: JitSettings = setting(JitSettings(), "A traced copy of the network.")


class OptimizerSettings(Settings):
    """AdamW, with decay apart from the gradient, on every trained weight."""

    lr: float = setting(1e-4, "Learning rate, before the schedule's factor.", gt=0)
    weight_decay: float = setting(0.1, "Share of a weight taken off per step and unit of lr.", ge=0)
    betas: tuple[float, float] = setting(
        (0.9, 0.99), "Memory of the mean and of the square of the gradient, each 0 to below 1."
    )
    eps: float = setting(1e-8, "Added to the root of the mean square gradient.", gt=0)
    master_weights: bool = setting(
        True, "Keep a float32 copy of the weights, which is what the steps are added to."
    )
    optim_type: Literal["fusedadam"] = setting("fusedadam", "The original's name for AdamW.")
    capturable: bool = setting(True, "Keep the step count on the device.")


class SchedulerSettings(Settings):
    """The factor on the learning rate, step by step (counted from 0).

    lambdalinear: in each cycle the factor climbs from f_start to f_max over warm_up_steps,
    then falls in a line to f_min at the cycle's end. constant: 1, always.
    """

    kind: Literal["lambdalinear", "constant"] = setting("constant", "Shape of the schedule.")
    warm_up_steps: tuple[int, ...] = setting((1000,), "Steps of climbing, one number a cycle.")
    cycle_lengths: tuple[int, ...] = setting(
        (10_000_000_000_000,), "Steps of each cycle, the climb included."
    )
    f_start: tuple[float, ...] = setting((1e-6,), "Factor on the first step of each cycle.")
    f_max: tuple[float, ...] = setting((1.0,), "Factor at the end of the climb.")
    f_min: tuple[float, ...] = setting((1.0,), "Factor at the end of each cycle.")

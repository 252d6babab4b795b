"""Settings of the loop: how long, how often, and what looks on."""

from typing import Literal

from worldtune.config.settings import FOREVER, Settings, setting


class DdpSettings(Settings):
    """Arguments of torch's DistributedDataParallel, as the original passed them."""

    find_unused_parameters: bool = setting(False, "Look for weights without a gradient.")
    static_graph: bool = setting(True, "The graph never changes.")
    broadcast_buffers: bool = setting(True, "Send buffers from the first rank on every step.")


class CudnnSettings(Settings):
    """How cuDNN chooses its kernels."""

    deterministic: bool = setting(False, "Only kernels that repeat in bits.")
    benchmark: bool = setting(True, "Try kernels out and keep the fastest.")


class GradScalerSettings(Settings):
    """Scaling of the loss against float16 underflow."""

    enabled: bool = setting(False, "Scale the loss.")


class ProfilingSettings(Settings):
    """torch's profiler around some steps."""

    enable_profiling: bool = setting(False, "Write a trace of the steps.")
    enable_memory_snapshot: bool = setting(False, "Write a snapshot of GPU memory.")
    profile_freq: int = setting(1, "Steps between traces.", ge=1)
    first_n_rank: int = setting(8, "Ranks that write a trace.", ge=1)
    record_shape: bool = setting(True, "Record shapes.")
    profile_memory: bool = setting(True, "Record memory.")
    with_stack: bool = setting(True, "Record call stacks.")
    with_modules: bool = setting(True, "Record module names.")


class LowPrecSettings(Settings):
    """Copying of float32 master weights into the network."""

    update_iter: int = setting(1, "Steps between copies.", ge=1)


class IterSpeedSettings(Settings):
    """The log line with step, speed and loss."""

    every_n: int = setting(
        10, "Steps between lines; recipes leave it to trainer.logging_iter.", ge=1
    )
    hit_thres: int | None = setting(
        None, "Steps between lines, as the documents use it; nothing or 0: every_n.", ge=0
    )


class DeviceMonitorSettings(Settings):
    """The table of memory, temperature and load of the devices."""

    every_n: int = setting(
        10, "Steps between tables; recipes leave it to trainer.logging_iter.", ge=1
    )
    step_size: int = setting(1, "Steps between measurements.", ge=1)
    log_memory_detail: bool = setting(True, "Show reserved memory too.")


class ManualGcSettings(Settings):
    """Garbage collection at chosen steps, so that ranks do not wait for one another."""

    every_n: int = setting(5, "Steps between collections.", ge=1)
    warm_up: int = setting(5, "Steps before the first one.", ge=0)


class LossLogSettings(Settings):
    """The record of the loss."""

    logging_iter_multipler: int = setting(
        1, "Log lines between entries of the record (spelt as in the original).", ge=1
    )


class GradClipSettings(Settings):
    """Limit of the gradient, over all trained weights together."""

    clip_norm: float = setting(
        1.0, "Largest L2 norm; longer gradients are scaled down to it.", gt=0
    )
    force_finite: bool = setting(
        True, "Skip a step whose gradient is not finite; the original took such entries as 0."
    )


class ProgressBarSettings(Settings):
    """The original's bar of progress."""


class CallbackSettings(Settings):
    """What looks on at every step. A callback that is nothing is off."""

    low_prec: LowPrecSettings | None = setting(None, "Copying of master weights.")
    iter_speed: IterSpeedSettings | None = setting(None, "Log line with step, speed and loss.")
    device_monitor: DeviceMonitorSettings | None = setting(None, "Table of device memory and load.")
    manual_gc: ManualGcSettings | None = setting(None, "Garbage collection at chosen steps.")
    loss_log: LossLogSettings | None = setting(None, "Record of the loss.")
    grad_clip: GradClipSettings | None = setting(None, "Limit of the gradient.")
    progress_bar: ProgressBarSettings | None = setting(None, "The original's bar of progress.")


class TrainerSettings(Settings):
    """How the loop runs."""

    max_iter: int = setting(400_000, "Optimiser steps of the whole run.", ge=1)
    grad_accum_iter: int = setting(1, "Batches whose gradients make one step.", ge=1)
    seed: int = setting(0, "Seed of every random draw of the run.", ge=0)
    timestamp_seed: bool = setting(False, "Take the seed from the clock.")
    logging_iter: int = setting(10, "Steps between log lines.", ge=1)
    run_validation: bool = setting(False, "Measure the loss on dataloader_val.")
    validation_iter: int = setting(500, "Steps between validations.", ge=1)
    max_val_iter: int | None = setting(None, "Batches of a validation; nothing: all.", ge=1)
    sample_iter: int = setting(0, "Steps between sample videos; 0: none.", ge=0)
    distributed_parallelism: Literal["ddp", "fsdp"] = setting(
        "ddp", "How data ranks hold the weights: all of them each (ddp) or shared out (fsdp)."
    )
    timeout_period: int = setting(FOREVER, "Seconds a process waits for another.", ge=1)
    callbacks: CallbackSettings = setting(CallbackSettings(), "What looks on at every step.")
    cudnn: CudnnSettings = setting(CudnnSettings(), "Choice of cuDNN kernels.")
    profiling: ProfilingSettings = setting(ProfilingSettings(), "torch's profiler.")
    type: str | None = setting(None, "Trainer class of the original.")
    ddp: DdpSettings = setting(DdpSettings(), "Arguments of DistributedDataParallel.")
    grad_scaler_args: GradScalerSettings = setting(GradScalerSettings(), "Scaling of the loss.")
    memory_format: Literal["preserve"] = setting("preserve", "Layout of tensors in memory.")

"""Settings of the originals that mean nothing here: one table, with the reason of each.

They are accepted, so that what people wrote goes on working. Changing one prints a notice.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache

MODEL = "model.config"
PIPE = f"{MODEL}.pipe_config"
DICTS = "batches have fields here, not keys"
PRECISION = "the model's precision decides"
ALWAYS_TOLD = "only captions and given frames are ever left out"

INERT: Mapping[str, str] = {
    "trainer.type": "there is one loop",
    "trainer.ddp.*": "gradients are averaged without DistributedDataParallel",
    "trainer.grad_scaler_args.enabled": "bfloat16 and float32 do not underflow",
    "trainer.memory_format": "there is one memory layout",
    "trainer.timestamp_seed": "trainer.seed seeds every draw, so that ranks agree and runs repeat",
    "trainer.callbacks.progress_bar": "the log says how far the run is",
    "trainer.callbacks.low_prec.update_iter": "weights follow their float32 copy on every step",
    "model_parallel.bf16": PRECISION,
    "model_parallel.params_dtype": PRECISION,
    "model_parallel.enable_autocast": PRECISION,
    "model_parallel.autocast_dtype": PRECISION,
    "model_parallel.cpu_offloading_*": "weights and activations stay on the device",
    "checkpoint.verbose": "every load ends in a report",
    "checkpoint.dcp_async_mode_enabled": "a state is written before the run goes on",
    "checkpoint.broadcast_via_filesystem": "each rank reads what it needs of the file itself",
    "checkpoint.dcp_allow_mismatched_size": "weights of another shape are never loaded",
    "dataloader_train.drop_last": "epochs run into one another, so batches are always full",
    "optimizer.optim_type": "there is one AdamW",
    "optimizer.capturable": "the step count costs nothing on either side",
    f"{MODEL}.model_manager_config.text_encoder_path": "training reads stored embeddings",
    f"{MODEL}.input_video_key": DICTS,
    f"{MODEL}.input_image_key": DICTS,
    f"{MODEL}.debug_without_randomness": "every draw follows from trainer.seed already",
    f"{PIPE}.input_video_key": DICTS,
    f"{PIPE}.input_image_key": DICTS,
    f"{PIPE}.adjust_video_noise": f"{MODEL}.adjust_video_noise decides",
    f"{PIPE}.precision": f"{MODEL}.precision decides",
    f"{PIPE}.rectified_flow_loss_weight_uniform": "the weight of the loss is 1 / t^2 either way",
    f"{PIPE}.conditioner.*.input_key": DICTS,
    f"{PIPE}.conditioner.*.output_key": DICTS,
    f"{PIPE}.conditioner.*.dtype": "conditions keep their precision",
    f"{PIPE}.conditioner.fps.dropout_rate": "the network does not take the frame rate",
    f"{PIPE}.conditioner.padding_mask.dropout_rate": "clips have no padding",
    f"{PIPE}.tokenizer.chunk_duration": "it has no effect in the original either",
    f"{PIPE}.tokenizer.temporal_window": "the latents do not depend on it",
    f"{PIPE}.tokenizer.load_mean_std": "the latents' statistics are part of the tokenizer",
    f"{PIPE}.tokenizer.name": "it is only a label",
    f"{PIPE}.net.atten_backend": "attention is chosen for the device",
    f"{PIPE}.net.pos_emb_learnable": "rotary positions have nothing to learn",
    f"{PIPE}.net.pos_emb_interpolation": "rotary positions are not interpolated",
    f"{PIPE}.timestamps.is_forward": "sampling goes from noise to video",
    "model_obj": "the networks' settings say which model it is",
    "model.context_parallel_size": "model_parallel.context_parallel_size decides",
    "model.input_*_key": DICTS,
    "model.hint_dropout_rate": "a branch has one hint",
    "model.ema.num": "one average is kept",
    "model.fsdp.policy": "blocks are shared out one by one",
    "model.fsdp.min_num_params": "blocks are shared out one by one",
    "model.fsdp.checkpoint": "net.sac_config decides",
    "model.tokenizer.spatial_resolution": "it is only a label",
    "model.tokenizer.name": "it is only a label",
    "model.conditioner.*.input_key": DICTS,
    "model.conditioner.*.output_key": DICTS,
    "model.conditioner.*.dtype": "conditions keep their precision",
    "model.conditioner.num_frames.dropout_rate": "the network does not take the length",
    "model.conditioner.image_size.dropout_rate": "the network does not take the size",
    "model.conditioner.fps.dropout_rate": ALWAYS_TOLD,
    "model.conditioner.padding_mask.dropout_rate": ALWAYS_TOLD,
    "model.conditioner.view_indices.dropout_rate": ALWAYS_TOLD,
    "model.conditioner.frame_repeat.dropout_rate": ALWAYS_TOLD,
    "model.net*.pos_emb_learnable": "the published networks have a table that learns",
    "model.net*.pos_emb_interpolation": "rotary positions are not interpolated",
    "model.net_ctrl.use_adaln_lora": "the base's decides",
    "model.net_ctrl.dropout_ctrl_branch": "the base does not train",
    "dataloader_*.dataset.is_train": "every folder holds clips of one kind",
}


@cache
def reason_of(key: str) -> str | None:
    """Why a setting means nothing here, or None where it means something."""
    return next((reason for name, reason in INERT.items() if fnmatchcase(key, name)), None)

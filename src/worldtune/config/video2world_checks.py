"""Checks of a Video2World model: its sizes, its text, its clips and where it starts."""

from collections.abc import Iterator

from worldtune.config.dataloader import DatasetSettings
from worldtune.config.mistakes import Mistake
from worldtune.config.network import NetworkSettings
from worldtune.config.network_checks import check_heads, check_modulation, check_side
from worldtune.config.settings import ModelParallelSettings
from worldtune.config.video2world import ModelConfig, PipelineSettings

CONFIG = "model.config"
PIPE = f"{CONFIG}.pipe_config"
NET = f"{PIPE}.net"
# Both tokenizers: pixels a latent stands for, in time and per side, and its channels.
TEMPORAL_FACTOR, SPATIAL_FACTOR, LATENT_CHANNELS = 4, 8, 16


def check_model(config: ModelConfig, *, starts_elsewhere: bool) -> Iterator[Mistake]:
    """Everything about the model that needs no weights. `starts_elsewhere`: load_path is set."""
    yield from _check_start(config, starts_elsewhere)
    yield from _check_lora(config)
    yield from _check_pipeline(config.pipe_config)
    yield from _check_network(config.pipe_config.net)
    yield from _check_text(config.pipe_config)


def _check_start(config: ModelConfig, starts_elsewhere: bool) -> Iterator[Mistake]:
    weights = f"{CONFIG}.model_manager_config.dit_path"
    if not (config.fresh_weights or starts_elsewhere or config.model_manager_config.dit_path):
        text = (
            f"{weights} is empty; expected a file of weights, or "
            f"{CONFIG}.fresh_weights=true to start from random ones"
        )
        yield Mistake(text, (weights,))
    tokenizer = config.pipe_config.tokenizer
    if tokenizer.kind == "wan" and not tokenizer.vae_pth:
        key = f"{PIPE}.tokenizer.vae_pth"
        text = f"{key} is empty; expected the autoencoder's weights, or tokenizer.kind=builtin"
        yield Mistake(text, (key,))


def _check_lora(config: ModelConfig) -> Iterator[Mistake]:
    key = f"{CONFIG}.lora_target_modules"
    targets = config.lora_target_modules.split(",")
    if not all(target.strip() for target in targets):
        text = (
            f"{key} is '{config.lora_target_modules}'; expected names of layers, like q_proj,k_proj"
        )
        yield Mistake(text, (key,))
    repeated = sorted({target for target in targets if targets.count(target) > 1 and target})
    if repeated:
        yield Mistake(f"{key} names {', '.join(repeated)} more than once", (key,))


def check_adapters(config: ModelConfig, parallel: ModelParallelSettings) -> Iterator[Mistake]:
    """DoRA measures whole rows of every weight, so no process may have a part of them."""
    if config.train_architecture != "lora" or not config.use_dora:
        return
    key, other = f"{CONFIG}.use_dora", "model_parallel.tensor_model_parallel_size"
    size = parallel.tensor_model_parallel_size
    if size > 1:
        text = (
            f"{key} is true and {other} is {size}; expected 1: DoRA trains on data and context "
            "ranks, LoRA on any"
        )
        yield Mistake(text, (key, other))


def check_compiled(config: ModelConfig) -> Iterator[Mistake]:
    """What recompute keeps is chosen operation by operation, and compiled code has none."""
    mode = config.pipe_config.net.sac_config.mode
    if config.compile_blocks and mode not in ("none", "block_wise"):
        keys = (f"{CONFIG}.compile_blocks", f"{PIPE}.net.sac_config.mode")
        text = (
            f"{keys[0]} is true and {keys[1]} is '{mode}'; expected 'none' or 'block_wise' with it"
        )
        yield Mistake(text, keys)


def _check_pipeline(pipe: PipelineSettings) -> Iterator[Mistake]:
    fewest, most = pipe.min_num_conditional_frames, pipe.max_num_conditional_frames
    keys = (f"{PIPE}.min_num_conditional_frames", f"{PIPE}.max_num_conditional_frames")
    if fewest > most:
        yield Mistake(f"{keys[0]} is {fewest}; expected at most the {most} of {keys[1]}", keys)
    if most >= pipe.state_t and pipe.state_t > 1:
        text = (
            f"{keys[1]} is {most}; expected fewer than the {pipe.state_t} latent frames of a "
            f"clip, so that some are left to predict"
        )
        yield Mistake(text, (keys[1], f"{PIPE}.state_t"))
    if pipe.sigma_data != 1.0:
        text = f"{PIPE}.sigma_data is {pipe.sigma_data}; expected 1.0: this objective has no other"
        yield Mistake(text, (f"{PIPE}.sigma_data",))
    if pipe.state_ch != LATENT_CHANNELS:
        text = f"{PIPE}.state_ch is {pipe.state_ch}; expected the tokenizer's {LATENT_CHANNELS}"
        yield Mistake(text, (f"{PIPE}.state_ch",))
    times = pipe.timestamps
    if times.t_min >= times.t_max:
        key = f"{PIPE}.timestamps"
        text = f"{key}.t_min is {times.t_min}; expected less than the {times.t_max} of t_max"
        yield Mistake(text, (f"{key}.t_min", f"{key}.t_max"))


def _check_network(net: NetworkSettings) -> Iterator[Mistake]:
    yield from check_heads(net, NET)
    for name, channels in (("in_channels", net.in_channels), ("out_channels", net.out_channels)):
        if channels != LATENT_CHANNELS:
            text = f"{NET}.{name} is {channels}; expected the tokenizer's {LATENT_CHANNELS}"
            yield Mistake(text, (f"{NET}.{name}",))
    yield from check_modulation(net, NET)


def _check_text(pipe: PipelineSettings) -> Iterator[Mistake]:
    """The text comes at the width of the network; only Reason1's goes through a projection."""
    encoder = pipe.text_encoder
    if encoder.cls == "cosmos_reason1":
        return
    width = encoder.t5.embed_dim if encoder.cls == "t5" else encoder.builtin.embed_dim
    if width != pipe.net.crossattn_emb_channels:
        keys = (
            f"{NET}.crossattn_emb_channels",
            f"{PIPE}.text_encoder.cls",
            f"{PIPE}.text_encoder.{encoder.cls}.embed_dim",
        )
        text = (
            f"{keys[0]} is {pipe.net.crossattn_emb_channels}; "
            f"expected the {width} of text_encoder.{encoder.cls}.embed_dim"
        )
        yield Mistake(text, keys)


def check_clips(dataset: DatasetSettings, key: str, pipe: PipelineSettings) -> Iterator[Mistake]:
    """A clip fills the latents that the model is trained on."""
    if dataset.kind == "mock_image":
        return
    frames = TEMPORAL_FACTOR * (pipe.state_t - 1) + 1
    keys = (f"{key}.num_frames", f"{PIPE}.state_t")
    if dataset.num_frames < frames:
        reachable = 1 + (dataset.num_frames - 1) // TEMPORAL_FACTOR
        text = (
            f"{keys[0]} is {dataset.num_frames}; expected {frames} or more, which fill "
            f"state_t={pipe.state_t} latent frames ({dataset.num_frames} fill {reachable})"
        )
        yield Mistake(text, keys)
    elif dataset.num_frames > frames and not pipe.resize_online:
        text = (
            f"{keys[0]} is {dataset.num_frames}; expected the {frames} of state_t={pipe.state_t}, "
            f"because {PIPE}.resize_online=false takes no window out of longer clips"
        )
        yield Mistake(text, (*keys, f"{PIPE}.resize_online"))
    if pipe.state_t > pipe.net.max_frames:
        text = f"{keys[1]} is {pipe.state_t}; expected at most net.max_frames={pipe.net.max_frames}"
        yield Mistake(text, (keys[1], f"{NET}.max_frames"))
    yield from _check_size(dataset, f"{key}.video_size", pipe.net)


def _check_size(dataset: DatasetSettings, key: str, net: NetworkSettings) -> Iterator[Mistake]:
    step = SPATIAL_FACTOR * net.patch_spatial
    limits = (net.max_img_h * SPATIAL_FACTOR, net.max_img_w * SPATIAL_FACTOR)
    for place, (side, limit) in enumerate(zip(dataset.video_size, limits, strict=True)):
        yield from check_side(side, limit, step, key, place)

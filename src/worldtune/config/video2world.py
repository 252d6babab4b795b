"""The model of a Video2World recipe, in the words of the published settings."""

from typing import Literal

from pydantic import field_validator

from worldtune.config.model_parts import (
    AverageSettings,
    BuiltinTextSettings,
    ConditionSettings,
    T5Settings,
)
from worldtune.config.network import NetworkSettings
from worldtune.config.settings import Settings, required, setting

LORA_TARGETS = "q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2"


class ConditionerSettings(Settings):
    """The conditions of the network."""

    text: ConditionSettings = setting(
        ConditionSettings(dropout_rate=0.2), "The caption's embedding; dropped: all zeros."
    )
    use_video_condition: ConditionSettings = setting(
        ConditionSettings(), "The given frames; dropped: zeros take their place."
    )
    fps: ConditionSettings = setting(ConditionSettings(), "Frames a second.")
    padding_mask: ConditionSettings = setting(ConditionSettings(), "Mask of padded pixels.")


class TokenizerSettings(Settings):
    """What turns video into latents."""

    kind: Literal["wan", "builtin"] = setting(
        "wan", "The published Wan 2.1 autoencoder, or the built-in one, which needs no weights."
    )
    vae_pth: str = setting("", "Weights of the Wan autoencoder.")
    temporal_window: int = setting(
        16, "Frames encoded at a time; the result does not change.", ge=1
    )
    chunk_duration: int = setting(81, "Switch without effect in the original.", ge=1)
    load_mean_std: bool = setting(False, "Read latent statistics from a file.")
    name: str = setting("tokenizer", "Label of the original.")


class HelperModelSettings(Settings):
    """A helper model of the original's sampling: prompt refiner or guardrail."""

    enabled: bool = setting(False, "Use it.")
    callable: str = setting("", "What makes it, as package.module:callable; none comes along.")
    checkpoint_dir: str = setting("checkpoints", "Folder of its weights.")
    offload_model_to_cpu: bool = setting(True, "Keep it off the GPU between uses.")


class EmaSettings(AverageSettings):
    """The running average of the weights, which is what is sampled from."""

    enabled: bool = setting(False, "Keep an average.")
    iteration_shift: int = setting(0, "Steps added to the count of steps.", ge=0)


class Reason1Settings(Settings):
    """The Cosmos-Reason1 encoder."""

    ckpt_path: str = setting("checkpoints/nvidia/Cosmos-Reason1-7B", "Folder of its weights.")
    num_tokens: int = setting(512, "Tokens of a caption.", ge=1)
    embed_dim: int = setting(100_352, "Width of a token.", ge=1)


class TextEncoderSettings(Settings):
    """What turns captions into embeddings."""

    cls: Literal["t5", "cosmos_reason1", "builtin"] = setting(
        "t5", "Which encoder; builtin needs no weights."
    )
    t5: T5Settings = setting(T5Settings(), "T5.")
    cosmos_reason1: Reason1Settings = setting(Reason1Settings(), "Cosmos-Reason1.")
    builtin: BuiltinTextSettings = setting(BuiltinTextSettings(), "The built-in encoder.")


class TimestampSettings(Settings):
    """Noise levels of sampling."""

    nfe: int = setting(35, "Steps.", ge=1)
    t_min: float = setting(0.002, "Last noise level.", gt=0)
    t_max: float = setting(80.0, "First noise level.", gt=0)
    order: float = setting(7.0, "Bend of the levels between: larger puts more at the end.", gt=0)
    is_forward: bool = setting(False, "Levels from small to large.")


class PipelineSettings(Settings):
    """The model as it is trained and sampled: network, tokenizer, text, given frames."""

    net: NetworkSettings = required("The transformer.")
    tokenizer: TokenizerSettings = setting(TokenizerSettings(), "Video to latents.")
    text_encoder: TextEncoderSettings = setting(TextEncoderSettings(), "Captions to embeddings.")
    conditioner: ConditionerSettings = setting(ConditionerSettings(), "Dropped conditions.")
    ema: EmaSettings = setting(EmaSettings(), "Running average of the weights.")
    conditioning_strategy: Literal["frame_replace", "channel_concat"] = setting(
        "frame_replace", "How given frames enter the network."
    )
    min_num_conditional_frames: int = setting(1, "Fewest given latent frames.", ge=0)
    max_num_conditional_frames: int = setting(2, "Most given latent frames.", ge=0)
    sigma_conditional: float = setting(1e-4, "Noise level told of given frames.", gt=0)
    state_ch: int = setting(16, "Channels of a latent.", ge=1)
    state_t: int = setting(24, "Latent frames of a clip: 1 + (frames - 1) / 4.", ge=1)
    resize_online: bool = setting(
        True, "From a longer clip take a random window of 4 (state_t - 1) + 1 frames."
    )
    resolution: Literal["480", "720"] | None = setting(
        None, "The published sizes this model works at; nothing: the data set's own."
    )
    rectified_flow_t_scaling_factor: float = setting(
        1.0, "Factor on the time told to the network.", gt=0
    )
    sigma_data: float = setting(1.0, "Deviation of latents; 1 for this objective.", gt=0)
    timestamps: TimestampSettings = setting(TimestampSettings(), "Noise levels of sampling.")
    adjust_video_noise: bool = setting(True, "As model.config.adjust_video_noise.")
    precision: str = setting("bfloat16", "As model.config.precision.")
    rectified_flow_loss_weight_uniform: bool = setting(True, "Switch without effect in training.")
    compile_blocks: bool = setting(
        False, "Compile each block (torch.compile): a slower start, faster steps."
    )
    input_video_key: str = setting("video", "Key of videos in a batch.")
    input_image_key: str = setting("images", "Key of images in a batch.")
    prompt_refiner_config: HelperModelSettings = setting(
        HelperModelSettings(), "A model that rewrites prompts."
    )
    guardrail_config: HelperModelSettings = setting(
        HelperModelSettings(), "Models that refuse prompts and blur faces."
    )

    @field_validator("resolution", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        """On a command line 480 is a number."""
        return str(value) if type(value) is int else value


class ModelManagerSettings(Settings):
    """Weights that training starts from."""

    dit_path: str = setting("", "The network's weights: .pt, .pth or .safetensors.")
    text_encoder_path: str = setting("", "The text encoder's weights.")


class ModelConfig(Settings):
    """What is trained, from where, on which loss."""

    pipe_config: PipelineSettings = required("The model.")
    model_manager_config: ModelManagerSettings = setting(ModelManagerSettings(), "Its weights.")
    fresh_weights: bool = setting(False, "Start from random weights in place of dit_path.")
    train_architecture: Literal["base", "lora"] = setting(
        "base", "Train all weights, or low-rank adapters beside frozen ones."
    )
    lora_rank: int = setting(16, "Rank of an adapter, rarely above 64.", ge=1)
    lora_alpha: float = setting(16, "Scale of an adapter, which adds alpha / rank.", gt=0)
    lora_target_modules: str = setting(
        LORA_TARGETS, "Ends of the names of the layers that get an adapter, joined by commas."
    )
    init_lora_weights: bool = setting(True, "Adapters start as no change.")
    use_rslora: bool = setting(False, "Adapters add alpha / sqrt(rank), for large ranks.")
    use_dora: bool = setting(
        False, "Adapters also train the length of every row; not with tensor ranks."
    )
    precision: Literal["bfloat16", "float32"] = setting(
        "bfloat16", "Precision of weights and activations."
    )
    loss_reduce: Literal["mean", "sum"] = setting(
        "mean", "Mean over all elements; or sum over channels and mean over the rest."
    )
    loss_scale: float = setting(10.0, "Factor on the loss, in the log lines too.", gt=0)
    adjust_video_noise: bool = setting(True, "Noise levels times sqrt(state_t) for video.")
    high_sigma_ratio: float = setting(
        0.0, "Share of clips with a noise level of 200 to 100000 instead, 0 to 1.", ge=0, le=1
    )
    fsdp_shard_size: int = setting(
        0, "Ranks that share out the weights (with fsdp); 0: none, -1: all of them.", ge=-1
    )
    compile_blocks: bool = setting(
        False, "Compile each block (torch.compile): a slower start, faster steps."
    )
    input_video_key: str = setting("video", "Key of videos in a batch.")
    input_image_key: str = setting("images", "Key of images in a batch.")
    debug_without_randomness: bool = setting(False, "The original's fixed draws.")


class ModelSettings(Settings):
    """The model under the documents' name for it, model.config."""

    config: ModelConfig = required("The model's settings.")

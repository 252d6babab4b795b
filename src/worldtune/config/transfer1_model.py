"""The model of a Transfer1 recipe, in the words of the published settings."""

from typing import Literal

from worldtune.config.model_parts import AverageSettings, BuiltinTextSettings, T5Settings
from worldtune.config.settings import Settings, required, setting
from worldtune.config.transfer1_conditioner import ControlConditionerSettings
from worldtune.config.transfer1_network import ControlNetworkSettings, Transfer1NetworkSettings

TOKENIZER_FOLDER = "checkpoints/nvidia/Cosmos-Tokenize1-CV8x8x8-720p"


class Transfer1TokenizerSettings(Settings):
    """What turns video into latents, each camera and the hint by itself."""

    kind: Literal["cosmos", "builtin"] = setting(
        "cosmos", "The published tokenizer, or the built-in one, which needs no weights."
    )
    enc_fp: str = setting(f"{TOKENIZER_FOLDER}/encoder.jit", "Weights of the encoder.")
    dec_fp: str = setting(f"{TOKENIZER_FOLDER}/decoder.jit", "Weights of the decoder.")
    mean_std_fp: str = setting(
        f"{TOKENIZER_FOLDER}/mean_std.pt", "Statistics of the latents, for each latent frame."
    )
    pixel_chunk_duration: int = setting(
        121, "Frames encoded at a time; a clip is a whole number of such chunks.", ge=1
    )
    temporal_compression_factor: Literal[4, 8] = setting(
        8, "Frames of a latent frame: 8, or the built-in tokenizer's 4."
    )
    spatial_compression_factor: Literal[8] = setting(8, "Pixels of a latent pixel, per side.")
    latent_ch: Literal[16] = setting(16, "Channels of a latent.")
    is_bf16: bool = setting(True, "Run it in bfloat16.")
    spatial_resolution: str = setting("720", "Label of the original.")
    name: str = setting("cosmos_1_0_diffusion_tokenizer", "Label of the original.")


class Transfer1TextEncoderSettings(Settings):
    """What captions were, or are, turned into embeddings with."""

    cls: Literal["t5", "builtin"] = setting(
        "t5", "T5's stored embeddings, or the built-in encoder, which needs no weights."
    )
    t5: T5Settings = setting(T5Settings(), "T5.")
    builtin: BuiltinTextSettings = setting(BuiltinTextSettings(), "The built-in encoder.")


class Transfer1AverageSettings(AverageSettings):
    """The running average of the branch, which is what is sampled from."""

    enabled: bool = setting(True, "Keep an average.")
    num: int = setting(3, "Averages of other widths on further data ranks.", ge=1)


class NoiseLevelSettings(Settings):
    """Noise levels of training: exp(p_mean + p_std z) with z normal, then the video's factor."""

    p_mean: float = setting(0.0, "Mean of the level's logarithm.")
    p_std: float = setting(1.0, "Deviation of the level's logarithm.", gt=0)
    sigma_max: float = setting(80.0, "First level of sampling; training has no limits.", gt=0)
    sigma_min: float = setting(0.0002, "Last level of sampling.", gt=0)


class HintSettings(Settings):
    """The video that steers."""

    hint_key: str = setting(
        "control_input_edge", "Its name: control_input_ and the control's folder.", min_length=1
    )
    grayscale: bool = setting(False, "Encode the mean of its three colours.")


class BaseWeightsSettings(Settings):
    """Where the base network's weights are."""

    load_path: str = setting(
        "", "The frozen base: a whole file, or its parts, with * for their number."
    )


class Transfer1FsdpSettings(Settings):
    """The original's wrapping for fully sharded data ranks."""

    policy: str = setting("block", "What is wrapped.")
    checkpoint: bool = setting(False, "Compute activations again.")
    min_num_params: int = setting(1024, "Smallest module that is wrapped.", ge=1)
    sharding_group_size: int = setting(8, "Ranks that share out the weights.", ge=1)
    sharding_strategy: Literal["full", "hybrid"] = setting("full", "Among all ranks, or in groups.")


class Transfer1ModelSettings(Settings):
    """A frozen base, the branch that is trained, and its loss."""

    net: Transfer1NetworkSettings = required("The base network.")
    net_ctrl: ControlNetworkSettings = required("The control branch.")
    conditioner: ControlConditionerSettings = setting(
        ControlConditionerSettings(), "What the networks are told."
    )
    tokenizer: Transfer1TokenizerSettings = setting(
        Transfer1TokenizerSettings(), "Video to latents."
    )
    text_encoder: Transfer1TextEncoderSettings = setting(
        Transfer1TextEncoderSettings(), "Captions to embeddings."
    )
    ema: Transfer1AverageSettings = setting(Transfer1AverageSettings(), "Running average.")
    sde: NoiseLevelSettings = setting(NoiseLevelSettings(), "Noise levels.")
    hint_key: HintSettings = setting(HintSettings(), "The video that steers.")
    base_load_from: BaseWeightsSettings = setting(BaseWeightsSettings(), "The base's weights.")
    fresh_weights: bool = setting(
        False, "Start from a random base in place of base_load_from, to try things out."
    )
    finetune_base_model: bool = setting(False, "Train the base too.")
    hint_mask: tuple[bool, ...] = setting((True,), "Which of the stacked hints are there.")
    hint_dropout_rate: float = setting(
        0.0, "With several hints: share of clips in which one is black, 0 to 1.", ge=0, le=1
    )
    n_views: int = setting(1, "Cameras of a clip.", ge=1)
    latent_shape: tuple[int, int, int, int] = setting(
        (16, 16, 88, 160), "Channels, frames, rows and columns of one camera's latents."
    )
    sigma_data: float = setting(0.5, "Deviation of the latents that the network sees.", gt=0)
    precision: Literal["bfloat16", "float32"] = setting(
        "bfloat16", "Precision of weights and activations."
    )
    adjust_video_noise: bool = setting(
        False, "Noise levels times the root of one camera's latent frames."
    )
    loss_reduce: Literal["mean", "sum"] = setting(
        "sum", "Mean over all elements; or sum over channels and mean over the rest."
    )
    loss_scale: float = setting(1.0, "Factor on the loss, in the log lines too.", gt=0)
    loss_add_logvar: bool = setting(True, "Weigh the loss by the base's frozen log-variance.")
    loss_mask_enabled: Literal[False] = setting(False, "Weigh the loss by a mask of the clip.")
    fsdp_enabled: bool = setting(False, "Share out the weights among data ranks.")
    fsdp: Transfer1FsdpSettings = setting(Transfer1FsdpSettings(), "How they are shared out.")
    use_torch_compile: bool = setting(False, "Compile the network.")
    context_parallel_size: int = setting(1, "As model_parallel.context_parallel_size.", ge=1)
    input_data_key: str = setting("video", "Key of videos in a batch.")
    input_image_key: str = setting("images_1024", "Key of images in a batch.")

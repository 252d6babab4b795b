"""Settings of the transformer, under the argument names of the published network."""

from typing import Literal

from worldtune.config.settings import Settings, required, setting

RecomputeMode = Literal[
    "none", "mm_only", "block_wise", "linear_selfattn", "predict2_2b_720", "predict2_14b_720"
]


class RecomputeSettings(Settings):
    """Which activations are computed again in the backward pass instead of being kept."""

    every_n_blocks: int = setting(1, "Apply to every n-th block.", ge=1)
    mode: RecomputeMode = setting(
        "none",
        "none: keep all. block_wise: keep a block's input only. mm_only: keep matrix products and "
        "attention. linear_selfattn: keep linear layers and the block's self attention. "
        "predict2_*: keep attention and the second half of a block's linear layers.",
    )


class TransformerSettings(Settings):
    """Sizes and switches that all networks have. Sizes are in latent units before patching."""

    model_channels: int = required("Width D of the token stream.", ge=1)
    num_blocks: int = required("Transformer blocks.", ge=1)
    num_heads: int = required("Attention heads; D / heads is a multiple of 2.", ge=1)
    mlp_ratio: float = setting(4.0, "Width of the MLP, in units of D.", gt=0)
    crossattn_emb_channels: int = setting(1024, "Width of a text token.", ge=1)
    out_channels: int = setting(16, "Latent channels out.", ge=1)
    patch_spatial: int = setting(2, "Latent pixels of a token, per side.", ge=1)
    patch_temporal: int = setting(1, "Latent frames of a token.", ge=1)
    max_img_h: int = setting(240, "Largest height, latent pixels.", ge=1)
    max_img_w: int = setting(240, "Largest width, latent pixels.", ge=1)
    max_frames: int = setting(128, "Largest length, latent frames.", ge=1)
    concat_padding_mask: bool = setting(True, "A channel that marks padding.")
    use_adaln_lora: bool = setting(True, "Low-rank modulation, plus one shared by all blocks.")
    adaln_lora_dim: int = setting(256, "Rank of the modulation.", ge=1)
    rope_h_extrapolation_ratio: float = setting(1.0, "Stretch of rotary positions, height.", gt=0)
    rope_w_extrapolation_ratio: float = setting(1.0, "Stretch of rotary positions, width.", gt=0)
    rope_t_extrapolation_ratio: float = setting(1.0, "Stretch of rotary positions, time.", gt=0)
    extra_per_block_abs_pos_emb: bool = setting(False, "A position table added before each block.")
    pos_emb_cls: Literal["rope3d"] = setting("rope3d", "Kind of positions.")
    sac_config: RecomputeSettings = setting(
        RecomputeSettings(), "Activation checkpointing: memory saved by computing again."
    )
    pos_emb_learnable: bool = setting(True, "Switch without effect on rotary positions.")
    pos_emb_interpolation: str = setting("crop", "Switch without effect on rotary positions.")


class NetworkSettings(TransformerSettings):
    """The network of Predict2."""

    in_channels: int = setting(16, "Latent channels in, masks not counted.", ge=1)
    rope_enable_fps_modulation: bool = setting(False, "Positions in time follow the frame rate.")
    atten_backend: str = setting("minimal_a2a", "Attention kernel of the original.")

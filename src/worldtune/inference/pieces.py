"""What training and generation are both made of, built from a recipe.

Each builder checks what it can before anything large is read: a missing folder or package is
told at once, with the command that brings it.
"""

import torch

from worldtune.checkpoint.wan import load_wan_tokenizer
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.video2world import PipelineSettings
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.text import TextEncoder
from worldtune.errors import RecipeError
from worldtune.inference.sample import GUIDANCE, Sampling
from worldtune.inference.t5_text import T5TextEncoder
from worldtune.models.build import transformer_config
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.config import TransformerConfig
from worldtune.models.lora_config import LoraConfig, read_targets
from worldtune.models.tokenizer import VideoTokenizer, count_frames
from worldtune.objectives.coefficients import RectifiedFlow

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def pipeline(recipe: Predict2Recipe) -> PipelineSettings:
    """The model's settings: network, tokenizer, text, given frames."""
    return recipe.model.config.pipe_config


def network_config(recipe: Predict2Recipe) -> TransformerConfig:
    """Sizes and switches of the recipe's transformer.

    Errors: RecipeError where they do not fit one another.
    """
    return transformer_config(pipeline(recipe).net)


def network_dtype(recipe: Predict2Recipe) -> torch.dtype:
    """The dtype that the network's weights and activations have."""
    return DTYPES[recipe.model.config.precision]


def adapter_config(recipe: Predict2Recipe) -> LoraConfig | None:
    """The recipe's adapters; None where it trains all weights."""
    config = recipe.model.config
    if config.train_architecture != "lora":
        return None
    return LoraConfig(
        rank=config.lora_rank,
        alpha=float(config.lora_alpha),
        targets=read_targets(config.lora_target_modules),
        rslora=config.use_rslora,
        dora=config.use_dora,
    )


def objective(recipe: Predict2Recipe) -> RectifiedFlow:
    """The recipe's objective: what the network predicts and what given frames are told."""
    settings = pipeline(recipe)
    return RectifiedFlow(
        time_factor=settings.rectified_flow_t_scaling_factor,
        given_sigma=settings.sigma_conditional,
    )


def sampling(
    recipe: Predict2Recipe, *, steps: int | None = None, guidance: float = GUIDANCE
) -> Sampling:
    """How the recipe's model is sampled; steps None: as many as the recipe says."""
    levels = pipeline(recipe).timestamps
    return Sampling(
        steps=levels.nfe if steps is None else steps,
        guidance=guidance,
        sigma_max=levels.t_max,
        sigma_min=levels.t_min,
        order=levels.order,
    )


def build_tokenizer(
    recipe: Predict2Recipe,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VideoTokenizer:
    """The recipe's video tokenizer; dtype is of the published one's weights.

    Errors: CheckpointError where the file of weights is missing, with the command that
    fetches it, or not the tokenizer's; RecipeError where the extra is not installed.
    """
    settings = pipeline(recipe).tokenizer
    match settings.kind:
        case "builtin":
            return BuiltinTokenizer()
        case "wan":
            return load_wan_tokenizer(settings.vae_pth, device=device, dtype=dtype)


def build_text_encoder(
    recipe: Predict2Recipe,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TextEncoder:
    """The recipe's text encoder; T5 is read from its folder when it first encodes.

    Errors: CheckpointError where its folder is missing, with the command that fetches it;
    RecipeError where the extra is not installed or the encoder is not supported.
    """
    settings = pipeline(recipe).text_encoder
    match settings.cls:
        case "builtin":
            return BuiltinTextEncoder(settings.builtin.embed_dim, settings.builtin.num_tokens)
        case "t5":
            return T5TextEncoder(
                settings.t5.ckpt_path,
                width=settings.t5.embed_dim,
                max_tokens=settings.t5.num_tokens,
                device=device,
                dtype=dtype,
            )
        case "cosmos_reason1":
            raise RecipeError(
                "model.config.pipe_config.text_encoder.cls is 'cosmos_reason1', which is not "
                "supported; expected 't5', which the published weights were trained with, or "
                "'builtin', which needs no weights"
            )


def clip_frames(recipe: Predict2Recipe, tokenizer: VideoTokenizer) -> int:
    """Pixel frames of the clips that the recipe's model makes."""
    return count_frames(pipeline(recipe).state_t, tokenizer.temporal_factor)

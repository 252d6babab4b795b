"""The model options of Predict2 Video2World: size, resolution and frame rate."""

from typing import Any

from worldtune.config.tree import Tree
from worldtune.recipes.networks import TINY, VIDEO2WORLD_2B, VIDEO2WORLD_14B

WEIGHTS = "${checkpoint.weights_dir}"
# Latent frames of a clip at each frame rate: 61 and 93 frames.
LATENT_FRAMES = {10: 16, 16: 24}
FULL_SIZES = {"2b": VIDEO2WORLD_2B, "14b": VIDEO2WORLD_14B}
DEFAULT_MODEL = "predict2_video2world_fsdp_2b"


def full_size(size: str, resolution: str, fps: int, shard_size: int) -> Tree:
    """A published model: its network, its weights and the clips it was trained on."""
    folder = f"{WEIGHTS}/nvidia/Cosmos-Predict2-{size.upper()}-Video2World"
    return {
        "trainer": {"distributed_parallelism": "fsdp"},
        "model": {
            "config": {
                "model_manager_config": {"dit_path": f"{folder}/model-{resolution}p-{fps}fps.pt"},
                "fsdp_shard_size": shard_size,
                "high_sigma_ratio": 0.05,
                "pipe_config": {
                    "net": FULL_SIZES[size],
                    "resolution": resolution,
                    "state_t": LATENT_FRAMES[fps],
                    "tokenizer": {"vae_pth": f"{folder}/tokenizer/tokenizer.pth"},
                    "text_encoder": {
                        "t5": {"ckpt_path": f"{WEIGHTS}/google-t5/t5-11b"},
                        "cosmos_reason1": {"ckpt_path": f"{WEIGHTS}/nvidia/Cosmos-Reason1-7B"},
                    },
                },
            }
        },
    }


def tiny() -> Tree:
    """A model for a CPU: built-in tokenizer and text encoder, random weights, float32."""
    return {
        "model": {
            "config": {
                "fresh_weights": True,
                "precision": "float32",
                "high_sigma_ratio": 0.05,
                "pipe_config": {
                    "net": {**TINY, "crossattn_emb_channels": TINY_TEXT_WIDTH},
                    "state_t": 5,
                    "tokenizer": {"kind": "builtin"},
                    "text_encoder": {"cls": "builtin"},
                },
            }
        },
    }


TINY_TEXT_WIDTH = 128


def model_options() -> dict[str, Tree]:
    """Every option of the group `model`."""
    options: dict[str, Tree] = {}
    for size, shard_size in (("2b", 8), ("14b", 32)):
        name = f"predict2_video2world_fsdp_{size}"
        options[name] = full_size(size, "720", 16, shard_size)
        for resolution in ("480", "720"):
            for fps in LATENT_FRAMES:
                options[f"{name}_{resolution}p_{fps}fps"] = full_size(size, resolution, fps, 8)
    options["predict2_video2world_tiny"] = tiny()
    return options


UNSUPPORTED_MODELS: dict[str, Any] = {
    **{
        f"predict2_text2image_fsdp_{size}": "only Video2World models are trained"
        for size in ("2b", "14b")
    },
    "predict2_multiview_fsdp_2b_720p_10fps_7views_29frames": (
        "several cameras are trained with the Transfer1 recipes"
    ),
    "predict2_v2w_2b_action_conditioned_fsdp": "actions are not among the conditions",
}

"""Tiny recipes for the tests of this room."""

from typing import Any

from worldtune.config.predict2 import Predict2Recipe

TINY_NET = {
    "model_channels": 64,
    "num_blocks": 2,
    "num_heads": 4,
    "crossattn_emb_channels": 32,
    "adaln_lora_dim": 16,
    "max_img_h": 32,
    "max_img_w": 32,
    "max_frames": 16,
    "rope_h_extrapolation_ratio": 3.0,
    "rope_w_extrapolation_ratio": 3.0,
}
MODEL = {"precision": "float32", "fresh_weights": True}


def tiny_recipe(pipe: dict[str, Any] | None = None, **config: Any) -> Predict2Recipe:
    """A network of 64 channels on clips of 9 frames of 32x48, built-in tokenizer and text."""
    pipe_config = {
        "net": TINY_NET,
        "tokenizer": {"kind": "builtin"},
        "text_encoder": {"cls": "builtin", "builtin": {"embed_dim": 32, "num_tokens": 12}},
        "state_t": 3,
        **(pipe or {}),
    }
    return Predict2Recipe.model_validate(
        {
            "job": {"project": "tests", "group": "tiny", "name": "tiny"},
            "model": {"config": MODEL | {"pipe_config": pipe_config} | config},
            "dataloader_train": {
                "dataset": {"dataset_dir": "clips", "video_size": [32, 48], "num_frames": 9}
            },
        }
    )

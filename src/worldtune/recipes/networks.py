"""Sizes of the networks, under the published argument names: the one list of sizes."""

from typing import Any

VIDEO2WORLD_2B: dict[str, Any] = {
    "model_channels": 2048,
    "num_blocks": 28,
    "num_heads": 16,
    "rope_h_extrapolation_ratio": 3.0,
    "rope_w_extrapolation_ratio": 3.0,
    "rope_t_extrapolation_ratio": 1.0,
    "sac_config": {"mode": "predict2_2b_720"},
}
VIDEO2WORLD_14B: dict[str, Any] = {
    "model_channels": 5120,
    "num_blocks": 36,
    "num_heads": 40,
    "rope_h_extrapolation_ratio": 2.0,
    "rope_w_extrapolation_ratio": 2.0,
    "rope_t_extrapolation_ratio": 5 / 6,
    "sac_config": {"mode": "predict2_14b_720"},
}
# Trains on a CPU in minutes. Small clips have few rows and columns, which rotary positions
# tell apart best without the stretch that the published sizes have.
TINY: dict[str, Any] = {
    "model_channels": 128,
    "num_blocks": 4,
    "num_heads": 4,
    "adaln_lora_dim": 32,
    "sac_config": {"mode": "none"},
}
# The published size of Transfer1's networks, base and branch alike.
TRANSFER1_7B: dict[str, Any] = {"model_channels": 4096, "num_blocks": 28, "num_heads": 32}
TRANSFER1_TINY: dict[str, Any] = {"model_channels": 256, "num_blocks": 4, "num_heads": 2}

"""Rotary angles against the vectors of the original, and beyond what they cover."""

from typing import Any

import pytest
import torch

from tests.reference.rope import angles as slow_angles
from worldtune.models.config import TransformerConfig
from worldtune.models.positions import FrameShare, Rotations
from worldtune.models.rope import angles, frame_numbers

TOLERANCE = 5e-6
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cases(predict2) -> list[dict[str, Any]]:
    return predict2.json("rope")


def config_of(case: dict[str, Any], **changes: Any) -> TransformerConfig:
    sizes = {
        "model_channels": case["head_dim"],
        "num_blocks": 1,
        "num_heads": 1,
        "rope_ratio_h": case["h_ratio"],
        "rope_ratio_w": case["w_ratio"],
        "rope_ratio_t": case["t_ratio"],
    }
    return TransformerConfig(**(sizes | changes))


def test_angles_are_the_original_s(predict2, cases, close):
    stored = predict2.tensors("rope")

    for case in cases:
        frames = frame_numbers(0, case["T"], None, CPU)
        ours = angles(config_of(case), frames, case["H"], case["W"])
        theirs = stored[f"case{case['case']}.fp32"][:, 0, 0]
        close(torch.cat((ours, ours), -1), theirs, TOLERANCE)


def test_angles_at_the_clip_s_frame_rate_are_the_original_s(predict2, cases, close):
    stored = predict2.tensors("rope")

    for case in cases:
        fps = torch.tensor([case["fps_for_modulated"]])
        frames = frame_numbers(0, case["T"], fps, CPU)[0]
        ours = angles(config_of(case), frames, case["H"], case["W"])
        theirs = stored[f"case{case['case']}.fps_modulated"][:, 0, 0]
        close(torch.cat((ours, ours), -1), theirs, TOLERANCE)


def test_angles_of_bf16_weights_are_float32(predict2, cases):
    """Rounded to bf16, as the original's are, they would be off by up to 0.19 radians."""
    stored = predict2.tensors("rope")

    for case in cases:
        config = config_of(case)
        grid = (case["T"], case["H"], case["W"])
        rotation = Rotations(config)(grid, None, FrameShare(), CPU)
        exact = stored[f"case{case['case']}.fp32"][:, 0, 0, : rotation.cos.shape[-1]]

        assert rotation.cos.dtype == rotation.sin.dtype == torch.float32
        torch.testing.assert_close(rotation.cos, exact.cos(), atol=2e-5, rtol=0)
        torch.testing.assert_close(rotation.sin, exact.sin(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("fps", [None, 10.0])
def test_rows_and_columns_have_ratios_of_their_own(fps, close):
    """The stored vectors have equal ratios; the slow version in float64 has none of its own."""
    config = TransformerConfig(
        model_channels=64,
        num_blocks=1,
        num_heads=2,
        rope_ratio_h=2.0,
        rope_ratio_w=5.0,
        rope_ratio_t=0.5,
    )
    rate = None if fps is None else torch.tensor([fps])
    frames = frame_numbers(0, 3, rate, CPU).reshape(-1)
    ours = angles(config, frames, 4, 5)
    theirs = slow_angles(config.head_dim, (3, 4, 5), ratios=(0.5, 2.0, 5.0), fps=fps)

    close(ours, theirs, TOLERANCE)

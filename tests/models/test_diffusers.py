"""The networks of both families against diffusers' class with the same weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.randoms import inputs, randomise
from tests.models.sizes import TINY
from worldtune.models.build import build, build_branch
from worldtune.models.config import TransformerConfig
from worldtune.models.control import ControlledTransformer

pytest.importorskip("diffusers")
from tests.reference.diffusers_network import copy_weights, diffusers_network, run

PREDICT2 = replace(TINY, rope_ratio_h=3.0, rope_ratio_w=2.0)
TRANSFER1 = replace(
    TINY,
    condition_mask=False,
    position_table="learned",
    rope_fps_modulation=True,
    rope_ratio_t=2.0,
    family="transfer1",
)
# float32, sums in another order.
TOLERANCE = 1e-5


def same_inputs(config: TransformerConfig) -> tuple[tuple[Tensor, Tensor, Tensor], dict]:
    """What diffusers can take: one padding mask, and one frame rate."""
    three, told = inputs(config)
    told["padding_mask"] = told["padding_mask"][:1]
    told["fps"] = torch.full((2,), 10.0)
    return three, told


@pytest.mark.parametrize("per_frame", [True, False])
def test_predict2_gives_the_output_of_diffusers(per_frame: bool):
    ours, theirs = randomise(build(PREDICT2)), diffusers_network(PREDICT2)
    copy_weights(ours, theirs)
    (latents, time, text), told = same_inputs(PREDICT2)
    time = time if per_frame else time[:, 0]
    masks = {name: told[name] for name in ("condition_mask", "padding_mask")}

    a, b = ours(latents, time, text, **told), run(theirs, latents, time, text, **masks)
    assert (a - b).abs().max() < TOLERANCE * b.abs().max()


def test_transfer1_gives_the_output_of_diffusers_with_residuals_too():
    base, theirs = randomise(build(TRANSFER1)), diffusers_network(TRANSFER1)
    copy_weights(base, theirs)
    branch = randomise(build_branch(TRANSFER1, num_control_blocks=2, hint_channels=4), 1)
    (latents, time, text), told = same_inputs(TRANSFER1)
    time, padding = time[:, 0], told["padding_mask"]
    hint = latents.flip(-1)
    residuals = [r.flatten(1, 3) for r in branch(latents, time, text, hint, **told)]

    plain = run(theirs, latents, time, text, padding_mask=padding, fps=10.0)
    steered = run(theirs, latents, time, text, padding_mask=padding, fps=10.0, residuals=residuals)
    ours = base(latents, time, text, **told)
    assert (ours - plain).abs().max() < TOLERANCE * plain.abs().max()
    ours = ControlledTransformer(base, branch)(latents, time, text, hints=[hint], **told)
    assert (ours - steered).abs().max() < TOLERANCE * steered.abs().max()
    assert (plain - steered).abs().max() > 0.01 * plain.abs().max()

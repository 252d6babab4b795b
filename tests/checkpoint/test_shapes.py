"""Names and shapes known without torch are those of the networks that are built."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.checkpoint.conftest import PREDICT2_TINY, TRANSFER1_TINY
from worldtune.checkpoint.shapes import (
    HINT_WIDTHS,
    Sizes,
    count_weights,
    network_shapes,
    read_sizes,
)
from worldtune.models import control
from worldtune.models.control import ControlBranch
from worldtune.models.transformer import Transformer

MULTI_VIEW = replace(
    TRANSFER1_TINY,
    condition_mask=True,
    view_channels=6,
    num_view_embeddings=7,
    repeat_frame_embedding=True,
    position_table="sincos",
)
BASES = {
    "predict2": PREDICT2_TINY,
    "predict2 with wide text": replace(PREDICT2_TINY, text_input_channels=40),
    "transfer1": TRANSFER1_TINY,
    "several cameras": MULTI_VIEW,
    "a 2B network": replace(
        PREDICT2_TINY, model_channels=2048, num_heads=16, text_channels=1024, adaln_lora_dim=256
    ),
}


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("case", BASES)
def test_a_bases_shapes_are_those_of_the_network(case: str):
    with torch.device("meta"):
        network = Transformer(BASES[case])
    sizes = Sizes(BASES[case])
    assert network_shapes(sizes) == shapes_of(network)
    assert count_weights(sizes) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("case", ["transfer1", "several cameras"])
def test_a_branchs_shapes_are_those_of_the_network(case: str):
    with torch.device("meta"):
        branch = ControlBranch(BASES[case], num_control_blocks=1, hint_channels=16)
    sizes = Sizes(replace(BASES[case], num_blocks=1), hint_channels=16)
    assert network_shapes(sizes) == shapes_of(branch)
    assert HINT_WIDTHS == control.HINT_WIDTHS


@pytest.mark.parametrize("case", BASES)
@pytest.mark.parametrize("hint_channels", [None, 16])
@pytest.mark.parametrize("parts", [1, 2])
def test_sizes_are_read_back_from_shapes(case: str, hint_channels: int | None, parts: int):
    sizes = Sizes(BASES[case], hint_channels, parts)
    read = read_sizes(network_shapes(sizes), BASES[case].family)
    assert read is not None
    assert network_shapes(read) == network_shapes(sizes)
    assert (read.parts, read.is_control_branch) == (parts, hint_channels is not None)


def test_only_what_the_plan_cuts_is_smaller_in_a_part():
    whole, part = (
        network_shapes(Sizes(TRANSFER1_TINY)),
        network_shapes(Sizes(TRANSFER1_TINY, parts=2)),
    )
    cut = {name for name in whole if whole[name] != part[name]}
    ends = ("q_proj", "k_proj", "v_proj", "output_proj", "layer1", "layer2")
    assert cut == {name for name in whole if name.split(".")[-2] in ends}


def test_published_sizes_count_what_the_papers_say():
    base = replace(
        TRANSFER1_TINY,
        model_channels=4096,
        num_heads=32,
        num_blocks=28,
        text_channels=1024,
        adaln_lora_dim=256,
        max_img_h=240,
        max_img_w=240,
        max_frames=128,
    )
    assert count_weights(Sizes(base)) == 7_236_192_256
    assert count_weights(Sizes(replace(base, num_blocks=3), hint_channels=16)) == 891_645_728
    predict2 = replace(BASES["a 2B network"], num_blocks=28)
    assert count_weights(Sizes(predict2)) == 1_956_413_440


@pytest.mark.parametrize(
    "shapes", [{}, {"t_embedding_norm.weight": (4,)}, {"t_embedding_norm.weight": (4, 4)}]
)
def test_too_little_gives_no_sizes(shapes):
    assert read_sizes(shapes, "predict2") is None

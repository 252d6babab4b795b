"""How frames are cut over ranks that share a clip."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldtune.models.build import build
from worldtune.models.config import TransformerConfig
from worldtune.parallel.collectives import cut_lengths
from worldtune.parallel.frames import FrameCut
from worldtune.parallel.pieces import Pieces
from worldtune.parallel.tensor import cut_weights, gradient_is_partial

counts = st.integers(1, 9)
CONFIG = TransformerConfig(
    model_channels=64, num_blocks=1, num_heads=4, text_channels=16, adaln_lora_dim=8
)


@given(total=st.integers(0, 200), count=counts)
def test_pieces_are_as_equal_as_can_be_and_make_the_whole(total: int, count: int):
    lengths = cut_lengths(total, count)

    assert sum(lengths) == total
    assert len(lengths) == count
    assert max(lengths) - min(lengths) <= 1


@given(context=counts, beside=counts, more=st.integers(0, 20), per_frame=counts)
def test_every_rank_sees_the_same_cut_and_has_its_own_place_in_it(
    context: int, beside: int, more: int, per_frame: int
):
    frames = context * beside + more
    cuts = [FrameCut(context, beside, index) for index in range(context * beside)]
    shares = [cut.begin(frames) for cut in cuts]

    place = 0
    for cut, share in zip(cuts, shares, strict=True):
        assert share.first == place
        held = cut.pieces[cut.index]
        place += held
        within = cut.lengths_beside(held * per_frame)
        assert len(within) == beside
        assert within[cut.index % beside] == held * per_frame
        assert cut.lengths_of(sum(within)) == within
        of_shares = cut.lengths_of_shares(sum(within))
        assert sum(of_shares) == frames * per_frame
        assert of_shares[cut.index // beside] == sum(within)
    assert place == frames


def test_a_tensor_ranks_weights_are_its_rows_and_columns_of_the_whole():
    whole = dict(build(CONFIG, seed=0).named_parameters())
    halves = []
    for index in range(2):
        network = build(CONFIG, seed=0)
        cut_weights(network, index, 2)
        halves.append(dict(network.named_parameters()))

    query, output = "blocks.0.self_attn.q_proj.weight", "blocks.0.self_attn.output_proj.weight"
    norm = "blocks.0.self_attn.q_norm.weight"
    assert torch.equal(torch.cat([half[query] for half in halves], 0), whole[query])
    assert torch.equal(torch.cat([half[output] for half in halves], 1), whole[output])
    assert all(torch.equal(half[norm], whole[norm]) for half in halves)


@pytest.mark.parametrize(
    ("name", "partial", "with_sequence"),
    [
        ("blocks.0.self_attn.q_proj.weight", False, False),
        ("blocks.0.self_attn.q_norm.weight", True, True),
        ("blocks.0.cross_attn.k_norm.weight", True, True),
        ("blocks.0.adaln_modulation_mlp.1.weight", False, True),
        ("x_embedder.proj.1.weight", False, True),
        ("blocks.0.mlp.layer1.lora_A.weight", True, True),
        ("blocks.0.mlp.layer1.lora_B.weight", False, False),
        ("blocks.0.mlp.layer2.lora_A.weight", False, False),
        ("blocks.0.mlp.layer2.lora_B.weight", True, True),
    ],
)
def test_a_gradient_is_partial_where_a_rank_sees_some_heads_or_some_frames(
    name: str, partial: bool, with_sequence: bool
):
    assert gradient_is_partial(name, sequence=False) is partial
    assert gradient_is_partial(name, sequence=True) is with_sequence


def test_one_process_holds_every_weight_whole():
    network = build(CONFIG, seed=0)
    pieces = Pieces(network)

    for name, weight in network.named_parameters():
        assert pieces[name].sizes == pieces[name].whole == tuple(weight.shape)
        assert torch.equal(pieces[name].cut(weight), weight)
        assert pieces.is_ours_to_save(name)
    assert pieces.whole({"t_embedding_norm.weight": torch.ones(3)})[
        "t_embedding_norm.weight"
    ].tolist() == [1, 1, 1]

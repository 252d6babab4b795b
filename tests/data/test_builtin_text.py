"""The encoder without weights."""

from hashlib import sha256

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.captions import CAPTIONS, ONE_WORD_CHANGED
from worldtune.data.builtin_text import BuiltinTextEncoder, words_of
from worldtune.data.text import EncodedCaptions, TextEncoder

ENCODER = BuiltinTextEncoder()


def distance(one: str, other: str) -> float:
    a, b = ENCODER.encode([one, other])
    return torch.dist(a, b).item()


def test_it_is_a_text_encoder_and_a_source_of_text(tmp_path):
    encoder: TextEncoder = ENCODER

    text = EncodedCaptions(encoder).text_of(CAPTIONS[0], tmp_path / "unused.pickle")

    assert text.equal(ENCODER.encode([CAPTIONS[0]])[0])


@pytest.mark.parametrize(("width", "max_tokens"), [(16, 4), (128, 64), (1024, 32)])
def test_width_and_tokens_are_free(width, max_tokens):
    text = BuiltinTextEncoder(width, max_tokens).encode(CAPTIONS[:3])

    assert text.shape == (3, max_tokens, width)
    assert text.dtype == torch.float32


@pytest.mark.parametrize(("width", "max_tokens"), [(8, 64), (100, 64), (128, 1)])
def test_a_size_without_room_is_refused(width, max_tokens):
    with pytest.raises(ValueError, match="multiple of 8"):
        BuiltinTextEncoder(width, max_tokens)


@given(st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_caption_gives_rows_of_like_size_and_then_zeros(caption):
    text = ENCODER.encode([caption])[0]
    rows = min(ENCODER.count_tokens(caption), ENCODER.max_tokens)
    sizes = text.square().mean(dim=1).sqrt()

    assert ((sizes[:rows] > 0.85) & (sizes[:rows] < 1.15)).all()
    assert not text[rows:].any()


def test_equal_captions_are_equal_whatever_stands_beside_them():
    alone = ENCODER.encode([CAPTIONS[7]])[0]

    assert BuiltinTextEncoder().encode(CAPTIONS)[7].equal(alone)


def test_one_word_changed_moves_less_than_another_caption_in_fifty_pairs():
    for i, (caption, changed) in enumerate(zip(CAPTIONS, ONE_WORD_CHANGED, strict=True)):
        others = [other for other in CAPTIONS if other != caption]
        nearest_other_third = sorted(distance(caption, other) for other in others)[len(others) // 3]
        another = distance(caption, CAPTIONS[(i + 1) % 50])

        assert 0 < distance(caption, changed) < min(another, nearest_other_third)


def test_words_that_share_letters_are_closer_than_those_that_do_not():
    assert distance("a car", "a cars") < distance("a car", "a tree")


def test_case_and_punctuation_do_not_count():
    assert distance("A red car, fast!", "a Red  car fast") == 0


def test_the_order_of_words_counts():
    assert distance("a red car and a blue van", "a blue car and a red van") > 0


def test_an_empty_caption_is_neither_zero_nor_like_any_text():
    """Guidance away from an empty prompt must have something to go away from."""
    empty = ENCODER.encode([""])[0]

    assert empty.any()
    assert ENCODER.encode(["!?"])[0].equal(empty)
    for caption in CAPTIONS:
        assert torch.cosine_similarity(empty[0], ENCODER.encode([caption])[0, 0], dim=0) < 0.5


def test_words_past_the_last_token_are_cut():
    encoder = BuiltinTextEncoder(16, 4)

    assert encoder.count_tokens("one two three four five") == 6
    assert encoder.encode(["one two three four five"]).shape == (1, 4, 16)
    assert words_of("one-way traffic isn't slow") == ["one-way", "traffic", "isn't", "slow"]


def test_every_process_and_machine_gives_the_same_bits():
    """Written down once, in another process; another value means that networks no longer fit."""
    text = ENCODER.encode(["A red car turns left.", ""])

    assert sha256(text.numpy().tobytes()).hexdigest()[:16] == "c6e2c74e79c605be"


def test_the_fingerprint_tells_the_sizes():
    names = {BuiltinTextEncoder(w, n).fingerprint() for w, n in ((64, 32), (128, 32), (64, 64))}

    assert len(names) == 3

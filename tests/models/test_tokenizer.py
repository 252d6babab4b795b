"""Counting frames and latents."""

import pytest
import torch

from worldtune.errors import DataError, RecipeError
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.tokenizer import check_video, count_frames, count_latents, latent_size


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (61, 16), (93, 24), (201, 51)])
def test_frames_and_latents_are_counted_both_ways(frames, latents):
    assert count_latents(frames) == latents
    assert count_frames(latents) == frames


@pytest.mark.parametrize(("frames", "nearest"), [(92, "89 or 93"), (2, "1 or 5"), (0, "are 1")])
def test_a_number_of_frames_that_does_not_fit_is_told_with_the_nearest(frames, nearest):
    with pytest.raises(RecipeError, match=nearest):
        count_latents(frames)


def test_no_latents_are_no_clip():
    with pytest.raises(RecipeError, match="is 0; it must be 1 or more"):
        count_frames(0)


def test_a_factor_of_8_counts_in_eights():
    assert count_latents(121, temporal_factor=8) == 16
    assert count_frames(16, temporal_factor=8) == 121


def test_every_mistake_of_a_size_is_told_at_once():
    with pytest.raises(RecipeError, match=r"(?s)num_frames is 92.*height is 100.*96 or 104.*width"):
        latent_size(BuiltinTokenizer(), 92, 100, 4)
    assert latent_size(BuiltinTokenizer(), 93, 128, 224) == (16, 24, 16, 28)


def test_bytes_are_refused_with_the_way_to_floating_point():
    with pytest.raises(DataError, match=r"torch.uint8.*127\.5"):
        check_video(BuiltinTokenizer(), torch.zeros(1, 3, 5, 16, 16, dtype=torch.uint8))


def test_a_clip_without_its_batch_is_refused():
    with pytest.raises(DataError, match=r"\[B, 3, T, H, W\]; this one is \[3, 5, 16, 16\]"):
        check_video(BuiltinTokenizer(), torch.zeros(3, 5, 16, 16))

"""The tokenizer without weights."""

import pytest
import torch

from worldtune.errors import DataError, RecipeError
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.tokenizer import VideoTokenizer, count_frames, count_latents, latent_size


@pytest.fixture(scope="module")
def tokenizer():
    return BuiltinTokenizer()


def noise_clip(frames=9, height=32, width=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, height, width, generator=generator) * 2 - 1


def test_it_is_a_video_tokenizer(tokenizer):
    assert isinstance(tokenizer, VideoTokenizer)


def test_93_frames_become_24_latents_and_come_back(tokenizer):
    latents = tokenizer.encode(torch.zeros(2, 3, 93, 16, 24))

    assert latents.shape == (2, 16, 24, 2, 3)
    assert latents.dtype == torch.float32
    assert tokenizer.decode(latents).shape == (2, 3, 93, 16, 24)


def test_a_latent_depends_on_no_later_frame(tokenizer):
    clip, other = noise_clip(), noise_clip(seed=1)
    for latent in range(2):
        last = 4 * latent
        changed = torch.cat([clip[:, :, : last + 1], other[:, :, last + 1 :]], dim=2)

        ours, theirs = tokenizer.encode(clip), tokenizer.encode(changed)
        assert torch.equal(ours[:, :, : latent + 1], theirs[:, :, : latent + 1])
        assert not torch.equal(ours, theirs)


def test_latents_of_a_beginning_are_the_beginning_of_the_latents(tokenizer):
    clip = noise_clip(frames=13)
    whole = tokenizer.encode(clip)
    for latents in (1, 2, 3):
        part = tokenizer.encode(clip[:, :, : 4 * (latents - 1) + 1])
        torch.testing.assert_close(part, whole[:, :, :latents], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (61, 16), (93, 24), (201, 51)])
def test_frames_and_latents_are_counted_both_ways(frames, latents):
    assert count_latents(frames) == latents
    assert count_frames(latents) == frames


@pytest.mark.parametrize(("frames", "nearest"), [(92, "89 or 93"), (2, "1 or 5"), (0, "are 1")])
def test_a_number_of_frames_that_does_not_fit_is_told_with_the_nearest(frames, nearest):
    with pytest.raises(RecipeError, match=nearest):
        count_latents(frames)


def test_every_mistake_of_a_size_is_told_at_once(tokenizer):
    with pytest.raises(RecipeError, match=r"(?s)num_frames is 92.*height is 100.*96 or 104.*width"):
        latent_size(tokenizer, 92, 100, 4)
    assert latent_size(tokenizer, 93, 128, 224) == (16, 24, 16, 28)


def test_a_clip_of_the_wrong_shape_is_refused(tokenizer):
    with pytest.raises(DataError, match=r"(?s)6 frames.*5 or 9.*height is 20.*16 or 24"):
        tokenizer.encode(torch.zeros(1, 3, 6, 20, 16))
    with pytest.raises(DataError, match="16, T, H, W"):
        tokenizer.decode(torch.zeros(1, 8, 2, 2, 2))
    with pytest.raises(DataError, match=r"torch.uint8.*127\.5"):
        tokenizer.encode(torch.zeros(1, 3, 5, 16, 16, dtype=torch.uint8))


def test_the_fingerprint_is_the_same_every_time(tokenizer):
    assert tokenizer.fingerprint() == BuiltinTokenizer().fingerprint()

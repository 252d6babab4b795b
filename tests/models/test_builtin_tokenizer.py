"""The tokenizer without weights."""

import math
import os
from pathlib import Path

import pytest
import torch

from benchmarks.tokenizer import measure, read_clip
from worldtune.errors import DataError
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.tokenizer import VideoTokenizer

REAL_CLIPS = os.environ.get("WORLDTUNE_REAL_CLIPS", "")


@pytest.fixture(scope="module")
def tokenizer():
    return BuiltinTokenizer()


def noise_clip(frames=9, height=32, width=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, height, width, generator=generator) * 2 - 1


def leaves(frames=9, height=64, width=96, count=120, speed=1.5, seed=0):
    """Discs of all sizes that hide and pass each other: statistics as of photographs.

    Their edges are two pixels soft, as a lens makes them.
    Source: Lee, Mumford and Huang 2001, occlusion models for natural images.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(count, 8, generator=generator)
    radius = 5 / torch.sqrt(1 - draw[:, 0] * (1 - (5 / 60) ** 2))  # density r ** -3, 5 to 60
    grey = 0.449 + 0.226 * math.sqrt(12) * (draw[:, 3:4] - 0.5)
    colours = (grey + 0.15 * (draw[:, 4:7] - 0.5)) * 2 - 1
    time = torch.arange(frames)[:, None, None]
    row = torch.arange(height)[:, None] + 0.5
    column = torch.arange(width) + 0.5
    clip = torch.zeros(1, 3, frames, height, width)
    for leaf in range(count):
        across = draw[leaf, 1] * (width + 40) - 20 + speed * time * (draw[leaf, 7] * 2 - 1)
        down = draw[leaf, 2] * (height + 40) - 20
        distance = torch.sqrt((column - across) ** 2 + (row - down) ** 2)
        covers = ((radius[leaf] - distance) / 2 + 0.5).clamp(0, 1)
        clip = torch.lerp(clip, colours[leaf, :, None, None, None].expand_as(clip), covers)
    return clip


@pytest.fixture(scope="module")
def leaf_clip():
    return leaves()


def psnr(clip, other):
    return -10 * torch.log10(((clip - other) / 2).square().mean()).item()


def test_it_is_a_video_tokenizer(tokenizer):
    assert isinstance(tokenizer, VideoTokenizer)


def test_93_frames_become_24_latents_and_come_back(tokenizer):
    latents = tokenizer.encode(torch.zeros(2, 3, 93, 8, 16))

    assert latents.shape == (2, 16, 24, 1, 2)
    assert latents.dtype == torch.float32
    assert tokenizer.decode(latents).shape == (2, 3, 93, 8, 16)


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


def test_frames_of_a_beginning_are_the_beginning_of_the_frames(tokenizer, leaf_clip):
    latents = tokenizer.encode(leaf_clip)
    whole = tokenizer.decode(latents)
    for count in (1, 2):
        part = tokenizer.decode(latents[:, :, :count])
        torch.testing.assert_close(part, whole[:, :, : 4 * count - 3], rtol=0, atol=1e-5)


def test_a_latent_of_a_clip_is_that_of_its_frame_alone(tokenizer):
    clip = noise_clip()
    alone = tokenizer.encode(clip[:, :, 4:5])
    torch.testing.assert_close(tokenizer.encode(clip)[:, :, 1:2], alone, rtol=0, atol=1e-6)


def test_an_even_picture_comes_back_even_up_to_its_edges(tokenizer):
    for level in (-1.0, -0.2, 0.7, 1.0):
        clip = torch.full((1, 3, 1, 16, 40), level)
        torch.testing.assert_close(
            tokenizer.decode(tokenizer.encode(clip)), clip, rtol=0, atol=1e-5
        )


def test_a_ramp_shows_no_borders_of_cells(tokenizer):
    """Waves cut off at the borders would leave steps; here every step is one pixel's."""
    ramp = torch.linspace(-0.8, 0.8, 96).expand(1, 3, 1, 32, 96)
    again = tokenizer.decode(tokenizer.encode(ramp))

    steps = again[..., 16:-16].diff(dim=-1)
    assert (steps - 1.6 / 95).abs().max() < 0.2 * 1.6 / 95


def test_a_picture_moved_by_one_cell_has_its_latents_moved_by_one_place(tokenizer, leaf_clip):
    picture = leaf_clip[:, :, :1]
    latents = tokenizer.encode(picture)
    moved = tokenizer.encode(picture[..., 8:])

    torch.testing.assert_close(moved[..., 1:], latents[..., 2:], rtol=0, atol=1e-5)


def test_a_picture_in_a_mirror_comes_back_in_a_mirror(tokenizer, leaf_clip):
    picture = leaf_clip[:, :, :1]
    for dim in (-1, -2):
        mirrored = tokenizer.decode(tokenizer.encode(picture.flip(dim))).flip(dim)
        straight = tokenizer.decode(tokenizer.encode(picture))
        torch.testing.assert_close(mirrored, straight, rtol=0, atol=1e-5)


def test_latents_of_leaves_have_about_zero_mean_and_unit_deviation(tokenizer):
    pictures = torch.cat([leaves(frames=1, seed=seed) for seed in range(8)])
    latents = tokenizer.encode(pictures)

    mean, deviation = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    assert mean.abs().max() < 0.5
    assert deviation.min() > 0.3
    assert deviation.max() < 2.5


def test_moving_leaves_come_back_at_30_db(tokenizer, leaf_clip):
    again = tokenizer.decode(tokenizer.encode(leaf_clip))

    assert again.abs().max() <= 1
    assert psnr(again, leaf_clip) > 30


def test_noise_in_latents_costs_little_and_does_not_grow_with_time(tokenizer):
    latents = tokenizer.encode(leaves(frames=1)).repeat(1, 1, 12, 1, 1)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    clean, noisy = tokenizer.decode(latents), tokenizer.decode(latents + 0.1 * noise)

    first, last = (
        psnr(clean[:, :, part], noisy[:, :, part]) for part in (slice(9), slice(-9, None))
    )
    assert min(first, last) > 28
    assert abs(first - last) < 0.5


def test_noise_in_one_latent_stays_between_its_neighbours(tokenizer):
    latents = torch.zeros(1, 16, 6, 2, 3)
    other = latents.clone()
    other[:, :, 3] = 1
    touched = (tokenizer.decode(latents) != tokenizer.decode(other)).flatten(3).any(-1)[0].any(0)

    assert touched.nonzero().flatten().tolist() == list(range(9, 16))


def test_clips_of_a_batch_decode_as_if_alone(tokenizer, leaf_clip):
    batch = torch.cat([leaf_clip, leaf_clip.flip(-1)])
    latents = tokenizer.encode(batch)
    alone = torch.cat([tokenizer.decode(one) for one in latents.split(1)])
    torch.testing.assert_close(tokenizer.decode(latents), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 24), (72, 40), (136, 16)])
def test_any_multiple_of_8_is_encoded_and_decoded(tokenizer, height, width):
    clip = noise_clip(frames=5, height=height, width=width)
    latents = tokenizer.encode(clip)

    assert latents.shape == (1, 16, 2, height // 8, width // 8)
    assert tokenizer.decode(latents).shape == clip.shape


def test_half_precision_clips_give_float32_latents(tokenizer):
    latents = tokenizer.encode(torch.zeros(1, 3, 1, 16, 16, dtype=torch.bfloat16))

    assert latents.dtype == torch.float32
    assert tokenizer.decode(latents.bfloat16()).dtype == torch.float32


def test_shapes_that_do_not_divide_are_refused(tokenizer):
    with pytest.raises(DataError, match=r"(?s)6 frames.*5 or 9.*height is 20.*16 or 24"):
        tokenizer.encode(torch.zeros(1, 3, 6, 20, 16))
    with pytest.raises(DataError, match="16, T, H, W"):
        tokenizer.decode(torch.zeros(1, 8, 2, 2, 2))


def test_the_fingerprint_follows_the_constants(tokenizer, monkeypatch):
    assert tokenizer.fingerprint() == BuiltinTokenizer().fingerprint()

    monkeypatch.setattr("worldtune.models.builtin_tokenizer.AXIS_DEVIATION", (0.7, 0.1, 0.05))
    assert tokenizer.fingerprint() != BuiltinTokenizer().fingerprint()


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CLIPS, reason="WORLDTUNE_REAL_CLIPS names no folder of clips")
def test_real_clips_come_back_at_30_db_on_average_and_26_at_least(tokenizer):
    paths = sorted(Path(REAL_CLIPS).rglob("*.mp4"))
    assert paths
    found = [measure(tokenizer, read_clip(path, 93, (128, 224)), noise=0.0) for path in paths]
    all_psnr = [each["psnr_db"] for each in found]

    assert sum(all_psnr) / len(all_psnr) >= 30
    assert min(all_psnr) >= 26

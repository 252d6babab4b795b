"""The Wan tokenizer, with a tiny network of random weights."""

import builtins
import sys

import pytest
import torch

from worldtune.errors import CheckpointError, DataError, RecipeError
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.models.wan_tokenizer import (
    WanSizes,
    WanTokenizer,
    check_weights,
    expected_weights,
    native_name,
)

TINY = WanSizes(base_dim=2, dim_mult=(1, 1, 1, 1), num_res_blocks=1)


def random_weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / max(1, sum(shape[1:])) ** 0.5
        for name, shape in expected_weights(TINY).items()
    }


@pytest.fixture(scope="module")
def tokenizer():
    return WanTokenizer(random_weights(), TINY)


def noise_clip(batch=1, frames=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, frames, 16, 24, generator=generator) * 2 - 1


def test_it_is_a_video_tokenizer(tokenizer):
    assert isinstance(tokenizer, VideoTokenizer)
    assert tokenizer.latent_channels == 16


def test_a_latent_depends_on_no_later_frame(tokenizer):
    clip, other = noise_clip(), noise_clip(seed=1)
    changed = torch.cat([clip[:, :, :5], other[:, :, 5:]], dim=2)

    ours, theirs = tokenizer.encode(clip), tokenizer.encode(changed)
    assert torch.equal(ours[:, :, :2], theirs[:, :, :2])
    assert not torch.equal(ours, theirs)


def test_clips_of_a_batch_are_encoded_as_if_alone(tokenizer):
    batch = torch.cat([noise_clip(), noise_clip(seed=1)])

    latents = tokenizer.encode(batch)
    assert latents.shape == (2, 16, 3, 2, 3)
    assert torch.equal(latents[1:], tokenizer.encode(batch[1:]))
    assert torch.equal(tokenizer.decode(latents)[1:], tokenizer.decode(latents[1:]))


def test_more_than_50_latents_encode_and_decode(tokenizer):
    """197 frames are 50 latents, where the published interface stops."""
    clip = noise_clip(frames=201)[..., :8, :8]

    latents = tokenizer.encode(clip)
    assert latents.shape == (1, 16, 51, 1, 1)
    assert tokenizer.decode(latents).shape == clip.shape


def test_weights_of_half_precision_still_give_float32_latents():
    tokenizer = WanTokenizer(random_weights(), TINY, dtype=torch.bfloat16)
    latents = tokenizer.encode(noise_clip(frames=1))

    assert latents.dtype == tokenizer.decode(latents).dtype == torch.float32


def test_names_that_do_not_match_are_told_before_anything_is_built():
    weights = random_weights()
    weights["decoder.conv1.wieght"] = weights.pop("decoder.conv1.weight")
    weights["conv2.bias"] = torch.zeros(15)
    with pytest.raises(CheckpointError) as caught:
        WanTokenizer(weights, TINY)

    message = str(caught.value)
    assert f"{len(weights) - 2} of {len(weights)} tensors match" in message
    assert "missing: decoder.conv1.weight [2, 16, 3, 3, 3]" in message
    assert "decoder.conv1.wieght (did you mean decoder.conv1.weight?)" in message
    assert "conv2.bias is [15], not [16]" in message


def test_a_file_of_something_else_is_told_in_a_few_lines():
    with pytest.raises(CheckpointError, match=r"0 of \d+ tensors match") as caught:
        check_weights({f"net.{index}": (1,) for index in range(500)}, TINY)
    assert len(str(caught.value).splitlines()) == 14


def test_without_diffusers_the_message_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "diffusers"]:
        monkeypatch.delitem(sys.modules, name)
    real_import = builtins.__import__

    def no_diffusers(name, *arguments, **options):
        if name.split(".")[0] == "diffusers":
            raise ImportError("No module named 'diffusers'")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_diffusers)
    with pytest.raises(RecipeError, match=r"worldtune\[cosmos\].*builtin"):
        expected_weights()


def test_the_fingerprint_follows_the_weights_and_their_dtype(tokenizer):
    same = WanTokenizer(random_weights(), TINY)
    other = WanTokenizer(random_weights(seed=1), TINY)
    half = WanTokenizer(random_weights(), TINY, dtype=torch.bfloat16)

    assert same.fingerprint() == tokenizer.fingerprint()
    assert len({each.fingerprint() for each in (tokenizer, other, half)}) == 3


def test_shapes_that_do_not_divide_are_refused(tokenizer):
    with pytest.raises(DataError, match="6 frames"):
        tokenizer.encode(torch.zeros(1, 3, 6, 16, 16))
    with pytest.raises(DataError, match=r"16, T, H, W\].*\[1, 4, 1, 2, 2\]"):
        tokenizer.decode(torch.zeros(1, 4, 1, 2, 2))


def test_the_decoder_counts_its_blocks_flat_in_the_file():
    assert native_name("decoder.up_blocks.1.resnets.2.conv1.bias") == (
        "decoder.upsamples.6.residual.2.bias"
    )
    assert native_name("decoder.up_blocks.1.upsamplers.0.time_conv.bias") == (
        "decoder.upsamples.7.time_conv.bias"
    )

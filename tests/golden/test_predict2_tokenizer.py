"""The Wan tokenizer against the reference's numbers and names."""

import pytest
import torch

from worldtune.checkpoint.wan import load_wan_tokenizer
from worldtune.models.wan_tokenizer import (
    LATENT_DEVIATION,
    LATENT_MEAN,
    WanSizes,
    expected_weights,
)

# The decoder is badly conditioned: float64 itself is this far from float32.
DECODE_RMS, DECODE_MAX = 1e-4, 2e-3


@pytest.fixture(scope="module")
def vectors(predict2):
    return predict2.tensors("vae")


@pytest.fixture(scope="module")
def cases(vectors):
    return sorted({name.split(".")[0] for name in vectors})


@pytest.fixture(scope="module")
def tokenizer(predict2):
    written = predict2.json("vae")
    sizes = WanSizes(
        base_dim=written["base_dim"],
        z_dim=written["z_dim"],
        dim_mult=tuple(written["dim_mult"]),
        num_res_blocks=written["num_res_blocks"],
        temporal_downsample=tuple(written["temporal_downsample"]),
    )
    return load_wan_tokenizer(predict2.folder / "vae_state.safetensors", sizes=sizes)


def test_encoding_gives_the_reference_latents(tokenizer, vectors, cases, close):
    assert cases
    for case in cases:
        latents = tokenizer.encode(vectors[f"{case}.video"])
        close(latents, vectors[f"{case}.latent_normalised"], 1e-5)


def test_the_raw_posterior_mean_is_the_latent_times_deviation_plus_mean(
    tokenizer, vectors, cases, close
):
    mean = torch.tensor(LATENT_MEAN)[:, None, None, None]
    deviation = torch.tensor(LATENT_DEVIATION)[:, None, None, None]
    for case in cases:
        raw = tokenizer.encode(vectors[f"{case}.video"]) * deviation + mean
        close(raw, vectors[f"{case}.latent_raw_mean"], 1e-5)


def test_decoding_gives_the_reference_frames_clamped(tokenizer, vectors, cases):
    for case in cases:
        frames = tokenizer.decode(vectors[f"{case}.latent_normalised"])
        wanted = vectors[f"{case}.decoded_unclamped"].clamp(-1, 1)
        assert frames.shape == wanted.shape
        error = (frames.double() - wanted.double()).abs()
        assert error.square().mean().sqrt() <= DECODE_RMS
        assert error.max() <= DECODE_MAX


def test_the_published_file_has_the_documented_names_and_shapes(predict2):
    published = {name: tuple(shape) for name, shape in predict2.json("names_vae").items()}
    assert expected_weights() == published

"""One video of one or several clips, with a network whose output is known."""

from types import SimpleNamespace

import pytest
import torch

from tests.inference.recipes import tiny_recipe
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.video import to_pixels
from worldtune.inference import make, pieces
from worldtune.inference.clip_input import conditioning_clip
from worldtune.inference.make import Texts, VideoModel, make_video
from worldtune.inference.sample import Sampling
from worldtune.models.build import build
from worldtune.models.builtin_tokenizer import BuiltinTokenizer

SIZE = (16, 32)
ENCODER = BuiltinTextEncoder(32, 12)
TEXTS = Texts(ENCODER.encode(["a car"]), ENCODER.encode(["blurred"]))


@pytest.fixture(scope="module")
def model() -> VideoModel:
    recipe = tiny_recipe()
    network = build(pieces.network_config(recipe), seed=0).requires_grad_(False)
    return VideoModel(network, pieces.objective(recipe), BuiltinTokenizer(), 3)


def frames(count: int, seed: int = 0):
    return torch.rand(3, count, *SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def made(model, given, rest="last", **changes):
    settings = {"size": SIZE, "seed": 3, "fps": 16.0} | changes
    return make_video(model, given, rest, TEXTS, Sampling(steps=2), **settings)


def test_a_clip_begins_with_the_given_frame_as_the_tokenizer_keeps_it(model):
    given = frames(1)
    video = made(model, given, "black")
    kept = model.tokenizer.decode(model.tokenizer.encode(given[None]))

    assert video.shape == (9, *SIZE, 3)
    assert torch.equal(video[0], to_pixels(kept[0])[0])


@pytest.mark.parametrize("num_given", [1, 5])
@pytest.mark.parametrize("num_chunks", [1, 2, 3])
def test_frames_taken_over_are_not_shown_twice(model, num_given, num_chunks):
    steps = []
    video = made(
        model,
        frames(num_given),
        num_chunks=num_chunks,
        on_step=lambda chunk, step: steps.append((chunk, step.number)),
    )

    assert len(video) == 9 + (num_chunks - 1) * (9 - num_given)
    assert steps == [(chunk, step) for chunk in range(num_chunks) for step in range(2)]


@pytest.mark.parametrize("num_given", [1, 5])
def test_chunk_k_is_a_clip_of_seed_plus_k_that_goes_on_from_the_frames_before(model, num_given):
    """By hand: the frames that were decoded go on unrounded, without a file between."""
    clips = []
    given = frames(num_given)
    for chunk in range(3):
        clip = make._make_clip(
            model, given, "last", TEXTS, Sampling(steps=2), size=SIZE, seed=3 + chunk, fps=16.0,
            on_step=None,
        )  # fmt: skip
        clips.append(to_pixels(clip if chunk == 0 else clip[:, num_given:]))
        given = clip[:, -num_given:]

    assert torch.equal(made(model, frames(num_given), num_chunks=3), torch.cat(clips))


def test_the_first_chunk_of_a_long_video_is_the_short_video(model):
    short, long = (made(model, frames(1), num_chunks=count) for count in (1, 2))

    assert torch.equal(long[:9], short)


def test_what_is_handed_over_is_what_was_decoded(model, monkeypatch):
    handed = []

    def spy(given, num_frames, rest):
        handed.append((given.clone(), rest))
        return conditioning_clip(given, num_frames, rest)

    monkeypatch.setattr(make, "conditioning_clip", spy)
    decoded = []
    tokenizer = model.tokenizer
    listening = SimpleNamespace(
        encode=tokenizer.encode,
        decode=lambda latents: decoded.append(tokenizer.decode(latents)) or decoded[-1],
        temporal_factor=4,
        spatial_factor=8,
        latent_channels=16,
        name="builtin",
        fingerprint=tokenizer.fingerprint,
    )
    heard = VideoModel(model.network, model.objective, listening, 3)
    made(heard, frames(5), "last", num_chunks=2)

    assert torch.equal(handed[0][0], frames(5))
    assert torch.equal(handed[1][0], decoded[0][0, :, -5:].clamp(-1, 1))
    assert handed[1][1] == "last"


def test_a_model_of_single_images_is_given_nothing(model):
    single = VideoModel(model.network, model.objective, model.tokenizer, 1)

    assert made(single, None).shape == (1, *SIZE, 3)
    assert not torch.equal(made(single, None), made(single, None, seed=4))

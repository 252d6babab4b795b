"""The sampler and the conditioning input of `worldtune generate` against the original's."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.golden.networks import load_network, predict2_config
from worldtune.checkpoint.names import PREDICT2
from worldtune.data.batch import to_model_range
from worldtune.inference.clip_input import conditioning_clip, read_given
from worldtune.inference.sample import Sampling, sample_latents
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import RectifiedFlow

# The README's bound for float32 on a CPU.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def network(predict2) -> Transformer:
    model = Transformer(predict2_config(predict2.json("config")))
    load_network(model, predict2.tensors("dit_state"), PREDICT2)
    return model.requires_grad_(False)


def sampled(predict2, network, run, on_step=None):
    """One stored run through generate's own path, and its vectors."""
    prefix = f"{run['name']}."
    vectors = {
        name.removeprefix(prefix): tensor
        for name, tensor in predict2.tensors("sampler").items()
        if name.startswith(prefix)
    }
    text = vectors["crossattn_emb"]
    latents = sample_latents(
        network,
        RectifiedFlow(given_sigma=predict2.json("config")["sigma_conditional"]),
        Sampling(steps=run["steps"], guidance=run["guidance"]),
        text=text,
        # Without a negative prompt the original guides away from the text itself.
        negative_text=vectors.get("neg_crossattn_emb", text),
        given=vectors["condition_latents"],
        num_given=run["num_conditional_latent_frames"],
        seeds=[run["seed"]],
        fps=16.0,
        on_step=on_step,
    )
    return latents, vectors


@pytest.fixture(scope="module")
def followed(predict2, network):
    """Every stored run with its result, its steps and its vectors."""
    found = []
    for run in predict2.json("sampler")["runs"]:
        steps = []
        latents, vectors = sampled(predict2, network, run, steps.append)
        found.append((run, latents, steps, vectors))
    assert found
    return found


def test_sampling_from_a_seed_gives_the_originals_latents(followed, close):
    for _, latents, _, vectors in followed:
        close(latents, vectors["final_latent"], TOLERANCE)


def test_every_stored_step_predicts_and_moves_as_the_original_does(followed, close):
    for run, _, steps, vectors in followed:
        assert [step.number for step in steps] == list(range(run["steps"]))
        assert run["stored_steps"]
        for number in run["stored_steps"]:
            close(steps[number].x0.float(), vectors[f"step{number:02d}.x0_pred"], TOLERANCE)
            close(steps[number].state, vectors[f"step{number:02d}.next_sample"], TOLERANCE)


def test_noise_levels_are_the_originals(predict2):
    for name, stored in predict2.json("sampler")["sigmas"].items():
        steps = len(stored) - 1
        levels = Sampling(steps=steps).levels()

        assert levels == pytest.approx(stored, rel=1e-12), name
        # The default is the published number of steps.
        assert (Sampling().levels() == levels) == name.endswith("_default")


def test_guiding_away_from_the_text_itself_is_not_guiding_at_all(predict2, network, close):
    """What the original does, silently, for an empty negative prompt."""
    run = next(r for r in predict2.json("sampler")["runs"] if not r["negative_prompt_given"])
    latents, vectors = sampled(predict2, network, {**run, "guidance": 0.0})

    close(latents, vectors["final_latent"], TOLERANCE)
    assert torch.isfinite(latents).all()


def test_an_image_becomes_the_originals_conditioning_clip(predict2, tmp_path):
    golden = predict2.tensors("data")
    expected = golden["infer_output_BCTHW_uint8"]
    num_frames, height, width = expected.shape[2:]
    path = tmp_path / "image.png"
    Image.fromarray(golden["infer_image_HWC_uint8"].numpy()).save(path)

    given, rest = read_given(path, 1, (height, width))
    clip = conditioning_clip(given, num_frames, rest)

    assert torch.equal(clip, to_model_range(expected))
    assert np.ptp(expected[0, :, 0].numpy()) > 0

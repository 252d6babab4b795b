"""The sampler and the conditioning input of `worldtune generate` against the original's."""

import pytest
import torch

from worldtune.inference.sample import Sampling, sample_latents
from worldtune.models.config import TransformerConfig
from worldtune.models.transformer import Transformer
from worldtune.objectives.coefficients import RectifiedFlow

# The README's bound for float32 on a CPU.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def network(predict2) -> Transformer:
    sizes = predict2.json("config")
    config = TransformerConfig(
        model_channels=sizes["model_channels"],
        num_blocks=sizes["num_blocks"],
        num_heads=sizes["num_heads"],
        mlp_ratio=sizes["mlp_ratio"],
        text_channels=sizes["crossattn_emb_channels"],
        adaln_lora_dim=sizes["adaln_lora_dim"],
        latent_channels=sizes["in_channels"],
        out_channels=sizes["out_channels"],
        patch_spatial=sizes["patch_spatial"],
        patch_temporal=sizes["patch_temporal"],
        max_img_h=sizes["max_img_h"],
        max_img_w=sizes["max_img_w"],
        max_frames=sizes["max_frames"],
        condition_mask=True,
        padding_mask=sizes["concat_padding_mask"],
        rope_ratio_h=sizes["rope_h"],
        rope_ratio_w=sizes["rope_w"],
        rope_ratio_t=sizes["rope_t"],
    )
    weights = {
        name.removeprefix("net."): tensor for name, tensor in predict2.tensors("dit_state").items()
    }
    model = Transformer(config)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
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


def test_sampling_from_a_seed_gives_the_originals_latents(predict2, network, close):
    runs = predict2.json("sampler")["runs"]
    assert runs
    for run in runs:
        latents, vectors = sampled(predict2, network, run)

        close(latents, vectors["final_latent"], TOLERANCE)


def test_every_stored_step_predicts_and_moves_as_the_original_does(predict2, network, close):
    compared = 0
    for run in predict2.json("sampler")["runs"]:
        steps = {}
        _, vectors = sampled(
            predict2, network, run, lambda step, steps=steps: steps.update({step.number: step})
        )
        assert sorted(steps) == list(range(run["steps"]))
        for number in run["stored_steps"]:
            close(steps[number].x0.float(), vectors[f"step{number:02d}.x0_pred"], TOLERANCE)
            close(steps[number].state, vectors[f"step{number:02d}.next_sample"], TOLERANCE)
            compared += 1
    assert compared


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

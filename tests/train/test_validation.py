"""Validation and samples look at a run and change nothing in it."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.train.tiny import (
    STEPS_ONLY,
    Tiny,
    differences,
    forget_after,
    log_of,
    metrics,
    state_of,
    tiny,
)
from worldtune.data.batch import collate
from worldtune.data.order import Place
from worldtune.errors import RecipeError
from worldtune.inference.pieces import build_tokenizer, network_config
from worldtune.models.build import build
from worldtune.objectives.bands import BANDS
from worldtune.parallel.mesh import ALONE
from worldtune.train.setup import build_learner
from worldtune.train.share import encode_pass
from worldtune.train.sources import find_held_out
from worldtune.train.validation import band_losses

SAMPLED = ("trainer.sample_iter=2", "model.config.pipe_config.timestamps.nfe=2")


def test_validation_does_not_change_training(whole: Path, plain: Path):
    assert differences(state_of(whole, 4)[0], state_of(plain, 4)[0]) == []
    assert metrics(whole, ["step"]) == metrics(plain)


def test_network_and_average_are_measured_in_four_bands_and_their_mean(whole: Path):
    lines = metrics(whole, ["validation"])
    names = {who: [f"{who}_{band}" for band in BANDS] for who in ("network", "average")}

    assert [line["iteration"] for line in lines] == [0, 2, 4]
    assert set(lines[0]) == {"kind", "iteration", "network", *names["network"]}
    for line in lines[1:]:
        assert set(line) == set(lines[0]) | {"average", *names["average"]}
        assert line["average"] != line["network"]
        for who, bands in names.items():
            mean = sum(line[band] for band in bands) / 4
            assert line[who] == pytest.approx(mean, rel=1e-12)
    told = f"network {lines[2]['network']:.4f}, average {lines[2]['average']:.4f}"
    assert f"[INFO] Validation at iteration 4, held-out loss: {told}" in log_of(whole)


@pytest.mark.parametrize(("who", "section"), [("network", "masters"), ("average", "average")])
def test_the_numbers_are_those_of_the_weights_that_were_saved(
    whole: Path, clips: Path, who: str, section: str
):
    """Measured again by a network that is filled from the state."""
    recipe = tiny(clips).recipe
    network = build(network_config(recipe), seed=None)
    network.load_state_dict(dict(state_of(whole, 4)[0][section]))
    tokenizer = build_tokenizer(recipe)
    held_out = find_held_out(recipe, tokenizer)
    assert held_out is not None
    loss = build_learner(recipe, network, tokenizer).clip_loss
    clips_held = encode_pass(held_out, None, loss, ALONE, torch.device("cpu"))
    losses = band_losses(loss, clips_held)

    assert sum(len(held.batch) for held in clips_held) == 3
    line = metrics(whole, ["validation"])[-1]
    assert [line[who], *(line[f"{who}_{band}"] for band in BANDS)] == list(losses.values())


def test_the_mean_of_bands_is_near_the_training_loss_of_the_same_weights(clips: Path):
    """Each band stands for a quarter of the levels; 90 draws have a spread of some percent."""
    given = "model.config.pipe_config.max_num_conditional_frames=1"
    recipe = tiny(clips, "model.config.high_sigma_ratio=0", given).recipe
    network = build(network_config(recipe), seed=0)
    tokenizer = build_tokenizer(recipe)
    loss = build_learner(recipe, network, tokenizer).clip_loss
    held_out = find_held_out(recipe, tokenizer)
    assert held_out is not None
    fixed = band_losses(loss, encode_pass(held_out, None, loss, ALONE, torch.device("cpu")))["mean"]
    items = [held_out.source.read(Place(number, 0, number % 3)) for number in range(90)]
    with torch.no_grad():
        sums = loss(collate(items))

    assert loss.settings.rule.plain(sums, sums.elements).item() == pytest.approx(fixed, rel=0.05)


@pytest.mark.slow
def test_at_most_max_val_iter_batches_are_measured(runs: Tiny, whole: Path):
    run = runs.run("one", "trainer.max_val_iter=1", "trainer.max_iter=1")

    first = metrics(run, ["validation"])[0]["network"]
    assert first != metrics(whole, ["validation"])[0]["network"]


def test_samples_do_not_change_training_and_a_resumed_run_makes_the_same(runs: Tiny, plain: Path):
    run = runs.run("sampled", *STEPS_ONLY, *SAMPLED)
    assert differences(state_of(run, 4)[0], state_of(plain, 4)[0]) == []
    folder = run / "samples"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == [
        f"iter_00000000{iteration}/{name}"
        for iteration in (2, 4)
        for name in ("clip_0.mp4", "clip_1.mp4", "strip.png")
    ]
    assert f"[INFO] Samples written: {folder}/iter_000000004" in log_of(run)

    again = forget_after(runs.copied(run, "again"), 2)
    runs.run("again", *STEPS_ONLY, *SAMPLED)
    for name in files:
        assert (again / "samples" / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.slow
def test_the_same_clips_are_sampled_from_the_same_noise_each_time(runs: Tiny):
    """Weights that do not move make the same samples; a strip shows clip above sample."""
    still = ("optimizer.lr=1e-30", "trainer.sample_iter=1", "trainer.max_iter=2")
    run = runs.run("still", *STEPS_ONLY, *SAMPLED, *still)
    first, second = (run / "samples" / f"iter_00000000{k}" for k in (1, 2))

    for name in ("clip_0.mp4", "clip_1.mp4", "strip.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "clip_0.mp4").read_bytes() != (first / "clip_1.mp4").read_bytes()
    with Image.open(first / "strip.png") as strip:
        assert strip.size == (6 * (48 + 2), 4 * (32 + 2))


def test_held_out_clips_are_asked_for_where_they_are_wanted(runs: Tiny):
    recipe = tiny(runs.clips, *STEPS_ONLY, "trainer.sample_iter=1").recipe
    recipe = recipe.model_copy(update={"dataloader_val": None})
    with pytest.raises(RecipeError) as refused:
        find_held_out(recipe, build_tokenizer(recipe))
    assert str(refused.value) == (
        "trainer.sample_iter needs held-out clips, and there is no dataloader_val; set "
        "dataloader_val.dataset.dataset_dir=FOLDER, or switch it off"
    )

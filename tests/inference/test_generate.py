"""Clips from a tiny run, end to end: what is written, what is recorded, what is refused."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from tests.inference.fixtures import picture
from tests.inference.recipes import tiny_recipe
from worldtune.checkpoint import sections
from worldtune.checkpoint.state import write_state
from worldtune.config.files import write_config
from worldtune.data.decode import frame_times, read_window
from worldtune.data.probe import probe_video
from worldtune.errors import CheckpointError, RecipeError, RunError
from worldtune.inference import generate as generate_module
from worldtune.inference import output, pieces
from worldtune.inference.checkpoints import find_checkpoint
from worldtune.inference.generate import generate
from worldtune.inference.hooks import Hooks, build_hooks
from worldtune.inference.plan import Plan
from worldtune.inference.request import ClipRequest, Wishes
from worldtune.models.build import build

EXAMPLES = "tests.inference.hook_examples"
QUIET = Console(quiet=True)


@pytest.fixture
def plan_of(tiny_run, image_file, tmp_path):
    """A plan without a mistake, changed as a test says; wishes beside the plan's own fields."""

    def make(*names: str, prompts=("a red car",), recipe=None, run=None, **changes) -> Plan:
        names = names or ("clip.mp4",)
        wishes = Wishes(**({"steps": 2} | changes.pop("wishes", {})))
        requests = tuple(
            ClipRequest(prompt, tmp_path / name, image_file)
            for name, prompt in zip(names, prompts * len(names), strict=False)
        )
        settings = {
            "checkpoint": find_checkpoint(run or tiny_run),
            "recipe": recipe or tiny_recipe(),
            "requests": requests,
            "wishes": wishes,
            "size": (32, 48),
            "hooks": Hooks(),
            "device": torch.device("cpu"),
        }
        return Plan(**{**settings, **changes})

    return make


def frames_of(path: Path) -> torch.Tensor:
    return read_window(path, 0, len(frame_times(path)))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_clip_goes_on_from_the_image_in_its_own_colours(plan_of, tmp_path):
    generate(plan_of(), QUIET)
    frames = frames_of(tmp_path / "clip.mp4")

    assert frames.shape == (9, 32, 48, 3)
    assert probe_video(tmp_path / "clip.mp4").fps == 16
    # 40x80 scaled to cover 32x48 is 32x64, of which 8 columns are cut on either side.
    shown = Image.fromarray(picture(40, 80)).resize((64, 32), Image.Resampling.BILINEAR)
    expected = np.array(shown)[:, 8:-8].astype(float)
    # The built-in tokenizer keeps one colour a cell of 8x8, and H.264 blurs.
    for place in ((4, 4), (28, 4), (4, 44), (28, 44)):
        rows, columns = (slice(p - 4, p + 4) for p in place)
        difference = frames[0, rows, columns].double().mean((0, 1)).numpy() - expected[
            rows, columns
        ].mean((0, 1))
        assert np.abs(difference).max() < 60, place
    assert files_in(tmp_path) == {"clip.mp4", "clip.json"}


def test_the_file_beside_a_clip_says_how_it_was_made(plan_of, tmp_path, tiny_run, image_file):
    plan = plan_of(wishes={"num_chunks": 2, "seed": 5, "guidance": 3.0, "negative_prompt": ""})
    generate(plan, QUIET)
    record = json.loads((tmp_path / "clip.json").read_text())

    assert record["prompt"] == "a red car"
    assert record["refined_prompt"] is None
    assert record["negative_prompt"] == ""
    assert record["input"] == {"path": str(image_file), "kind": "image"}
    assert record["output"] == {
        "path": str(tmp_path / "clip.mp4"),
        "frames": 17,
        "height": 32,
        "width": 48,
        "fps": 16.0,
    }
    assert record["sampling"] == {
        "num_conditional_frames": 1,
        "guidance": 3.0,
        "steps": 2,
        "seeds": [5, 6],
        "sigma_max": 80.0,
        "sigma_min": 0.002,
        "order": 7.0,
        "solver": "2ab",
    }
    assert record["checkpoint"]["path"] == str(find_checkpoint(tiny_run).path)
    assert record["checkpoint"]["sha256"] == find_checkpoint(tiny_run).sha256()
    assert record["checkpoint"]["weights"] == "average"
    tokenizer = pieces.build_tokenizer(tiny_recipe())
    own = {"name": "builtin", "fingerprint": tokenizer.fingerprint()}
    assert record["tokenizer"] == own | {"trained_with": own}
    assert record["text_encoder"]["name"] == "builtin"
    assert record["guardrail"] == record["prompt_refiner"] == "absent"
    assert record["device"] == "cpu"
    assert record["precision"] == "float32"


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(plan_of, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(plan_of(f"{name}.mp4", wishes={"seed": seed}), QUIET)
    a, b, c = (frames_of(tmp_path / f"{name}.mp4") for name in "abc")

    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_an_empty_negative_prompt_guides(tmp_path, plan_of):
    """With the original, an empty one is as good as none: no guidance, and no word of it."""
    recipe = tiny_recipe()
    config = pieces.network_config(recipe)
    draw = torch.Generator().manual_seed(1)
    # Fresh weights do not look at the text; drawn ones do.
    weights = {
        name: torch.randn(value.shape, generator=draw) / value.shape[-1] ** 0.5
        for name, value in build(config, seed=0).state_dict().items()
    }
    write_config(tmp_path / "run", recipe)
    write_state(tmp_path / "run/checkpoints/state", 1, {sections.MASTERS: weights}, {})
    for name, guidance in (("guided.mp4", 7.0), ("plain.mp4", 0.0)):
        wishes = {"negative_prompt": "", "guidance": guidance}
        generate(plan_of(name, run=tmp_path / "run", wishes=wishes), QUIET)

    assert not torch.equal(frames_of(tmp_path / "guided.mp4"), frames_of(tmp_path / "plain.mp4"))


def test_a_batch_makes_every_clip_and_encodes_a_prompt_once(plan_of, tmp_path, monkeypatch):
    encoded = []
    encode = generate_module.encode_texts
    monkeypatch.setattr(
        generate_module, "encode_texts", lambda e, w: encoded.extend(w) or encode(e, w)
    )
    plan = plan_of("a.mp4", "b/c.mp4", "d.mp4", prompts=("a car", "rain", "a car"))
    generate(plan, QUIET)

    assert sorted(encoded) == sorted({"a car", "rain", plan.wishes.negative_prompt})
    assert torch.equal(frames_of(tmp_path / "a.mp4"), frames_of(tmp_path / "d.mp4"))
    assert json.loads((tmp_path / "b" / "c.json").read_text())["prompt"] == "rain"


def test_one_frame_is_written_as_an_image(plan_of, tmp_path):
    # The random tiny network makes single images as well as clips.
    recipe = tiny_recipe({"state_t": 1})
    request = ClipRequest("a red car", tmp_path / "still.png", None)
    generate(plan_of(recipe=recipe, requests=(request,)), QUIET)

    with Image.open(tmp_path / "still.png") as image:
        assert (image.size, image.format, image.mode) == ((48, 32), "PNG", "RGB")
    record = json.loads((tmp_path / "still.json").read_text())
    assert record["input"] is None
    assert record["sampling"]["num_conditional_frames"] is None


@pytest.mark.parametrize(("suffix", "format_"), [("jpg", "JPEG"), ("webp", "WEBP")])
def test_an_image_has_the_format_of_its_name(tmp_path, suffix, format_):
    request = ClipRequest("", tmp_path / f"image.{suffix}", None)
    frame = torch.from_numpy(picture(32, 48))[None]
    output.write_clip(request, frame, 16.0, {})

    with Image.open(request.output) as image:
        assert image.format == format_
        # JPEG keeps half the resolution of colours.
        limit = 0 if suffix == "webp" else 6
        assert np.abs(np.array(image).astype(float) - frame[0].numpy()).mean() <= limit


def test_every_mistake_is_told_before_anything_is_made(plan_of, tmp_path):
    (tmp_path / "b.mp4").touch()
    plan = plan_of("a.mp4", "b.mp4", size=(40, 2000), wishes={"steps": 0, "num_given": 5})
    with pytest.raises(RecipeError) as told:
        generate(plan, QUIET)

    lines = str(told.value).splitlines()
    assert lines[0] == "6 mistakes:"
    assert len(lines) == 7
    assert files_in(tmp_path) == {"b.mp4"}


def test_a_strategy_that_is_not_there_is_refused(plan_of):
    recipe = tiny_recipe({"conditioning_strategy": "channel_concat"})

    with pytest.raises(RecipeError, match="is channel_concat; expected frame_replace"):
        generate(plan_of(recipe=recipe), QUIET)


@pytest.mark.parametrize(("state_t", "fps"), [(16, 10.0), (3, 16.0), (24, 16.0)])
def test_the_rate_is_that_of_the_published_model_of_this_length(plan_of, state_t, fps):
    recipe = tiny_recipe({"state_t": 3})
    pipe = recipe.model.config.pipe_config.model_copy(update={"state_t": state_t})
    config = recipe.model.config.model_copy(update={"pipe_config": pipe})
    longer = recipe.model_copy(update={"model": recipe.model.model_copy(update={"config": config})})

    assert plan_of(recipe=longer).fps == fps
    assert plan_of(recipe=longer, wishes={"fps": 24.0}).fps == 24.0


def test_more_given_frames_than_the_model_was_trained_with_are_told(plan_of, video_file):
    recipe = tiny_recipe({"max_num_conditional_frames": 1})
    requests = (ClipRequest("a car", Path("clip.mp4"), video_file),)
    plan = plan_of(recipe=recipe, requests=requests, wishes={"num_given": 5})

    assert plan.notices == (
        "The model was trained with 1 given latent frames, and --num-conditional-frames 5 gives 2",
    )
    assert plan_of(recipe=recipe).notices == ()


def test_another_text_encoder_than_the_runs_is_refused(plan_of, tmp_path):
    text = {"cls": "builtin", "builtin": {"embed_dim": 32, "num_tokens": 20}}
    with pytest.raises(CheckpointError, match="the text encoder is builtin"):
        generate(plan_of(recipe=tiny_recipe({"text_encoder": text})), QUIET)

    assert files_in(tmp_path) == set()


def test_a_refused_prompt_stops_the_command_and_writes_nothing(plan_of, tmp_path):
    hooks = build_hooks(pieces.pipeline(tiny_recipe()), guardrail=f"{EXAMPLES}:Strict")
    plan = plan_of("a.mp4", "b.mp4", prompts=("a car", "a crash"), hooks=hooks)
    with pytest.raises(RunError) as told:
        generate(plan, QUIET)

    assert str(told.value) == (
        f"{tmp_path / 'b.mp4'} is not made: the guardrail {EXAMPLES}:Strict refuses the prompt: "
        "it says 'crash'"
    )
    assert told.value.exit_status == 1
    assert files_in(tmp_path) == set()


def test_a_refined_prompt_is_looked_at_again(plan_of, tmp_path):
    hooks = build_hooks(
        pieces.pipeline(tiny_recipe()),
        guardrail=f"{EXAMPLES}:Strict",
        refiner=f"{EXAMPLES}:crashing",
    )
    with pytest.raises(RunError, match="refuses the refined prompt: it says 'crash'"):
        generate(plan_of(hooks=hooks), QUIET)

    assert files_in(tmp_path) == set()


def test_the_refined_prompt_is_used_and_recorded(plan_of, tmp_path, video_file):
    hooks = build_hooks(pieces.pipeline(tiny_recipe()), refiner=f"{EXAMPLES}:longer")
    request = ClipRequest("a car", tmp_path / "clip.mp4", video_file)
    generate(plan_of(hooks=hooks, requests=(request,), wishes={"num_given": 5}), QUIET)
    record = json.loads((tmp_path / "clip.json").read_text())

    assert record["prompt"] == "a car"
    assert record["refined_prompt"] == "a car, seen in 5 frames"
    assert record["prompt_refiner"] == f"{EXAMPLES}:longer"


def test_a_refused_clip_is_not_written_and_the_others_are(plan_of, tmp_path, image_file):
    dark = tmp_path / "dark.png"
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(dark)
    hooks = build_hooks(pieces.pipeline(tiny_recipe()), guardrail=f"{EXAMPLES}:Strict")
    requests = (
        ClipRequest("a car", tmp_path / "a.mp4", dark),
        ClipRequest("a car", tmp_path / "b.mp4", image_file),
    )
    with pytest.raises(RunError, match=r"a\.mp4 is not written: .* refuses the frames: it is dark"):
        generate(plan_of(hooks=hooks, requests=requests), QUIET)

    assert files_in(tmp_path) == {"dark.png", "b.mp4", "b.json"}
    # What may be shown has its left edge blackened by this guardrail.
    assert frames_of(tmp_path / "b.mp4")[:, :, :6].float().mean() < 12
    assert json.loads((tmp_path / "b.json").read_text())["guardrail"] == f"{EXAMPLES}:Strict"


def test_an_enabled_guardrail_with_nothing_behind_it_is_told_and_recorded(
    plan_of, tmp_path, caplog
):
    recipe = tiny_recipe({"guardrail_config": {"enabled": True}})
    hooks = build_hooks(pieces.pipeline(recipe))
    with caplog.at_level(logging.WARNING, "worldtune"):
        generate(plan_of(recipe=recipe, hooks=hooks), QUIET)

    assert "The settings enable a guardrail, and none comes with this project" in caplog.text
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["guardrail"] == "absent, although the settings enable it"


@pytest.mark.parametrize("moment", ["sampling", "writing", "recording"])
def test_ctrl_c_leaves_no_part_of_a_file(plan_of, tmp_path, monkeypatch, moment):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if moment == "sampling":
        monkeypatch.setattr(generate_module.SamplingProgress, "advance", interrupt)
    elif moment == "writing":
        monkeypatch.setattr("av.VideoFrame.from_ndarray", interrupt, raising=True)
    else:
        monkeypatch.setattr(output.json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        generate(plan_of(), QUIET)

    assert files_in(tmp_path) == set()


def test_without_a_terminal_a_few_lines_tell_how_far_it_is(plan_of, caplog):
    with caplog.at_level(logging.INFO, "worldtune"):
        generate(plan_of(wishes={"steps": 10, "num_chunks": 2}), Console(force_terminal=False))

    lines = [record.message for record in caplog.records]
    assert lines[0].startswith("Loaded 47 of 47 tensors from ")
    assert lines[1:-1] == [f"clip.mp4: step {n} of 20" for n in (4, 8, 12, 16, 20)]
    assert lines[-1].startswith("Written: ")

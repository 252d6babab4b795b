"""The command's words: which model, which recipe, which size, and every refusal of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.inference import fixtures
from tests.inference.recipes import tiny_recipe
from worldtune.checkpoint import shapes
from worldtune.cli import generate_words as words_module
from worldtune.cli.generate_model import find_model
from worldtune.cli.generating import find_device, make_plan
from worldtune.cli.main import run
from worldtune.data.decode import frame_times
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference import pieces
from worldtune.inference.request import NEGATIVE_PROMPT
from worldtune.models.build import build
from worldtune.models.config import TransformerConfig

tiny_run, image_file, video_file = fixtures.tiny_run, fixtures.image_file, fixtures.video_file

WORDS = {
    field: None for field in words_module.Words.__dataclass_fields__
} | {
    "prompt": "a car",
    "out": Path("clip.mp4"),
    "force": False,
    "num_given": 1,
    "guidance": 7.0,
    "seed": 0,
    "num_chunks": 1,
    "lora": (),
    "downcast_text_encoder": False,
    "no_guardrail": False,
    "no_refiner": False,
}  # fmt: skip


def words(**changes) -> words_module.Words:
    return words_module.Words(**(WORDS | changes))


@pytest.fixture(autouse=True)
def nothing_set_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("COSMOS_PREDICT2_ARGS", raising=False)
    monkeypatch.chdir(tmp_path)


def empty_file(path: Path, width: int, blocks: int) -> Path:
    """A file of weights with the names and shapes of a published size, and one weight of data."""
    config = TransformerConfig(
        model_channels=width, num_blocks=blocks, num_heads=width // 128, condition_mask=True
    )
    header, end = {}, 0
    for name, shape in shapes.network_shapes(shapes.Sizes(config)).items():
        size = 2 * int(torch.tensor(shape).prod())
        header[f"net.{name}"] = {
            "dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size],
        }  # fmt: skip
        end += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)  # sparse: no disk is used
    return path


def test_the_command_makes_a_clip_of_a_run(tiny_run, image_file, tmp_path, capsys):
    status = run(
        ["generate", "--checkpoint", str(tiny_run), "--input", str(image_file), "--prompt", "a car",
         "--out", "clip.mp4", "--steps", "2", "--seed", "3"]
    )  # fmt: skip

    assert status == 0
    assert len(frame_times(tmp_path / "clip.mp4")) == 9
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["negative_prompt"] == NEGATIVE_PROMPT
    assert record["sampling"]["seeds"] == [3]
    out = capsys.readouterr().out
    assert "[INFO] Loaded 47 of 47 tensors from" in out
    assert "[INFO] Written: clip.mp4" in out


def test_the_originals_spellings_mean_the_same(tiny_run, video_file, tmp_path):
    status = run(
        ["generate", "--dit_path", str(tiny_run), "--input_path", str(video_file),
         "--prompt", "a car",
         "--save_path", "clip.mp4", "--num_conditional_frames", "5", "--negative_prompt", "dark",
         "--num_chunks", "2", "--load_ema", "--steps", "1", "--disable_guardrail",
         "--disable_prompt_refiner", "--downcast_text_encoder", "--guidance", "3"]
    )  # fmt: skip

    assert status == 0
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["output"]["frames"] == 9 + 4
    assert record["checkpoint"]["weights"] == "average"
    assert record["negative_prompt"] == "dark"
    assert record["sampling"]["guidance"] == 3.0
    assert record["guardrail"] == "switched off on the command line"


def test_a_batch_is_made_by_the_originals_flag(tiny_run, image_file, tmp_path):
    entry = {"input_video": str(image_file), "prompt": "a car", "output_video": "out/a.mp4"}
    Path("batch.json").write_text(json.dumps([entry, entry | {"output_video": "out/b.mp4"}]))
    status = run(
        ["generate", "--checkpoint", str(tiny_run), "--batch_input_json", "batch.json",
         "--steps", "1", "--no-ema"]
    )  # fmt: skip

    assert status == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a.json", "a.mp4", "b.json", "b.mp4",
    ]  # fmt: skip
    assert json.loads(Path("out/a.json").read_text())["checkpoint"]["weights"] == "network"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to make: either --prompt, --out and --input, or --batch FILE.json"),
        (["--batch", "b.json", "--prompt", "x"], "say what to make: either"),
        (["--out", "a.mp4"], "--prompt is missing"),
        (["--prompt", "a car"], "--out is missing"),
        (["--prompt", "a", "--out", "a.mp4"], "say which model: --checkpoint"),
        (["--prompt", "a", "--out", "a.mp4", "--checkpoint", "no"], "no is not there"),
    ],
)
def test_words_that_say_too_little_or_too_much_are_refused(options, message, capsys):
    status = run(["generate", *options])

    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_refusal_of_the_guardrail_has_status_1(tiny_run, image_file, capsys):
    status = run(
        ["generate", "--checkpoint", str(tiny_run), "--input", str(image_file), "--prompt",
         "a crash", "--out", "clip.mp4", "--guardrail", "tests.inference.hook_examples:Strict"]
    )  # fmt: skip

    assert status == 1
    assert "refuses the prompt: it says 'crash'" in capsys.readouterr().err
    assert not list(Path.cwd().iterdir())


def test_ctrl_c_ends_the_command_without_a_traceback(
    tiny_run,
    image_file,
    monkeypatch,
    capsys,
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("worldtune.inference.generate.SamplingProgress.advance", interrupt)
    status = run(
        ["generate", "--checkpoint", str(tiny_run), "--input", str(image_file), "--prompt", "a car",
         "--out", "clip.mp4"]
    )  # fmt: skip

    assert status == 1
    assert capsys.readouterr().err == (
        "RunError: stopped before all was made; clips told as written are whole, and nothing is "
        "left of the others\n"
    )
    assert not list(Path.cwd().iterdir())


def test_a_run_is_made_of_its_own_settings(tiny_run):
    recipe, checkpoint = find_model(words(checkpoint=tiny_run))

    assert recipe == tiny_recipe()
    assert checkpoint.run == tiny_run
    assert make_plan(words(checkpoint=tiny_run)).size == (32, 48)


def test_settings_that_are_named_come_before_the_runs_own(tiny_run, tmp_path):
    changed = (tiny_run / "config.yaml").read_text().replace("nfe: 35", "nfe: 4")
    (tmp_path / "mine.yaml").write_text(changed)
    recipe, _ = find_model(words(checkpoint=tiny_run, config="mine.yaml"))

    assert recipe.model.config.pipe_config.timestamps.nfe == 4
    with pytest.raises(RecipeError, match="holds one recipe already; leave out --experiment"):
        find_model(words(checkpoint=tiny_run, config="mine.yaml", experiment="x"))


def test_a_bare_file_of_an_own_size_needs_its_settings(tiny_run, tmp_path):
    weights = build(pieces.network_config(tiny_recipe()), seed=0).state_dict()
    save_file(weights, tmp_path / "bare.safetensors")
    bare = tmp_path / "bare.safetensors"
    with pytest.raises(RecipeError) as told:
        find_model(words(checkpoint=bare))
    assert "a network of 2 blocks and width 64, which is no published size" in str(told.value)
    assert "--config RUN/config.yaml or --experiment NAME" in str(told.value)

    recipe, checkpoint = find_model(words(checkpoint=bare, config=str(tiny_run / "config.yaml")))
    assert recipe == tiny_recipe()
    assert checkpoint.run is None


@pytest.mark.parametrize(
    ("size", "name", "asked", "state_t", "frame"),
    [
        ("2B", "model-720p-16fps.safetensors", {}, 24, (704, 1280)),
        ("2B", "model-480p-10fps.safetensors", {"fps": 16.0}, 16, (432, 768)),
        ("2B", "iter_000000500.safetensors", {"fps": 10.0}, 16, (704, 1280)),
        ("2B", "mine.safetensors", {"resolution": "480"}, 24, (432, 768)),
        ("14B", "mine.safetensors", {"aspect_ratio": "1:1"}, 24, (960, 960)),
    ],
)
def test_a_published_size_is_known_by_its_weights(tmp_path, size, name, asked, state_t, frame):
    width, blocks = {"2B": (2048, 28), "14B": (5120, 36)}[size]
    path = empty_file(tmp_path / "all" / "nvidia" / "repository" / name, width, blocks)
    plan = make_plan(words(checkpoint=path, **asked))
    pipe = pieces.pipeline(plan.recipe)

    assert (pipe.net.model_channels, pipe.net.num_blocks) == (width, blocks)
    assert pipe.net.rope_h_extrapolation_ratio == {"2B": 3.0, "14B": 2.0}[size]
    assert pipe.state_t == state_t
    assert plan.size == frame
    # The tokenizer and T5 are looked for where the publishers' tools put them.
    folder = tmp_path / "all"
    assert pipe.tokenizer.vae_pth == (
        f"{folder}/nvidia/Cosmos-Predict2-{size}-Video2World/tokenizer/tokenizer.pth"
    )
    assert pipe.text_encoder.t5.ckpt_path == f"{folder}/google-t5/t5-11b"


def test_a_size_by_name_is_the_published_file_or_the_command_that_fetches_it():
    with pytest.raises(CheckpointError) as told:
        find_model(words(model_size="14B", resolution="480", fps=10.0))

    assert "checkpoints/nvidia/Cosmos-Predict2-14B-Video2World/model-480p-10fps.pt" in str(
        told.value
    )
    assert "hf download nvidia/Cosmos-Predict2-14B-Video2World" in str(told.value)


def test_a_size_that_is_not_the_checkpoints_is_refused(tiny_run):
    with pytest.raises(RecipeError, match="--model-size 2B is a network of 28 blocks"):
        find_model(words(checkpoint=tiny_run, model_size="2B"))


def test_settings_without_weights_are_refused():
    with pytest.raises(RecipeError, match="the settings name no weights"):
        find_model(words(experiment="predict2_video2world_training_tiny"))


def test_a_tokenizer_by_itself_is_no_network(tmp_path):
    save_file({"encoder.conv1.weight": torch.ones(2)}, tmp_path / "vae.safetensors")

    with pytest.raises(CheckpointError, match="holds no network of this project's"):
        find_model(words(checkpoint=tmp_path / "vae.safetensors"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "--device gpu is not a device; expected cuda, cuda:1 or cpu"),
        ("mps", "--device mps is not supported; expected cuda, cuda:1 or cpu"),
        ("cuda:99", "--device cuda:99 is not here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, message):
    with pytest.raises(RecipeError, match=message):
        find_device(name)


def test_the_best_device_is_taken():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--resolution", "1080"),
        ("--aspect-ratio", "2:1"),
        ("--num-conditional-frames", "3"),
        ("--model-size", "7B"),
        ("--seed", "-1.5"),
    ],
)
def test_a_value_that_is_no_choice_is_a_mistake(flag, value, capsys):
    status = run(["generate", "--prompt", "a", "--out", "a.mp4", flag, value])

    assert status == 2
    error = capsys.readouterr().err
    assert f"Invalid value for '{flag}'" in error


def test_a_run_that_was_copied_still_finds_its_weights(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "copy")
    _, checkpoint = find_model(words(checkpoint=tmp_path / "copy"))

    assert checkpoint.path.is_relative_to(tmp_path / "copy")

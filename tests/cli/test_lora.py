"""The commands on adapters: merge, extract, export; generating with them; their settings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.inference import fixtures, lora_files
from tests.inference.lora_files import drawn, made
from worldtune.checkpoint.adapters import read_adapter, write_adapter
from worldtune.cli.generating import make_plan
from worldtune.cli.main import run
from worldtune.config.video2world import LORA_TARGETS
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference.adapted import load_adapted
from worldtune.inference.checkpoints import find_checkpoint, load_network
from worldtune.inference.pieces import objective, sampling
from worldtune.inference.sample import sample_latents
from worldtune.models.build import build

tiny_run, image_file = fixtures.tiny_run, fixtures.image_file
lora_recipe, lora_config = lora_files.lora_recipe, lora_files.lora_config
base_file, adapter_notes = lora_files.base_file, lora_files.adapter_notes
adapter_files, lora_run = lora_files.adapter_files, lora_files.lora_run

LORA = "predict2_video2world_lora_training_2b_its"


@pytest.fixture(autouse=True)
def nothing_set_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("COSMOS_PREDICT2_ARGS", raising=False)
    monkeypatch.chdir(tmp_path)


def told(capsys, *words: str | Path) -> dict:
    """The answer of a command that succeeds, in JSON."""
    assert run([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words: str | Path) -> str:
    assert run([*map(str, words)]) == 2
    return capsys.readouterr().err


def latents(network, recipe) -> Tensor:
    """A clip's latents as generation makes them, before they are decoded."""
    draw = torch.Generator().manual_seed(3)
    return sample_latents(
        network,
        objective(recipe),
        sampling(recipe, steps=3, guidance=2.0),
        text=torch.randn(1, 12, 32, generator=draw),
        negative_text=torch.randn(1, 12, 32, generator=draw),
        given=torch.randn(1, 16, 3, 4, 6, generator=draw),
        num_given=1,
        seeds=[4],
        fps=16.0,
    )


# --- merge ---


def test_merging_then_generating_equals_base_and_adapters(
    capsys, lora_recipe, base_file, adapter_files
):
    one, two = adapter_files
    answer = told(capsys, "lora", "merge", f"{one}:0.5", two, "--out", "merged.safetensors")
    plan_adapters = make_plan_for(one, two).adapters
    beside, _ = load_adapted(
        find_checkpoint(base_file), lora_recipe, device="cpu", adapters=plan_adapters
    )
    merged = load_network(find_checkpoint(Path("merged.safetensors")), lora_recipe, device="cpu")
    base = load_network(find_checkpoint(base_file), lora_recipe, device="cpu")

    expected = latents(beside.network, lora_recipe)
    got = latents(merged.network, lora_recipe)
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
    plain = latents(base.network, lora_recipe)
    assert (got - plain).abs().max() > 1e-3 * expected.abs().max()
    assert (answer["base"], answer["changed"]) == (str(base_file), 20)


def make_plan_for(one: Path, two: Path):
    return make_plan(words(lora=(f"{one}:0.5", str(two))))


def test_a_lora_run_is_merged_by_its_newest_average(capsys, lora_run, adapter_notes, lora_config):
    folder = lora_run / "checkpoints" / "adapters"
    for name in ("iter_000000003", "iter_000000007", "iter_000000007_average"):
        adapter = made(lora_files.tiny_recipe(**lora_files.LORA), lora_config, len(name))
        write_adapter(folder / f"{name}.safetensors", adapter, adapter_notes)
    for flags, name in (
        ((), "iter_000000007_average"),
        (("--no-ema",), "iter_000000007"),
    ):
        answer = told(capsys, "lora", "merge", lora_run, "--out", "m.pt", "--force", *flags)
        assert answer["adapters"][0]["path"] == str(folder / f"{name}.safetensors")


def test_what_was_merged_is_said_for_people(capsys, adapter_files, base_file):
    assert run(["lora", "merge", f"{adapter_files[0]}:0.5", "--out", "merged.pt"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{adapter_files[0]} at weight 0.5 (LoRA, rank 3, alpha 6)"
    assert lines[1] == f"into {base_file}: 20 of 47 tensors changed"
    assert lines[2].startswith("merged.pt: ")


def test_another_base_is_refused_unless_any_will_do(capsys, adapter_files, lora_recipe, base_file):
    weights = build(drawn(lora_recipe).config, seed=6).state_dict()
    torch.save({f"net.{name}": weight for name, weight in weights.items()}, "other.pt")
    words = ("lora", "merge", adapter_files[0], "--base", "other.pt", "--out", "merged.pt")

    said = refused(capsys, *words)
    assert f"{adapter_files[0]} was trained on {base_file} (fingerprint " in said
    assert "add --any-base to merge all the same" in said
    assert not Path("merged.pt").exists()
    answer = told(capsys, *words, "--any-base")
    assert "was trained on" in answer["notices"][0]


def test_a_base_in_no_file_has_to_be_named(
    capsys, tmp_path, adapter_notes, lora_recipe, lora_config
):
    base = replace(adapter_notes.base, path=None, seed=5)
    path = tmp_path / "a.safetensors"
    write_adapter(path, made(lora_recipe, lora_config, 1), replace(adapter_notes, base=base))

    said = refused(capsys, "lora", "merge", path, "--out", "merged.pt")
    assert "random weights of seed 5, which lie in no file; name a file" in said


@pytest.mark.parametrize("command", ["merge", "extract", "export"])
def test_nothing_is_written_over_unasked(capsys, adapter_files, base_file, command):
    Path("there.pt").write_bytes(b"mine")
    more = {"merge": (), "extract": ("--base", base_file), "export": ("--to", "comfyui")}[command]
    said = refused(capsys, "lora", command, adapter_files[0], "--out", "there.pt", *more)

    assert said == "RecipeError: there.pt exists already; use --force to write over it\n"
    assert Path("there.pt").read_bytes() == b"mine"


# --- extract ---


def test_extracting_from_a_merged_file_gives_back_what_was_merged(
    capsys, adapter_files, base_file, lora_config
):
    told(capsys, "lora", "merge", adapter_files[0], "--out", "merged.pt")
    words = ("--base", base_file, "--rank", "3", "--out", "again.safetensors")
    answer = told(capsys, "lora", "extract", "merged.pt", *words)
    before, after = (read_adapter(p).adapter for p in (adapter_files[0], Path("again.safetensors")))

    layers = before.layers()
    for name, found in after.layers().items():
        product = after.config.scale * found.up @ found.down
        expected = lora_config.scale * layers[name].up @ layers[name].down
        assert (product - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert answer["left"] < 1e-4
    assert answer["outside"] == {}
    assert len(answer["layers"]) == 20


def test_adapters_of_a_run_say_its_recipe_and_their_base(capsys, tiny_run, base_file):
    words = ("--base", base_file, "--rank", "2", "--alpha", "4", "--out", "a.safetensors")
    assert run(["lora", "extract", str(tiny_run), *map(str, words)]) == 0
    said = capsys.readouterr().out
    notes = read_adapter(Path("a.safetensors")).notes

    assert "20 layers at rank 2: " in said
    assert "% of their change is left out, most in blocks." in said
    assert "11 other weights changed too and are in no adapter" in said
    assert (notes.config.alpha, notes.which) == (4.0, "average")
    assert notes.base is not None
    assert notes.base.path == str(base_file)
    assert notes.recipe is not None
    assert notes.recipe["job"]["name"] == "tiny"
    assert set(notes.pieces or {}) == {"tokenizer", "text_encoder"}


def test_a_rank_an_alpha_or_a_target_that_cannot_be_is_told(capsys, base_file):
    words = ("lora", "extract", base_file, "--base", base_file, "--out", "a.safetensors")
    assert "--alpha is -1; expected more than 0" in refused(capsys, *words, "--alpha", "-1")
    assert "rank 99 is more than" in refused(capsys, *words, "--rank", "99")
    assert "did you mean" in refused(capsys, *words, "--targets", "q_prj")


# --- export ---


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "worldtune"])
def test_an_exported_adapter_is_read_again(capsys, adapter_files, form):
    words = ("--to", form, "--out", f"{form}.safetensors", "--dtype", "bfloat16")
    answer = told(capsys, "lora", "export", adapter_files[0], *words)
    before, after = (read_adapter(Path(p)).adapter for p in (adapter_files[0], answer["out"]))

    assert after.config.scale == before.config.scale
    assert all(torch.equal(after.weights[n], w.bfloat16()) for n, w in before.weights.items())


def test_diffusers_may_be_given_a_folder(capsys, adapter_files):
    answer = told(capsys, "lora", "export", adapter_files[0], "--to", "diffusers", "--out", "out")

    assert answer["out"] == "out/pytorch_lora_weights.safetensors"


def test_adapters_are_taken_out_of_the_publishers_file_with_their_alpha(
    capsys, adapter_files, base_file
):
    base = torch.load(base_file, weights_only=True)
    adapter = read_adapter(adapter_files[0]).adapter
    for layer in adapter.layers():
        base[f"net.{layer}.base_layer.weight"] = base.pop(f"net.{layer}.weight")
        for part in ("lora_A", "lora_B"):
            weight = adapter.weights[f"{layer}.{part}.weight"]
            base[f"net.{layer}.{part}.default.weight"] = weight
    torch.save(base, "model.pt")
    words = ("lora", "export", "model.pt", "--to", "worldtune", "--out", "a.safetensors")

    assert "does not say their alpha" in refused(capsys, *words)
    told(capsys, *words, "--alpha", "6")
    assert read_adapter(Path("a.safetensors")).adapter.config == adapter.config


# --- generate ---


def words(**changes):
    from tests.cli.test_generate import words as of_generate

    return of_generate(input=None, **changes)


def test_an_adapter_needs_nothing_typed_again(adapter_files, base_file):
    """Recipe and base are those of its header."""
    plan = make_plan(words(lora=(f"{adapter_files[0]}:0.8",)))

    assert plan.checkpoint.path == base_file
    assert plan.recipe.model.config.lora_rank == 3
    assert plan.recipe.model.config.pipe_config.net.model_channels == 64
    assert [used.weight for used in plan.adapters] == [0.8]


def test_a_base_that_was_drawn_is_drawn_again(tmp_path, adapter_notes, lora_recipe, lora_config):
    base = replace(adapter_notes.base, path=None, seed=5)
    path = tmp_path / "a.safetensors"
    write_adapter(path, made(lora_recipe, lora_config, 1), replace(adapter_notes, base=base))
    plan = make_plan(words(lora=(str(path),)))
    loaded, notices = load_adapted(
        plan.checkpoint, plan.recipe, device="cpu", adapters=plan.adapters
    )

    assert (plan.checkpoint.kind, notices) == ("seed", ())
    assert loaded.report.startswith("random weights of seed 5; with ")


def test_a_base_that_is_named_goes_before_the_header_s(adapter_files, tiny_run, base_file):
    plan = make_plan(words(lora=(str(adapter_files[0]),), checkpoint=tiny_run))
    assert plan.checkpoint.run == tiny_run
    copy = Path("copy.pt")
    copy.write_bytes(base_file.read_bytes())
    plan = make_plan(words(lora=(str(adapter_files[0]),), checkpoint=copy))
    assert plan.checkpoint.path == copy
    assert plan.recipe.model.config.pipe_config.net.model_channels == 64


def test_a_base_that_is_gone_is_told_with_what_to_do(
    tmp_path, adapter_notes, lora_recipe, lora_config
):
    base = replace(adapter_notes.base, path="gone/base.pt")
    path = tmp_path / "a.safetensors"
    write_adapter(path, made(lora_recipe, lora_config, 1), replace(adapter_notes, base=base))
    with pytest.raises(CheckpointError) as error:
        make_plan(words(lora=(str(path),)))

    assert f"{path} was trained on gone/base.pt: " in str(error.value)
    assert str(error.value).endswith("Where the base lies elsewhere, name it with --checkpoint")


def test_an_adapter_of_another_program_needs_its_base_named(capsys, adapter_files):
    told(capsys, "lora", "export", adapter_files[0], "--to", "comfyui", "--out", "c.safetensors")

    with pytest.raises(RecipeError, match="does not say what it was trained with; name its base"):
        make_plan(words(lora=("c.safetensors",)))


def test_an_adapter_in_the_place_of_a_checkpoint_is_told(capsys, adapter_files, image_file):
    said = refused(capsys, "generate", "--checkpoint", adapter_files[0], "--input", image_file,
                   "--prompt", "a", "--out", "c.mp4")  # fmt: skip

    assert "holds no network of this project's (adapters); give adapters with --lora" in said


def test_a_clip_is_made_with_adapters_alone(capsys, adapter_files, image_file):
    adapters = ("--lora", f"{adapter_files[0]}:0.5", "--lora", adapter_files[1])
    clip = ("--input", image_file, "--prompt", "a car", "--out", "clip.mp4", "--steps", "1")
    assert run(["generate", *map(str, (*adapters, *clip))]) == 0

    record = json.loads(Path("clip.json").read_text())
    assert [one["weight"] for one in record["adapters"]] == [0.5, 1.0]
    assert "with " + str(adapter_files[1]) in record["checkpoint"]["loaded"]


# --- settings ---


def test_a_strength_sets_three_values_and_a_value_beside_it_wins(capsys):
    assert run(["show", LORA, "lora=aggressive", "model.config.lora_alpha=8"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "model.config.lora_rank = 32  (lora=aggressive)" in lines
    assert "model.config.lora_alpha = 8.0  (the command line)" in lines
    assert f"optimizer.lr = {2.0**-14}  (lora=aggressive)" in lines
    assert f"model.config.lora_target_modules = '{LORA_TARGETS}'  (experiment '{LORA}')" in lines


def test_a_dry_run_finds_targets_that_match_nothing(capsys):
    words = ("train", f"--experiment={LORA}", "--dryrun",
             "model.config.lora_target_modules='q_proj,o_proj'")  # fmt: skip
    said = refused(capsys, *words)

    assert "model.config.lora_target_modules names 'o_proj', and no linear" in said
    assert said.endswith("or 'output_proj'?\n  (set by the command line)\n")
    assert not Path("checkpoints").exists()

"""Clips with adapters: of a LoRA run, from files, several at once; nothing typed again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.inference.lora_files import drawn, made
from tests.inference.recipes import tiny_recipe
from worldtune.checkpoint import sections
from worldtune.checkpoint.adapters import SavedAdapter, write_adapter
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import NativeModel, write_native
from worldtune.checkpoint.peft_names import named_for_peft
from worldtune.checkpoint.state import write_state
from worldtune.config.files import write_config
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference import pieces
from worldtune.inference.adapted import UsedAdapter, load_adapted, read_used
from worldtune.inference.checkpoints import find_checkpoint, load_network
from worldtune.inference.generate import generate
from worldtune.inference.hooks import Hooks
from worldtune.inference.plan import Plan
from worldtune.inference.request import ClipRequest, Wishes
from worldtune.models.build import build
from worldtune.models.lora import Adapter, add_lora, attach
from worldtune.train.adapters import probe


def expected(lora_recipe, *adapters: tuple[Adapter, float]) -> Tensor:
    network = drawn(lora_recipe)
    if adapters:
        attach(network, adapters)
    return probe(network)


def loaded(path: Path, lora_recipe, *words: str, **how):
    used = tuple(map(read_used, words))
    return load_adapted(find_checkpoint(path), lora_recipe, device="cpu", adapters=used, **how)


# --- which weights ---


@pytest.mark.parametrize(("average", "seed"), [(None, 2), (False, 1), (True, 2)])
def test_a_lora_run_gives_its_adapters_on_its_base(
    lora_run, lora_recipe, lora_config, average, seed
):
    network, notices = loaded(lora_run, lora_recipe, average=average)

    assert torch.equal(
        probe(network.network), expected(lora_recipe, (made(lora_recipe, lora_config, seed), 1.0))
    )
    assert network.which == ("network" if seed == 1 else "average")
    assert "40 of 40 adapter tensors from" in network.report
    assert notices == ()


def test_an_average_that_a_lora_run_does_not_keep_is_told(
    tmp_path, lora_recipe, lora_config, adapter_notes
):
    write_config(tmp_path, lora_recipe)
    info = {sections.ADAPTER: lora_config.to_json(), sections.BASE: adapter_notes.base.to_json()}
    masters = {sections.MASTERS: dict(made(lora_recipe, lora_config, 1).weights)}
    write_state(tmp_path / "checkpoints" / "state", 1, masters, info)

    assert loaded(tmp_path, lora_recipe)[0].which == "network"
    with pytest.raises(CheckpointError, match="keeps no average; leave out --ema"):
        loaded(tmp_path, lora_recipe, average=True)


def test_a_lora_run_whose_base_was_changed_is_refused(lora_run, lora_recipe, base_file, tmp_path):
    other = build(pieces.network_config(lora_recipe), seed=6).state_dict()
    kept = base_file.read_bytes()
    torch.save({f"net.{PREDICT2.to_file(n)}": w for n, w in other.items()}, base_file)
    try:
        with pytest.raises(CheckpointError, match="it is another one, or was changed since"):
            loaded(lora_run, lora_recipe)
    finally:
        base_file.write_bytes(kept)


def test_a_base_that_was_drawn_is_drawn_again(tmp_path, lora_recipe, lora_config):
    write_config(tmp_path, lora_recipe)
    base = Base(fingerprint(drawn(lora_recipe).named_parameters()), seed=5)
    info = {sections.ADAPTER: lora_config.to_json(), sections.BASE: base.to_json()}
    adapter = made(lora_recipe, lora_config, 1)
    write_state(tmp_path / "checkpoints/state", 1, {sections.MASTERS: dict(adapter.weights)}, info)

    network = loaded(tmp_path, lora_recipe)[0]
    assert torch.equal(probe(network.network), expected(lora_recipe, (adapter, 1.0)))
    assert network.report.startswith("random weights of seed 5; ")


def test_adapters_add_up_each_at_its_weight(base_file, lora_recipe, lora_config, adapter_files):
    one, two = adapter_files
    network, _ = loaded(base_file, lora_recipe, f"{one}:0.5", f"{two}:-1")

    both = ((made(lora_recipe, lora_config, 1), 0.5), (made(lora_recipe, lora_config, 2), -1.0))
    assert torch.equal(probe(network.network), expected(lora_recipe, *both))
    assert f"with {one} at weight 0.5 (LoRA, rank 3, alpha 6)" in network.report


def test_adapters_are_added_to_a_lora_runs_own(lora_run, lora_recipe, lora_config, adapter_files):
    network, _ = loaded(lora_run, lora_recipe, str(adapter_files[1]), average=False)

    both = ((made(lora_recipe, lora_config, 1), 1.0), (made(lora_recipe, lora_config, 2), 1.0))
    assert torch.equal(probe(network.network), expected(lora_recipe, *both))


@pytest.mark.parametrize("average", [False, True])
def test_the_publishers_lora_file_of_a_run_is_read_with_the_runs_alpha(
    tmp_path, lora_recipe, lora_config, average
):
    """Its base is bfloat16 beside the network, float32 beside the average."""
    write_config(tmp_path, lora_recipe)
    network = drawn(lora_recipe).bfloat16().float()
    layers = add_lora(network, lora_config, seed=1, as_no_change=False)
    held = {n: w.detach().bfloat16().float() for n, w in network.named_parameters()}
    adapters = {n: w for n, w in held.items() if "lora_" in n}
    of_average = {n: w + 1 for n, w in adapters.items()}
    model = NativeModel(
        PREDICT2, network.config, named_for_peft(held, layers), named_for_peft(of_average, layers)
    )
    write_native(tmp_path / "checkpoints", 3, "model", model)
    got = loaded(tmp_path, lora_recipe, average=average)[0]

    plain = drawn(lora_recipe).bfloat16().float()
    attach(plain, [(Adapter(lora_config, of_average if average else adapters), 1.0)])
    assert torch.equal(probe(got.network), probe(plain))
    with pytest.raises(CheckpointError, match="does not say their alpha"):
        loaded(tmp_path, tiny_recipe())


# --- what is told, and refused ---


def test_another_base_than_in_training_is_told(tmp_path, lora_recipe, adapter_files, adapter_notes):
    other = build(pieces.network_config(lora_recipe), seed=6).state_dict()
    torch.save({f"net.{PREDICT2.to_file(n)}": w for n, w in other.items()}, tmp_path / "other.pt")
    _, notices = loaded(tmp_path / "other.pt", lora_recipe, str(adapter_files[0]))

    base = adapter_notes.base
    assert (
        f"{adapter_files[0]} was trained on {base} (fingerprint {base.fingerprint})" in (notices[0])
    )


def test_an_adapter_that_changes_nothing_is_told(
    tmp_path, base_file, lora_recipe, lora_config, adapter_notes
):
    weights = {
        n: torch.zeros_like(w) if "lora_B" in n else w
        for n, w in made(lora_recipe, lora_config, 1).weights.items()
    }
    write_adapter(tmp_path / "a.safetensors", Adapter(lora_config, weights), adapter_notes)
    _, notices = loaded(base_file, lora_recipe, str(tmp_path / "a.safetensors"))

    assert notices == (f"{tmp_path / 'a.safetensors'} changes nothing: its B is 0 everywhere",)


def test_a_weight_that_is_no_number_is_told(adapter_files):
    with pytest.raises(RecipeError, match=r"'strong' is no number; expected FILE or FILE:WEIGHT"):
        read_used(f"{adapter_files[0]}:strong")
    with pytest.raises(CheckpointError, match="is not there"):
        read_used(f"{adapter_files[0]}x:0.5")


def test_a_file_may_have_a_colon_in_its_name(tmp_path, adapter_files):
    path = tmp_path / "a:1.safetensors"
    path.write_bytes(adapter_files[0].read_bytes())

    assert (read_used(str(path)).weight, read_used(f"{path}:2").weight) == (1.0, 2.0)


def test_adapters_alone_are_no_whole_weights(lora_run, lora_recipe):
    with pytest.raises(CheckpointError, match="holds adapters without their base; merge them"):
        load_network(find_checkpoint(lora_run), lora_recipe, device="cpu")


# --- a clip ---


def test_a_clip_says_which_adapters_made_it(
    tmp_path, base_file, lora_recipe, adapter_files, image_file
):
    plan = Plan(
        checkpoint=find_checkpoint(base_file),
        recipe=lora_recipe,
        requests=(ClipRequest("a car", tmp_path / "clip.mp4", image_file),),
        wishes=Wishes(steps=1),
        size=(32, 48),
        hooks=Hooks(),
        device=torch.device("cpu"),
        adapters=(read_used(f"{adapter_files[0]}:0.5"),),
    )
    generate(plan, Console(quiet=True))
    record = json.loads((tmp_path / "clip.json").read_text())

    (told,) = record["adapters"]
    assert (told["path"], told["weight"], told["rank"]) == (str(adapter_files[0]), 0.5, 3)
    assert len(told["sha256"]) == 64


def test_adapters_of_another_tokenizer_are_refused(
    tmp_path, base_file, lora_recipe, lora_config, adapter_notes, image_file
):
    other = {"tokenizer": {"name": "wan", "fingerprint": "00"}}
    saved = SavedAdapter(
        tmp_path / "a.safetensors",
        replace(adapter_notes, pieces=other),
        made(lora_recipe, lora_config, 1),
    )
    plan = Plan(
        checkpoint=find_checkpoint(base_file),
        recipe=lora_recipe,
        requests=(ClipRequest("a car", tmp_path / "clip.mp4", image_file),),
        wishes=Wishes(steps=1),
        size=(32, 48),
        hooks=Hooks(),
        device=torch.device("cpu"),
        adapters=(UsedAdapter(saved),),
    )
    with pytest.raises(CheckpointError, match=r"a\.safetensors was trained with wan"):
        generate(plan, Console(quiet=True))

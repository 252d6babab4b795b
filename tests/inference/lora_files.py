"""A base, adapters for it, and a LoRA run's folder, all tiny, on the disk."""

from pathlib import Path

import pytest
import torch

from tests.inference.recipes import tiny_recipe
from worldtune.checkpoint import sections
from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import write_adapter
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.state import write_state
from worldtune.config.files import write_config
from worldtune.inference import pieces
from worldtune.models.build import build
from worldtune.models.lora import Adapter, adapter_weights, add_lora
from worldtune.models.lora_config import LoraConfig
from worldtune.models.transformer import Transformer

LORA = {"train_architecture": "lora", "lora_rank": 3, "lora_alpha": 6.0}


@pytest.fixture(scope="session")
def lora_recipe():
    return tiny_recipe(**LORA)


@pytest.fixture(scope="session")
def lora_config(lora_recipe) -> LoraConfig:
    found = pieces.adapter_config(lora_recipe)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def base_file(tmp_path_factory, lora_recipe) -> Path:
    """A file of whole weights, as a base is given."""
    weights = {f"net.{PREDICT2.to_file(n)}": w for n, w in drawn(lora_recipe).state_dict().items()}
    path = tmp_path_factory.mktemp("base") / "base.pt"
    torch.save(weights, path)
    return path


def drawn(recipe) -> Transformer:
    return build(pieces.network_config(recipe), seed=5)


def made(recipe, config: LoraConfig, seed: int) -> Adapter:
    """Adapters as they are in the middle of a run."""
    network = drawn(recipe)
    add_lora(network, config, seed=seed, as_no_change=False)
    return Adapter(config, {n: w.detach() for n, w in adapter_weights(network).items()})


@pytest.fixture(scope="session")
def adapter_notes(lora_recipe, lora_config, base_file) -> AdapterNotes:
    base = Base(fingerprint(drawn(lora_recipe).named_parameters()), str(base_file))
    settings = tiny_recipe(
        **LORA, fresh_weights=False, model_manager_config={"dit_path": str(base_file)}
    )
    return AdapterNotes(
        config=lora_config, family="predict2", base=base, recipe=settings.model_dump(mode="json")
    )


@pytest.fixture(scope="session")
def adapter_files(tmp_path_factory, lora_recipe, lora_config, adapter_notes) -> tuple[Path, Path]:
    """Two adapters for the same base."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed, name in ((1, "one"), (2, "two")):
        write_adapter(
            folder / f"{name}.safetensors", made(lora_recipe, lora_config, seed), adapter_notes
        )
    return folder / "one.safetensors", folder / "two.safetensors"


@pytest.fixture(scope="session")
def lora_run(tmp_path_factory, lora_recipe, lora_config, adapter_notes) -> Path:
    """A LoRA run's folder: a state of adapters and of their average."""
    run = tmp_path_factory.mktemp("runs") / "lora"
    write_config(run, lora_recipe)
    weights = {
        section: dict(made(lora_recipe, lora_config, seed).weights)
        for section, seed in ((sections.MASTERS, 1), (sections.AVERAGE, 2))
    }
    info = {sections.ADAPTER: lora_config.to_json(), sections.BASE: adapter_notes.base.to_json()}
    write_state(run / "checkpoints" / "state", 7, weights, info)
    return run

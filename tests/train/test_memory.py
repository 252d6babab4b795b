"""Running out of memory is told with what was held and what lowers it."""

from pathlib import Path

import pytest
import torch

from tests.train.tiny import STEPS_ONLY, Tiny, tiny
from worldtune.config.compose import compose
from worldtune.errors import ExitStatus, RunError
from worldtune.models.transformer import Transformer
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train.memory import explain_out_of_memory
from worldtune.train.setup import memory_remedies

FULL = "predict2_video2world_training_2b_its"
LORA = "predict2_video2world_lora_training_2b_its"
CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: 9 GB"
FAULTS = {
    "of a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore"),
    "of torch on a CPU": RuntimeError(CPU_MESSAGE),
    "of Python": MemoryError(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_names_what_was_held_and_three_settings(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch, fault: str
):
    error = FAULTS[fault]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Transformer, "forward", fail)
    with pytest.raises(RunError) as told:
        runs.run("large", *STEPS_ONLY, "model.config.precision=bfloat16")

    message = str(told.value)
    reason = str(error).splitlines()[0] if str(error) else "MemoryError"
    assert message.startswith(f"out of memory ({reason}). Held beside activations: weights ")
    for what in ("weights", "float32 masters", "gradients", "AdamW moments", "average"):
        assert f"{what} " in message
    assert message.endswith(
        "What lowers it: model.config.train_architecture=lora; "
        "model.config.pipe_config.net.sac_config.mode=block_wise; "
        "dataloader_train.dataset.video_size=[16,16]"
    )
    assert told.value.exit_status == ExitStatus.FAILED == 1


def test_what_is_held_is_counted_to_the_byte(clips: Path):
    """In bfloat16, by parameter: 2 of its own, 4 of master, gradient, average, 8 of moments."""
    from worldtune.inference.pieces import build_tokenizer, network_config, network_dtype
    from worldtune.models.build import build
    from worldtune.train.setup import build_learner

    recipe = tiny(clips, "model.config.precision=bfloat16").recipe
    network = build(network_config(recipe), dtype=network_dtype(recipe), seed=0)
    count = sum(parameter.numel() for parameter in network.parameters())
    held = build_learner(recipe, network, build_tokenizer(recipe)).bytes_held()

    assert held == {
        "weights": 2 * count,
        "float32 masters": 4 * count,
        "gradients": 4 * count,
        "AdamW moments": 8 * count,
        "average": 4 * count,
    }


def test_it_is_told_during_the_set_up_too(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    from worldtune.train import run as module

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "start_network", fail)
    with pytest.raises(RunError) as told:
        runs.run("large", *STEPS_ONLY)
    assert "The run was still being set up. What lowers it: " in str(told.value)


def test_another_fault_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory(()):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        (FULL, ("dataloader_train.batch_size=4",)),
        (LORA, ()),
        (LORA, ("model.config.pipe_config.net.sac_config.mode=block_wise",)),
        ("predict2_video2world_training_tiny", ()),
    ],
)
def test_each_remedy_is_a_word_that_the_command_takes(experiment: str, words: tuple[str, ...]):
    recipe = compose(PREDICT2, experiment, words, environment={}).recipe
    remedies = memory_remedies(recipe)

    assert len(remedies) >= 3
    for remedy in remedies:
        better = compose(PREDICT2, experiment, [*words, *remedy.split()], environment={}).recipe
        assert better != recipe, remedy

"""The published sizes over many processes, without any memory: each holds its share."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.multi.forked import in_a_process_of_its_own
from worldtune.config.compose import compose
from worldtune.inference.pieces import adapter_config, network_config
from worldtune.models.lora import add_lora
from worldtune.models.transformer import Transformer
from worldtune.parallel.apply import HowToRun, spread
from worldtune.parallel.layout import choose_layout, wanted_by
from worldtune.parallel.mesh import ProcessMesh
from worldtune.parallel.pieces import Pieces
from worldtune.recipes.predict2 import PREDICT2

FULL = "predict2_video2world_training_{}_its"
LORA = "predict2_video2world_lora_training_{}_its"
TENSOR = "model_parallel.tensor_model_parallel_size=8"
SEQUENCE = "model_parallel.sequence_parallel=True"

pytestmark = pytest.mark.multi


def held_by_each(experiment: str, world: int, words: tuple[str, ...]) -> dict[str, Any]:
    """Weights of the whole network, and how many the fullest and the emptiest rank hold."""
    recipe = compose(PREDICT2, experiment, list(words), environment={}).recipe
    layout, mistakes = choose_layout(wanted_by(recipe), world)
    assert mistakes == []
    counts, trained = [], []
    for rank in {0, 1, world // 2, world - 1}:
        dist.init_process_group("fake", rank=rank, world_size=world)
        with torch.device("meta"):
            network = Transformer(network_config(recipe))
        whole = sum(weight.numel() for weight in network.parameters())
        adapters = adapter_config(recipe)
        if adapters is not None:
            add_lora(network, adapters, seed=0)
        spread(network, ProcessMesh(layout, rank), HowToRun())
        held = Pieces(network, ProcessMesh(layout, rank)).held
        counts.append(sum(weight.numel() for weight in held.values()))
        names = {name for name, weight in network.named_parameters() if weight.requires_grad}
        trained.append(sum(held[name].numel() for name in names))
        dist.destroy_process_group()
    return {"whole": whole, "most": max(counts), "least": min(counts), "trained": max(trained)}


@pytest.mark.parametrize(
    ("experiment", "world", "words", "shares"),
    [
        (FULL.format("2b"), 8, (), 8),
        (FULL.format("2b"), 16, (), 8),  # two replicas of eight
        (FULL.format("14b"), 32, (), 32),
        (FULL.format("2b"), 16, (TENSOR, SEQUENCE), 16),
    ],
)
def test_weights_are_shared_out_evenly(
    experiment: str, world: int, words: tuple[str, ...], shares: int
):
    told = in_a_process_of_its_own(held_by_each, experiment, world, words)

    assert told["trained"] == told["most"]
    assert told["least"] >= 0.97 * told["most"]
    if TENSOR not in words:
        assert told["most"] == pytest.approx(told["whole"] / shares, rel=0.01)


def test_adapters_are_shared_out_with_their_base():
    told = in_a_process_of_its_own(held_by_each, LORA.format("2b"), 8, ())

    assert told["trained"] == pytest.approx(45_875_200 / 2 / 8, rel=0.01)
    assert told["most"] == pytest.approx((told["whole"] + 45_875_200 / 2) / 8, rel=0.01)

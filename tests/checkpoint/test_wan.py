"""The published file of the Wan tokenizer."""

import pytest
import torch

from worldtune.checkpoint.wan import load_wan_tokenizer
from worldtune.errors import CheckpointError
from worldtune.models.wan_tokenizer import WanSizes, WanTokenizer, expected_weights

TINY = WanSizes(base_dim=2, dim_mult=(1, 1, 1, 1), num_res_blocks=1)


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator)
        for name, shape in expected_weights(TINY).items()
    }


def test_a_torch_file_gives_the_tokenizer_of_its_weights(weights, tmp_path):
    torch.save(weights, tmp_path / "tokenizer.pth")

    loaded = load_wan_tokenizer(tmp_path / "tokenizer.pth", sizes=TINY)
    assert loaded.fingerprint() == WanTokenizer(weights, TINY).fingerprint()


def test_a_file_of_other_names_is_refused_by_its_path(weights, tmp_path):
    weights["encoder.conv_in.bias"] = weights.pop("encoder.conv1.bias")
    torch.save(weights, tmp_path / "renamed.pth")

    with pytest.raises(CheckpointError, match=r"(?s)renamed\.pth: .*missing: encoder\.conv1\.bias"):
        load_wan_tokenizer(tmp_path / "renamed.pth", sizes=TINY)


def test_a_file_that_is_not_there_names_the_command_that_fetches_it(tmp_path):
    folder = tmp_path / "nvidia" / "Cosmos-Predict2-2B-Video2World" / "tokenizer"
    with pytest.raises(CheckpointError, match="hf download nvidia/Cosmos-Predict2-2B-Video2World"):
        load_wan_tokenizer(folder / "tokenizer.pth")

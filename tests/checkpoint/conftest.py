"""Small networks and their files, as the publishers would write them."""

import pytest
import torch
from torch import Tensor

from worldtune.checkpoint.names import PREDICT2, TRANSFER1, NameTable
from worldtune.models.config import TransformerConfig
from worldtune.models.transformer import Transformer

PREDICT2_TINY = TransformerConfig(
    model_channels=32,
    num_blocks=2,
    num_heads=2,
    text_channels=16,
    adaln_lora_dim=8,
    max_img_h=16,
    max_img_w=16,
    max_frames=8,
    condition_mask=True,
    family="predict2",
)
TRANSFER1_TINY = TransformerConfig(
    model_channels=32,
    num_blocks=2,
    num_heads=2,
    text_channels=16,
    adaln_lora_dim=8,
    max_img_h=16,
    max_img_w=16,
    max_frames=8,
    rope_fps_modulation=True,
    position_table="learned",
    family="transfer1",
)


class Maker:
    """One family's tiny network and the entries of its published file."""

    def __init__(self, config: TransformerConfig, table: NameTable) -> None:
        self.config, self.table = config, table

    def network(self, seed: int = 0) -> Transformer:
        """Every weight random, so that no two are alike."""
        network = Transformer(self.config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(generator=generator)
        return network

    def on_meta(self) -> Transformer:
        with torch.device("meta"):
            return Transformer(self.config)

    def entries(self, network: Transformer, prefix: str = "net.") -> dict[str, Tensor]:
        """The published names of a network's weights, and the entries that are rebuilt."""
        weights = {self.table.to_file(name): w for name, w in network.state_dict().items()}
        assert None not in weights
        every = weights | self.table.rebuilt(self.config)
        return {f"{prefix}{name}": tensor for name, tensor in every.items()}


@pytest.fixture
def predict2() -> Maker:
    return Maker(PREDICT2_TINY, PREDICT2)


@pytest.fixture
def transfer1() -> Maker:
    return Maker(TRANSFER1_TINY, TRANSFER1)


@pytest.fixture(params=["predict2", "transfer1"])
def family(request: pytest.FixtureRequest) -> Maker:
    return request.getfixturevalue(request.param)

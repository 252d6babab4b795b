"""Networks with every weight random, and inputs for them."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from worldtune.models.config import TransformerConfig

Network = TypeVar("Network", bound=nn.Module)


def randomise(network: Network, seed: int = 0) -> Network:
    """Give every weight a random value, also those that are 0 or 1 in a fresh network."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            values = torch.randn(weight.shape, generator=draw)
            size = 0.5 if weight.ndim == 1 else weight.shape[-1] ** -0.5
            weight.copy_(values * size + float(name.endswith("norm.weight")))
    return network


def inputs(
    config: TransformerConfig,
    *,
    batch: int = 2,
    frames: int = 2,
    rows: int = 4,
    columns: int = 6,
    tokens: int = 3,
    seed: int = 1,
) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
    """Latents, time and text, and all conditions that the network has; frames of one camera."""
    draw = torch.Generator().manual_seed(seed)
    views = config.num_views
    size = (frames * views, rows, columns)
    latents = torch.randn(batch, config.latent_channels, *size, generator=draw)
    time = torch.rand(batch, frames * views // config.patch_temporal, generator=draw)
    width = config.text_input_channels or config.text_channels
    text = torch.randn(batch, tokens * views, width, generator=draw)
    told: dict[str, Any] = {"fps": torch.tensor([16.0, 24.0, 10.0, 30.0])[:batch]}
    if config.condition_mask:
        told["condition_mask"] = torch.rand(batch, 1, *size, generator=draw).round()
    if config.padding_mask:
        pixels = (8 * rows, 8 * columns)
        told["padding_mask"] = torch.rand(batch, 1, *pixels, generator=draw).round()
    if config.view_channels:
        most = config.num_view_embeddings + 2
        told["view_indices"] = torch.randint(most, (batch, size[0]), generator=draw)
        told["frame_repeat"] = torch.rand(batch, views, generator=draw)
    return (latents, time, text), told

"""Open the published file of the Wan tokenizer, `tokenizer/tokenizer.pth`."""

from pathlib import Path

import torch

from worldtune.checkpoint.reader import open_weights
from worldtune.errors import CheckpointError
from worldtune.models.wan_tokenizer import PUBLISHED, WanSizes, WanTokenizer, check_weights


def load_wan_tokenizer(
    path: str | Path,
    *,
    sizes: WanSizes = PUBLISHED,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WanTokenizer:
    """Give the tokenizer whose weights, under their published names, are in the file.

    Names and shapes are checked before any weight is read.
    Errors: CheckpointError where the file is not there, is damaged or is not this network's;
    RecipeError where the extra `worldtune[cosmos]` is not installed.
    """
    with open_weights(path) as file:
        try:
            check_weights({name: entry.shape for name, entry in file.entries.items()}, sizes)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
        weights = {name: file.read(name) for name in file.entries}
        return WanTokenizer(weights, sizes, device=device, dtype=dtype)

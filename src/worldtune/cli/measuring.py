"""The work of `worldtune measure`: a network with its weights, scored on folders of clips."""

from dataclasses import dataclass
from pathlib import Path

import torch

from worldtune.cli.generate_model import find_model
from worldtune.cli.generate_words import Words
from worldtune.cli.generating import find_device
from worldtune.config.predict2 import Predict2Recipe
from worldtune.inference.checkpoints import check_pieces, load_network
from worldtune.inference.pieces import build_tokenizer
from worldtune.parallel.mesh import ALONE
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.setup import loss_settings
from worldtune.train.share import encode_pass
from worldtune.train.sources import find_clips
from worldtune.train.validation import band_losses


@dataclass(frozen=True)
class MeasuredModel:
    """A network that can be scored; `report` is one line about its weights."""

    recipe: Predict2Recipe
    clip_loss: ClipLoss
    report: str


def read_model(words: Words) -> MeasuredModel:
    """Find and load what the words say. Errors: WorldtuneError with the next step."""
    recipe, checkpoint = find_model(words)
    device = find_device(words.device)
    tokenizer = build_tokenizer(recipe, device=device)
    check_pieces(checkpoint, {"tokenizer": (tokenizer.name, tokenizer.fingerprint())})
    loaded = load_network(checkpoint, recipe, device=device, average=words.average)
    clip_loss = ClipLoss(loaded.network, tokenizer, loss_settings(recipe))
    return MeasuredModel(recipe, clip_loss, loaded.report)


@torch.no_grad()
def losses_of(model: MeasuredModel, folder: Path) -> tuple[dict[str, float], int]:
    """Mean loss ("mean") and that of each band of noise levels, and how many clips there are.

    The clips are read as the recipe reads its own held-out ones; all of them count.
    Errors: DataError for clips that cannot be used.
    """
    ours = model.recipe
    loader = ours.dataloader_val or ours.dataloader_train
    dataset = loader.dataset.model_copy(update={"dataset_dir": str(folder), "mix": None})
    alone = {"dataset": dataset, "batch_size": 1, "drop_last": False, "num_workers": 0}
    settings = loader.model_copy(update=alone)
    data = find_clips(ours, settings, model.clip_loss.tokenizer, held_out=True)
    device = next(model.clip_loss.network.parameters()).device
    clips = encode_pass(data, None, model.clip_loss, ALONE, device)
    return band_losses(model.clip_loss, clips), sum(len(held.batch) for held in clips)

"""A tiny run on the disk, as training leaves it, and inputs to go on from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.inference.recipes import tiny_recipe
from worldtune.checkpoint import sections
from worldtune.checkpoint.state import write_state
from worldtune.config.files import write_config
from worldtune.data.video import write_video
from worldtune.inference import pieces
from worldtune.models.build import build


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A run of a random tiny network, saved at iteration 7 with an average that differs."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = tiny_recipe()
    write_config(folder, recipe)
    weights = {
        section: build(pieces.network_config(recipe), seed=seed).state_dict()
        for section, seed in ((sections.MASTERS, 1), (sections.AVERAGE, 2))
    }
    tokenizer, text = pieces.build_tokenizer(recipe), pieces.build_text_encoder(recipe)
    info = {
        sections.TOKENIZER: {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint()},
        sections.TEXT_ENCODER: {"name": text.name, "fingerprint": text.fingerprint()},
    }
    write_state(folder / "checkpoints" / "state", 7, weights, info)
    return folder


def picture(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards, blue is a square in the top left quarter."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    image[: height // 4, : width // 4, 2] = 255
    return image


@pytest.fixture(scope="session")
def image_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "scene.png"
    Image.fromarray(picture(40, 80)).save(path)
    return path


@pytest.fixture(scope="session")
def video_file(tmp_path_factory) -> Path:
    """12 frames of 40x80, each brighter than the one before."""
    path = tmp_path_factory.mktemp("inputs") / "scene.mp4"
    frames = torch.stack([torch.full((40, 80, 3), 20 * k, dtype=torch.uint8) for k in range(12)])
    write_video(path, frames, 10.0, crf=0)
    return path

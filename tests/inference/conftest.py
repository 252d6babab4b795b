"""The fixtures of this room's tests."""

from tests.inference.fixtures import image_file, tiny_run, video_file
from tests.inference.lora_files import (
    adapter_files,
    adapter_notes,
    base_file,
    lora_config,
    lora_recipe,
    lora_run,
)

__all__ = [
    "adapter_files",
    "adapter_notes",
    "base_file",
    "image_file",
    "lora_config",
    "lora_recipe",
    "lora_run",
    "tiny_run",
    "video_file",
]

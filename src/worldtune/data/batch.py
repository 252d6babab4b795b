"""What the loader gives: one clip as an item, a step's clips as a batch.

Dims: b clips, t frames, h and w pixels, n text tokens, d their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Item:
    """One window of one clip."""

    video: UInt8[Tensor, "3 t h w"]  # 0 to 255
    text: Float[Tensor, "n d"]
    fps: float
    caption: str  # empty where only an embedding is known
    name: str
    index: int  # place in the run's global order


@dataclass(frozen=True)
class Batch:
    """The clips of one forward pass, on one device.

    Clips that are encoded already have latents; their video has no frames.
    """

    video: UInt8[Tensor, "b 3 t h w"]  # 0 to 255; to_model_range gives -1 to 1
    text: Float[Tensor, "b n d"]
    fps: Float[Tensor, " b"]
    index: Int64[Tensor, " b"]  # places in the run's global order
    padding_mask: Float[Tensor, "b 1 h w"]  # 1 on padded pixels; no clip is padded here
    names: tuple[str, ...]
    captions: tuple[str, ...]
    latents: Float[Tensor, "b c l y x"] | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.names)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Return the batch with its tensors on another device."""
        return replace(
            self,
            **{
                name: tensor.to(device, non_blocking=non_blocking)
                for name, tensor in self.tensors().items()
            },
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; torch's loader calls this by name."""
        return replace(self, **{name: t.pin_memory() for name, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def collate(items: Sequence[Item]) -> Batch:
    """Lay items of one size side by side."""
    height, width = items[0].video.shape[-2:]
    return Batch(
        video=torch.stack([item.video for item in items]),
        text=torch.stack([item.text for item in items]),
        fps=torch.tensor([item.fps for item in items], dtype=torch.float32),
        index=torch.tensor([item.index for item in items], dtype=torch.int64),
        padding_mask=torch.zeros(len(items), 1, height, width),
        names=tuple(item.name for item in items),
        captions=tuple(item.caption for item in items),
    )


def to_model_range(video: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map pixels 0 to 255 to float32 -1 to 1.

    Source: Cosmos-Predict2, uint8 / 127.5 - 1.
    """
    return video.to(torch.float32) / 127.5 - 1

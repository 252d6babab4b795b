"""What a transformer is made of: sizes and switches, without torch."""

from dataclasses import dataclass
from typing import Literal

from worldtune.errors import RecipeError

Family = Literal["predict2", "transfer1"]
PositionTable = Literal["none", "learned", "sincos"]

# Six angles' worth of channels, so that each spatial axis gets at least four and the
# exponent d / (d - 2) of its stretch is finite.
SMALLEST_HEAD = 12


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes and switches of the one network.

    Sizes of the grid (`max_*`) are in latents, before patching. The input's channels are
    stacked as latent, condition mask, padding mask, view.

    Raises RecipeError when the sizes do not fit one another; all mistakes are told at once.
    """

    model_channels: int
    num_blocks: int
    num_heads: int
    mlp_ratio: float = 4.0
    text_channels: int = 1024
    text_input_channels: int | None = None  # None: text comes at text_channels already
    adaln_lora_dim: int = 256

    latent_channels: int = 16
    out_channels: int = 16
    patch_spatial: int = 2
    patch_temporal: int = 1
    max_img_h: int = 240
    max_img_w: int = 240
    max_frames: int = 128

    condition_mask: bool = False
    padding_mask: bool = True
    view_channels: int = 0  # 0: the network does not tell cameras apart
    num_view_embeddings: int = 0
    repeat_frame_embedding: bool = False
    num_views: int = 1

    rope_ratio_h: float = 1.0
    rope_ratio_w: float = 1.0
    rope_ratio_t: float = 1.0
    rope_fps_modulation: bool = False
    position_table: PositionTable = "none"

    family: Family = "predict2"  # decides how fresh weights are drawn, and nothing else

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit one another."""
        mistakes = _mistakes(self)
        if mistakes:
            raise RecipeError("\n".join(mistakes))

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.model_channels // self.num_heads

    @property
    def mlp_channels(self) -> int:
        """Width inside the MLP."""
        return int(self.model_channels * self.mlp_ratio)

    @property
    def input_channels(self) -> int:
        """Channels of the stacked input, before patching."""
        masks = int(self.condition_mask) + int(self.padding_mask)
        return self.latent_channels + masks + self.view_channels

    @property
    def patch_volume(self) -> int:
        """Latent pixels in a patch."""
        return self.patch_temporal * self.patch_spatial**2

    @property
    def max_grid(self) -> tuple[int, int, int]:
        """Largest token grid (frames, rows, columns) that has positions, for each view."""
        return (
            self.max_frames // self.patch_temporal,
            self.max_img_h // self.patch_spatial,
            self.max_img_w // self.patch_spatial,
        )


def _mistakes(config: TransformerConfig) -> list[str]:
    """Every reason why these sizes cannot make a network."""
    counts = ("model_channels", "num_blocks", "num_heads", "text_channels", "adaln_lora_dim")
    counts += ("latent_channels", "out_channels", "patch_spatial", "patch_temporal")
    counts += ("max_img_h", "max_img_w", "max_frames", "num_views")
    sizes = {name: getattr(config, name) for name in counts}
    found = [f"{name} is {n}; it must be 1 or more." for name, n in sizes.items() if n < 1]
    ratios = ("mlp_ratio", "rope_ratio_h", "rope_ratio_w", "rope_ratio_t")
    scales = {name: getattr(config, name) for name in ratios}
    found += [f"{name} is {x}; it must be more than 0." for name, x in scales.items() if not x > 0]
    if found:
        return found
    if config.model_channels % config.num_heads:
        found.append(
            f"model_channels {config.model_channels} does not divide into num_heads "
            f"{config.num_heads}; choose a width that is a multiple of the heads."
        )
    elif config.head_dim % 2 or config.head_dim < SMALLEST_HEAD:
        found.append(
            f"model_channels / num_heads is {config.head_dim}; rotary positions need an even "
            f"head of {SMALLEST_HEAD} or more."
        )
    if config.view_channels and config.num_view_embeddings < 1:
        found.append("view_channels needs num_view_embeddings: the rows to choose from.")
    if config.repeat_frame_embedding and not config.view_channels:
        found.append("repeat_frame_embedding is added to the view channels; set view_channels.")
    return found

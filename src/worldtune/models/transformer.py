"""The transformer of both families; its switches are in `config.py`.

Module names are those of Predict2's published weights. Several cameras lie behind one
another on the time axis, the first camera's frames first.

Legend: B batch, C channels, T frames (of all cameras), H rows, W columns (lower case: in
tokens), N text tokens, D width, E = 3 D, V cameras.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from worldtune.models.block import Block, FinalLayer
from worldtune.models.config import TransformerConfig
from worldtune.models.embeddings import (
    PatchEmbedder,
    TimeEmbedder,
    unpatch,
    view_embedding,
)
from worldtune.models.inputs import (
    Conditions,
    cameras_told,
    captions,
    frame_times,
    stack_channels,
    token_grid,
)
from worldtune.models.norms import RMSNorm
from worldtune.models.positions import FrameShare, LearnedTable, Rotations, sincos_table
from worldtune.models.rope import Rotation

BehindBlock = Callable[[int, Tensor], Tensor]


class Prepared(NamedTuple):
    """What the blocks work on, and what all of them read."""

    tokens: Float[Tensor, "b t h w d"]
    time: Float[Tensor, "b t_or_1 d"]
    offsets: Float[Tensor, "b t_or_1 e"]
    text: Float[Tensor, "bv n c"]
    rotation: Rotation
    table: Float[Tensor, "t_view h w d"] | None


class Trunk(nn.Module):
    """All weights, and the way through the blocks: what a base and a control branch share."""

    def __init__(self, config: TransformerConfig) -> None:
        """Modules with torch's own first weights; `build` draws those of the family."""
        super().__init__()
        self.config = config
        self.x_embedder = PatchEmbedder(config, config.input_channels)
        self.t_embedder = TimeEmbedder(config.model_channels)
        # Its input are the waves of the time, not the offsets made of them.
        self.t_embedding_norm = RMSNorm(config.model_channels)
        if config.text_input_channels is not None:
            projection = nn.Linear(config.text_input_channels, config.text_channels)
            self.crossattn_proj = nn.Sequential(projection, nn.GELU())
        if config.position_table == "learned":
            self.extra_pos_embedder = LearnedTable(config)
        if config.view_channels:
            self.view_embeddings = nn.Embedding(config.num_view_embeddings, config.view_channels)
        if config.repeat_frame_embedding:
            self.repeat_frame_embedding = nn.Linear(1, config.view_channels)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.final_layer = FinalLayer(config)
        self.rotations = Rotations(config)
        # Set by whatever cuts the frames over several processes.
        self.frame_share = FrameShare()
        # Set by whatever keeps the weights in another dtype than that of the computation.
        self.compute_dtype: torch.dtype | None = None

    def prepare(
        self,
        latents_BCTHW: Float[Tensor, "b c t h w"],
        time_BT: Float[Tensor, "b ..."],
        text_BND: Float[Tensor, "_ n c_text"],
        told: Conditions,
    ) -> Prepared:
        """Everything before the first block."""
        config, dtype = self.config, self.dtype
        grid = token_grid(config, latents_BCTHW, self.frame_share.total)
        times = frame_times(time_BT, grid[0] * config.num_views, len(latents_BCTHW))
        text = captions(config, text_BND, len(latents_BCTHW)).to(dtype)
        if config.text_input_channels is not None:
            text = self.crossattn_proj(text)

        stacked = stack_channels(config, latents_BCTHW, told, self._views(latents_BCTHW, told))
        wave, offsets = self.t_embedder(times, dtype)
        return Prepared(
            tokens=self.x_embedder(stacked.to(dtype)),
            time=self.t_embedding_norm(wave),
            offsets=offsets,
            text=text,
            rotation=self.rotations(grid, told.fps, self.frame_share, latents_BCTHW.device),
            table=self._table(grid),
        )

    def run_blocks(
        self, prepared: Prepared, behind_block: BehindBlock | None = None
    ) -> Float[Tensor, "b t h w d"]:
        """All blocks in turn, each after the position table is added (where there is one)."""
        x_BTHWD, time, offsets, text, rotation, table = prepared
        for number, block in enumerate(self.blocks):
            if table is not None:
                # By camera, so that the table is not laid out once for each.
                x_BTHWD = (x_BTHWD.unflatten(1, (-1, len(table))) + table).flatten(1, 2)
            x_BTHWD = block(x_BTHWD, time, offsets, text, rotation)
            if behind_block is not None:
                x_BTHWD = behind_block(number, x_BTHWD)
        return x_BTHWD

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the network runs: the weights', unless they are kept in another."""
        return self.compute_dtype or self.t_embedding_norm.weight.dtype

    def _table(self, grid: tuple[int, int, int]) -> Tensor | None:
        """One camera's position table."""
        match self.config.position_table:
            case "learned":
                return self.extra_pos_embedder(grid, self.frame_share)
            case "sincos":
                device = self.t_embedding_norm.weight.device
                width = self.config.model_channels
                return sincos_table(width, grid, self.frame_share, device).to(self.dtype)
            case "none":
                return None

    def _views(self, latents_BCTHW: Tensor, told: Conditions) -> Tensor | None:
        """The channels that tell the cameras apart, or None for a network without them."""
        cameras = cameras_told(self.config, latents_BCTHW, told)
        if cameras is None:
            return None
        repeat = self.repeat_frame_embedding if self.config.repeat_frame_embedding else None
        return view_embedding(self.view_embeddings, repeat, *cameras)


class Transformer(Trunk):
    """Latents, time and text in; latents out."""

    def forward(
        self,
        latents_BCTHW: Float[Tensor, "b c t h w"],
        time_BT: Float[Tensor, "b ..."],
        text_BND: Float[Tensor, "_ n c_text"],
        *,
        condition_mask: Shaped[Tensor, "_ 1 _ _ _"] | None = None,
        padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None = None,
        fps: Shaped[Tensor, "b"] | None = None,
        view_indices: Shaped[Tensor, "_ _"] | None = None,
        frame_repeat: Shaped[Tensor, "_ _"] | None = None,
        behind_block: BehindBlock | None = None,
    ) -> Float[Tensor, "b c_out t h w"]:
        """Run the network in its weights' dtype; the output comes in that of the latents.

        The time is one for a sample ([B] or [B,1]) or one for each frame ([B,T]). With
        several cameras, their equally long captions follow one another in the text. The
        keywords are those of `Conditions`. `behind_block` is called with the number of a
        block and its output, and yields what the next one gets.

        Raises RecipeError where the inputs do not fit the network.
        """
        told = Conditions(condition_mask, padding_mask, fps, view_indices, frame_repeat)
        prepared = self.prepare(latents_BCTHW, time_BT, text_BND, told)
        x_BTHWD = self.run_blocks(prepared, behind_block)
        patches = self.final_layer(x_BTHWD, prepared.time, prepared.offsets)
        out = unpatch(patches, self.config.patch_spatial, self.config.patch_temporal)
        return out.to(latents_BCTHW.dtype)

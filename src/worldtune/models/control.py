"""A control branch: a short transformer that steers a base by a hint, such as an HD map.

It runs on the same noisy latents as its base, adds the hint behind its first block, and
yields one residual per block, which the base adds behind its own block of the same
number. No residual depends on the base, so the branch may run first.

Legend: B batch, C channels, T frames (of all cameras), H rows, W columns (lower case: in
tokens), D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.embeddings import PatchEmbedder
from worldtune.models.inputs import Conditions, padding_channel
from worldtune.models.transformer import BehindBlock, Transformer, Trunk

# Widths between the linear layers of the way in for the hint.
HINT_WIDTHS = (16, 16, 32, 32, 96, 96, 256)

# What a residual is multiplied by: a number, or one for every token.
Weight = float | Float[Tensor, "b 1 pt ph pw"]
Residuals = tuple[Tensor, ...]


class ControlBranch(Trunk):
    """The first blocks of a transformer, a way in for the hint, a way out of each block.

    It has a `final_layer` because its files have one; nothing runs or trains it.
    """

    def __init__(
        self, config: TransformerConfig, num_control_blocks: int, hint_channels: int
    ) -> None:
        """`config` is that of the base; the branch has its first `num_control_blocks`."""
        if not 1 <= num_control_blocks <= config.num_blocks:
            raise RecipeError(
                f"{num_control_blocks} control blocks for a base of {config.num_blocks}; "
                "choose 1 or more, and no more than the base has."
            )
        super().__init__(replace(config, num_blocks=num_control_blocks))
        width = config.model_channels
        self.hint_channels = hint_channels
        self.x_embedder2 = PatchEmbedder(config, hint_channels + int(config.padding_mask))
        self.input_hint_block = _hint_layers(width)
        self.zero_blocks = nn.ModuleList(nn.Linear(width, width) for _ in self.blocks)

    def forward(
        self,
        latents_BCTHW: Float[Tensor, "b c t h w"],
        time_BT: Float[Tensor, "b ..."],
        text_BND: Float[Tensor, "_ n c_text"],
        hint_BCTHW: Float[Tensor, "b c_hint _ _ _"],
        *,
        condition_mask: Shaped[Tensor, "_ 1 _ _ _"] | None = None,
        padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None = None,
        fps: Shaped[Tensor, "b"] | None = None,
        view_indices: Shaped[Tensor, "_ _"] | None = None,
        frame_repeat: Shaped[Tensor, "_ _"] | None = None,
    ) -> Residuals:
        """One residual [B,T,h,w,D] for each block; all inputs but the hint are the base's.

        A hint with fewer channels than the network's is filled up with 0. Raises
        RecipeError where the inputs do not fit the network.
        """
        told = Conditions(condition_mask, padding_mask, fps, view_indices, frame_repeat)
        prepared = self.prepare(latents_BCTHW, time_BT, text_BND, told)
        hint = self.embed_hint(hint_BCTHW, latents_BCTHW, padding_mask)
        residuals: list[Tensor] = []

        def steer(number: int, tokens: Tensor) -> Tensor:
            if number == 0:
                tokens = tokens + hint
            residuals.append(self.zero_blocks[number](tokens))
            return tokens

        self.run_blocks(prepared, steer)
        return tuple(residuals)

    def embed_hint(
        self,
        hint_BCTHW: Float[Tensor, "b c_hint _ _ _"],
        latents_BCTHW: Float[Tensor, "b c t h w"],
        padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None,
    ) -> Float[Tensor, "b pt ph pw d"]:
        """What is added behind the branch's first block."""
        missing = self.hint_channels - hint_BCTHW.shape[1]
        if missing < 0:
            raise RecipeError(
                f"the hint has {hint_BCTHW.shape[1]} channels, the branch takes "
                f"{self.hint_channels}; one hint is one video's latents."
            )
        if hint_BCTHW.shape[2:] != latents_BCTHW.shape[2:]:
            raise RecipeError(
                f"the hint is {list(hint_BCTHW.shape[2:])} and the latents are "
                f"{list(latents_BCTHW.shape[2:])} (frames, rows, columns); cut and size the "
                "control video like the clip."
            )
        parts = [hint_BCTHW]
        if missing:
            parts.append(hint_BCTHW.new_zeros(len(hint_BCTHW), missing, *hint_BCTHW.shape[2:]))
        if self.config.padding_mask:
            parts.append(padding_channel(padding_mask, hint_BCTHW))
        stacked = torch.cat([part.to(self.dtype) for part in parts], dim=1)
        return self.input_hint_block(self.x_embedder2(stacked))

    @torch.no_grad()
    def copy_from_base(self, base: Transformer) -> tuple[str, ...]:
        """Start as the base: take over every weight whose name both have; yield the names.

        With the ways out still 0, the branch then changes nothing. Raises CheckpointError
        where the base's weights have other shapes.
        """
        theirs = dict(base.named_parameters())
        ours = {name: own for name, own in self.named_parameters() if name in theirs}
        unfit = [
            f"{name} is {list(own.shape)} in the branch and {list(theirs[name].shape)} in the base"
            for name, own in ours.items()
            if own.shape != theirs[name].shape
        ]
        if unfit:
            raise CheckpointError(
                "the branch cannot start as this base:\n  "
                + "\n  ".join(unfit)
                + "\nUse the base that belongs to the control network."
            )
        for name, own in ours.items():
            own.copy_(theirs[name])
        return tuple(ours)


class ControlledTransformer(nn.Module):
    """A base and the branch that steers it, called like the base with hints beside."""

    def __init__(self, base: Transformer, branch: ControlBranch) -> None:
        """Both keep their own weights; either may be frozen."""
        super().__init__()
        self.base, self.branch = base, branch

    def forward(
        self,
        latents_BCTHW: Float[Tensor, "b c t h w"],
        time_BT: Float[Tensor, "b ..."],
        text_BND: Float[Tensor, "_ n c_text"],
        *,
        hints: Sequence[Float[Tensor, "b _ _ _ _"]],
        hint_weights: Sequence[Weight] = (1.0,),
        condition_mask: Shaped[Tensor, "_ 1 _ _ _"] | None = None,
        padding_mask: Shaped[Tensor, "_ 1 hp wp"] | None = None,
        fps: Shaped[Tensor, "b"] | None = None,
        view_indices: Shaped[Tensor, "_ _"] | None = None,
        frame_repeat: Shaped[Tensor, "_ _"] | None = None,
    ) -> Float[Tensor, "b c_out t h w"]:
        """The base's output, steered by each hint times its weight.

        A weight is a number, or one for every token ([B,1,T,h,w]). Every hint runs through
        the branch by itself. Raises RecipeError where hints and weights are not as many.
        """
        if len(hints) != len(hint_weights):
            raise RecipeError(
                f"{len(hints)} hints and {len(hint_weights)} weights; give each hint one weight."
            )
        told = {
            "condition_mask": condition_mask,
            "padding_mask": padding_mask,
            "fps": fps,
            "view_indices": view_indices,
            "frame_repeat": frame_repeat,
        }
        weighted = [
            weigh(self.branch(latents_BCTHW, time_BT, text_BND, hint, **told), weight)
            for hint, weight in zip(hints, hint_weights, strict=True)
        ]
        return self.base(
            latents_BCTHW, time_BT, text_BND, **told, behind_block=add_residuals(weighted)
        )


def weigh(residuals: Residuals, weight: Weight) -> Residuals:
    """Multiply every residual by a number, or by a map with one number for a token."""
    if isinstance(weight, Tensor):
        # [B,1,T,h,w] to [B,T,h,w,1]: the same for all channels.
        factor = weight.movedim(1, -1)
        return tuple(residual * factor.to(residual.dtype) for residual in residuals)
    # A factor of 1 is training, where a copy of every residual would only cost memory.
    return residuals if weight == 1.0 else tuple(residual * weight for residual in residuals)


def add_residuals(of_hints: Sequence[Residuals]) -> BehindBlock:
    """The base's side of the seam: behind block i add every hint's residual i."""

    def add(number: int, tokens: Tensor) -> Tensor:
        for residuals in of_hints:
            if number < len(residuals):
                tokens = tokens + residuals[number]
        return tokens

    return add


def _hint_layers(width: int) -> nn.Sequential:
    """Linear layers with a SiLU behind each but the last."""
    sizes = (width, *HINT_WIDTHS, width)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])

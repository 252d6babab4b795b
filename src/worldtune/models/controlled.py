"""A frozen base with its control branch, from the settings of a Transfer1 recipe."""

from dataclasses import dataclass, replace

import torch

from worldtune.config.transfer1_model import Transfer1ModelSettings
from worldtune.config.transfer1_network import Transfer1NetworkSettings
from worldtune.models.build import build, build_branch, shared_config
from worldtune.models.config import PositionTable, TransformerConfig
from worldtune.models.control import ControlledTransformer


@dataclass(frozen=True)
class ControlledConfig:
    """Sizes and switches of a base and of its branch, which may stretch positions otherwise."""

    base: TransformerConfig
    branch: TransformerConfig
    control_blocks: int
    hint_channels: int


def controlled_config(model: Transfer1ModelSettings) -> ControlledConfig:
    """Sizes and switches of both networks, from their settings.

    Raises RecipeError where they do not fit one another.
    """
    return ControlledConfig(
        base=_network_config(model.net),
        branch=_network_config(model.net_ctrl),
        control_blocks=model.net_ctrl.control_blocks,
        hint_channels=model.net_ctrl.hint_channels,
    )


def _network_config(net: Transfer1NetworkSettings) -> TransformerConfig:
    """One of the two. Positions in time follow the frame rate, and the channels of the masks
    are not counted as latents.
    """
    return replace(
        shared_config(net),
        condition_mask=net.marks_given_frames,
        view_channels=net.view_condition_dim,
        num_view_embeddings=net.n_views_emb,
        repeat_frame_embedding=net.add_repeat_frame_embedding,
        num_views=net.n_views,
        rope_fps_modulation=True,
        position_table=_position_table(net),
        family="transfer1",
    )


def _position_table(net: Transfer1NetworkSettings) -> PositionTable:
    """The table of several cameras has nothing to learn, whatever its type is called."""
    if not net.extra_per_block_abs_pos_emb:
        return "none"
    return "sincos" if net.view_condition_dim else "learned"


def build_controlled(
    config: ControlledConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int | None = None,
) -> ControlledTransformer:
    """Both networks. With a seed the base is drawn from it and the branch starts as its copy.

    Without one every weight is NaN until a file is loaded; then call `copy_from_base`.
    """
    base = build(config.base, device=device, dtype=dtype, seed=seed)
    branch = build_branch(
        config.branch,
        num_control_blocks=config.control_blocks,
        hint_channels=config.hint_channels,
        device=device,
        dtype=dtype,
        seed=seed,
    )
    if seed is not None and torch.device(device).type != "meta":
        branch.copy_from_base(base)
    return ControlledTransformer(base, branch)

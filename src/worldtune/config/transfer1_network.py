"""Settings of Transfer1's networks, under the argument names of the published ones."""

from typing import Literal

from worldtune.config.network import TransformerSettings
from worldtune.config.settings import setting


class Transfer1NetworkSettings(TransformerSettings):
    """A network of Transfer1: the base, or what its control branch shares with it."""

    in_channels: int = setting(
        16,
        "Latent channels in, and 1 more where a channel marks the given frames; the padding mask "
        "is not counted.",
        ge=1,
    )
    n_views: int = setting(1, "Cameras, whose clips lie behind one another in time.", ge=1)
    n_views_emb: int = setting(0, "Rows to tell cameras apart by; 0: one camera only.", ge=0)
    view_condition_dim: int = setting(0, "Channels that tell cameras apart; 0: none.", ge=0)
    add_repeat_frame_embedding: bool = setting(
        False, "With several cameras: add one number of each to its channels."
    )
    block_config: Literal["FA-CA-MLP"] = setting("FA-CA-MLP", "What a block is made of.")
    block_x_format: Literal["THWBD"] = setting("THWBD", "The original's order of dims.")
    extra_per_block_abs_pos_emb_type: Literal["learnable"] = setting(
        "learnable", "Kind of the table; with several cameras it is sines and cosines always."
    )
    affline_emb_norm: Literal[True] = setting(True, "A norm of the time (spelt as published).")
    legacy_patch_emb: Literal[False] = setting(False, "Patches by a convolution.")
    use_cross_attn_mask: Literal[False] = setting(False, "Hide a caption's empty tokens.")

    @property
    def marks_given_frames(self) -> bool:
        """Whether one of the channels in marks the given frames."""
        return self.in_channels > self.out_channels


class ControlNetworkSettings(Transfer1NetworkSettings):
    """The control branch: the base's first blocks once more, with a way in for the hint."""

    hint_channels: int = setting(
        16, "Channels of the hint; a hint of fewer is filled up with 0.", ge=1
    )
    num_control_blocks: int | None = setting(
        None, "Blocks of the branch; nothing: as layer_mask says.", ge=1
    )
    layer_mask: tuple[bool, ...] | None = setting(
        None, "The same, as published: for each block of the base, true where the branch has none."
    )
    is_extend_model: bool = setting(
        False, "The channel that marks the given frames is not counted in in_channels."
    )
    dropout_ctrl_branch: float = setting(
        0.5, "Share of clips trained without the branch, where the base trains too.", ge=0, le=1
    )
    random_drop_control_blocks: bool = setting(False, "Leave out blocks of the branch at random.")

    @property
    def marks_given_frames(self) -> bool:
        """Whether one of the channels in marks the given frames."""
        return self.is_extend_model or super().marks_given_frames

    @property
    def control_blocks(self) -> int:
        """Blocks of the branch, in whichever way they are given; 0 where in neither."""
        if self.num_control_blocks is not None:
            return self.num_control_blocks
        return 0 if self.layer_mask is None else self.layer_mask.count(False)

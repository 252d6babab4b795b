"""One clip's frames shared by several processes: context parallelism, and sequence parallelism.

Every rank gets the whole clip, cuts its own frames out of it, and gives the whole output
back, so that nothing around the network knows of the cut. In between only self attention
sees more than one token: there, ranks of the context group give away heads for tokens
(Ulysses) where their heads divide by the group's size, and gather keys and values where
they do not. With sequence parallelism the ranks of a tensor group share a context rank's
frames in turn; their layers gather them (`tensor.py`).

Frames need not divide by the number of ranks. Each camera is cut alike.

Sources: Jacobs et al. 2023 (arXiv 2309.14509) for Ulysses.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from worldtune.models.attention import Attention, attend
from worldtune.models.plan import PLAN
from worldtune.models.positions import FrameShare, Rotations
from worldtune.models.rope import Rotation
from worldtune.models.transformer import Transformer
from worldtune.parallel.collectives import (
    Group,
    Lengths,
    cut_lengths,
    gather,
    gather_alike,
    heads_for_tokens,
)


class FrameCut:
    """How one camera's frames lie over the ranks, in the forward pass that is running.

    There are `context` shares, each cut into `beside` pieces for the ranks of a tensor
    group that also share frames; this rank holds piece number `index` of all, counted
    share by share.
    """

    def __init__(self, context: int, beside: int, index: int) -> None:
        self.context, self.beside, self.index = context, beside, index
        self.pieces: Lengths = ()

    def begin(self, frames: int) -> FrameShare:
        """Cut a clip of so many frames (of tokens); give this rank's piece."""
        self.pieces = cut_lengths(frames, self.context * self.beside)
        return FrameShare(sum(self.pieces[: self.index]), frames)

    @property
    def _beside(self) -> Lengths:
        """Frames of the pieces of this rank's share."""
        first = self.index // self.beside * self.beside
        return self.pieces[first : first + self.beside]

    def lengths_beside(self, own: int) -> Lengths:
        """Lengths of the share's pieces, along a dim where this rank's own is `own` long."""
        per_frame = own // self.pieces[self.index]
        return tuple(frames * per_frame for frames in self._beside)

    def lengths_of(self, share: int) -> Lengths:
        """The same, along a dim where the whole share is `share` long."""
        per_frame = share // sum(self._beside)
        return tuple(frames * per_frame for frames in self._beside)

    def lengths_of_shares(self, own_share: int) -> Lengths:
        """Lengths of all shares, along a dim where this rank's share is `own_share` long."""
        per_frame = own_share // sum(self._beside)
        shares = range(0, len(self.pieces), self.beside)
        return tuple(sum(self.pieces[s : s + self.beside]) * per_frame for s in shares)


def spread_attention(network: Transformer, group: Group, frames: FrameCut) -> None:
    """Let every block's self attention reach the tokens of all context ranks."""
    for block in network.blocks:
        mixer = block.get_submodule(PLAN.token_mixers[0])
        assert isinstance(mixer, Attention)
        mixer.attend = partial(_attend_over_ranks, group, frames)


def _attend_over_ranks(
    group: Group, frames: FrameCut, q_BLSD: Tensor, k_BLSD: Tensor, v_BLSD: Tensor
) -> Tensor:
    lengths = frames.lengths_of_shares(q_BLSD.shape[1])
    heads, ranks = q_BLSD.shape[2], len(lengths)
    if heads % ranks:
        keys_and_values = gather(torch.cat([k_BLSD, v_BLSD], -1), 1, lengths, group)
        return attend(q_BLSD, *keys_and_values.chunk(2, -1))
    all_tokens = heads_for_tokens(torch.cat([q_BLSD, k_BLSD, v_BLSD], -1), lengths, group)
    return heads_for_tokens(attend(*all_tokens.chunk(3, -1)), lengths, group, back=True)


class _ShareRotations:
    """Rotation of a whole context share, made of what its pieces' ranks have."""

    def __init__(self, inner: Rotations, group: Group, frames: FrameCut) -> None:
        self._inner, self._group, self._frames = inner, group, frames
        self._kept: tuple[Rotation, Rotation] | None = None

    def __call__(self, *asked: Any) -> Rotation:
        piece = self._inner(*asked)
        if self._kept is None or self._kept[0] is not piece:
            with torch.no_grad():
                whole = Rotation(*(self._whole(part) for part in piece))
            self._kept = piece, whole
        return self._kept[1]

    def _whole(self, part: Tensor) -> Tensor:
        dim = part.ndim - 2
        return gather(part, dim, self._frames.lengths_beside(part.shape[dim]), self._group)


class _OnOwnFrames:
    """The network's forward pass, on this rank's frames of what every rank is given."""

    def __init__(self, network: Transformer, group: Group, frames: FrameCut) -> None:
        self._network, self._group, self._frames = network, group, frames
        self._forward = network.forward

    def __call__(
        self, latents_BCTHW: Tensor, time_BT: Tensor, text_BND: Tensor, **told: Any
    ) -> Tensor:
        network, frames = self._network, self._frames
        patch, views = network.config.patch_temporal, network.config.num_views
        share = network.frame_share = frames.begin(latents_BCTHW.shape[2] // (views * patch))
        held = frames.pieces[frames.index]

        def own(x: Tensor, dim: int, each: int = patch) -> Tensor:
            """This rank's part of a dim that has `each` entries for a frame of tokens."""
            if x.ndim <= dim or x.shape[dim] == 1:
                return x
            per_view = x.unflatten(dim, (views, -1))
            mine = per_view.narrow(dim + 1, share.first * each, held * each)
            return mine.flatten(dim, dim + 1)

        for name, dim in (("condition_mask", 2), ("view_indices", 1)):
            if told.get(name) is not None:
                told[name] = own(told[name], dim)
        out = self._forward(own(latents_BCTHW, 2), own(time_BT, 1, 1), text_BND, **told)
        lengths = [piece * patch for piece in frames.pieces]
        cameras = out.unflatten(2, (views, -1)).unbind(2)
        # One by one and not as a view, whose hooks FSDP could lose.
        wholes = [gather_alike(camera, 2, lengths, self._group) for camera in cameras]
        return wholes[0] if views == 1 else torch.cat(wholes, 2)


def cut_frames(
    network: Transformer, group: Group, frames: FrameCut, tensor_group: Group | None
) -> None:
    """Let a network run on a piece of the frames; it is called, and answers, with all of them.

    `group` holds all ranks that share a clip's frames. `tensor_group` is given where ranks
    beside each other share a context rank's frames.
    """
    network.forward = _OnOwnFrames(network, group, frames)
    if tensor_group is not None:
        rotations = _ShareRotations(network.rotations, tensor_group, frames)
        network.rotations = rotations  # pyright: ignore[reportAttributeAccessIssue]

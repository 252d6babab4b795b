"""Given frames: the part of a clip that the network is shown and need not predict.

One rule serves both objectives. A given frame enters the network as

    c_in(a) * (clean + a * noise)

with a the augmentation level: 0 for the rectified flow, drawn per sample for EDM training and
fixed for EDM sampling. Its prediction is replaced by the clean frame, so that its error is 0;
it stays in the count that the loss is divided by.

Dims: B batch, C channels, T latent frames, H and W latent rows and columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from worldtune.errors import RecipeError
from worldtune.objectives import randomness
from worldtune.objectives.coefficients import Objective


@dataclass(frozen=True)
class GivenFrames:
    """Which frames are given, what they hold, and how they are shown.

    mask is 1 on given frames, else 0. Without augment_sigma they enter clean. Samples marked in
    frames_hidden have zeros in their place; those in mask_hidden are not told by the mask
    channel. Either way they stay given: replaced in the prediction.
    """

    mask: Float[Tensor, "b 1 t 1 1"]
    clean: Float[Tensor, "b c t h w"]
    augment_sigma: Float[Tensor, "b"] | None = None
    augment_noise: Float[Tensor, "b c t h w"] | None = None
    frames_hidden: Bool[Tensor, "b"] | None = None
    mask_hidden: Bool[Tensor, "b"] | None = None

    @property
    def is_given(self) -> Bool[Tensor, "b 1 t 1 1"]:
        """Say for each latent frame whether it is given."""
        return self.mask > 0.5

    def entering(self, objective: Objective) -> Float[Tensor, "b c t h w"]:
        """Return what enters the network on given frames, scaled; the others mean nothing."""
        entering = objective.c_in(self._sigma())[:, None, None, None, None] * self._noisy()
        if self.frames_hidden is None:
            return entering
        return torch.where(self.frames_hidden[:, None, None, None, None], 0.0, entering)

    def mask_channel(self) -> Float[Tensor, "b 1 t h w"]:
        """Return the channel that tells the network which frames are given."""
        mask = self.mask
        if self.mask_hidden is not None:
            mask = torch.where(self.mask_hidden[:, None, None, None, None], 0.0, mask)
        return mask.expand(*mask.shape[:3], *self.clean.shape[3:])

    def _sigma(self) -> Float[Tensor, "b"]:
        if self.augment_sigma is None:
            return self.mask.new_zeros(len(self.mask))
        return self.augment_sigma

    def _noisy(self) -> Float[Tensor, "b c t h w"]:
        if self.augment_sigma is None:
            return self.clean
        assert self.augment_noise is not None
        return self.clean + self.augment_sigma[:, None, None, None, None] * self.augment_noise


def forget_below_augment(given: GivenFrames, sigma: Float[Tensor, "b"]) -> GivenFrames:
    """Give no frames in samples whose noise level is not above the augmentation level.

    For sampling: once the other frames are as clean as the given ones were shown, all are
    denoised together. Without an augmentation level nothing changes.
    """
    if given.augment_sigma is None:
        return given
    keep = (sigma > given.augment_sigma).to(given.mask.dtype)
    return replace(given, mask=given.mask * keep[:, None, None, None, None])


def draw_given_count(
    seed: int, indices: Tensor | Sequence[int], minimum: int, maximum: int
) -> Int[Tensor, "b"]:
    """Draw how many first latent frames each clip gives, uniform over minimum..maximum."""
    if not 0 <= minimum <= maximum:
        raise RecipeError(
            f"the number of given latent frames goes from {minimum} to {maximum}; expected "
            "0 or more, and the smallest first (min_num_conditional_frames, "
            "max_num_conditional_frames)"
        )
    return randomness.integers(seed, "given_frames", indices, minimum, maximum)


def first_frames_mask(
    count: Int[Tensor, "b"], num_latents: int, *, num_views: int = 1
) -> Float[Tensor, "b 1 vt 1 1"]:
    """Return 1 on the first `count` latent frames of every view, else 0.

    num_latents is that of one view; with several views the frames lie view by view. A single
    latent frame is an image and is never given. A count that leaves no frame to predict raises
    RecipeError.
    """
    if num_latents > 1 and int(count.max()) >= num_latents:
        raise RecipeError(
            f"{int(count.max())} given latent frames of {num_latents} leave nothing to predict; "
            "give fewer (max_num_conditional_frames) or train on longer clips (state_t)"
        )
    place = torch.arange(num_latents, device=count.device)
    given = (place < count[:, None]) & (num_latents > 1)
    return given.float().repeat(1, num_views)[:, None, :, None, None]

"""The published video tokenizer of Predict2 (Wan 2.1), by diffusers' AutoencoderKLWan.

The network and its causal caches are diffusers'. Here are the names of the published file,
which differ, the per-channel normalisation, and the loop over clips that bounds memory.

Needs the extra `worldtune[cosmos]`; diffusers is imported when a tokenizer is built.
"""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.errors import CheckpointError, RecipeError
from worldtune.models.tokenizer import check_latents, check_video

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

# Mean and deviation of each channel of the posterior mean over the publishers' videos.
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_DEVIATION = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip

# Inside a residual block: diffusers' name to the file's.
_RESIDUAL_NAMES = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_TOP_NAMES = {"quant_conv": "conv1", "post_quant_conv": "conv2"}
_HALF_NAMES = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}
_MIDDLE_NAMES = {"resnets.0": "middle.0", "attentions.0": "middle.1", "resnets.1": "middle.2"}


@dataclass(frozen=True)
class WanSizes:
    """Sizes of the network; the defaults are those of the published file."""

    base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)


PUBLISHED = WanSizes()


class WanTokenizer:
    """The published tokenizer; clips go through it one at a time.

    The weights lie on the device, in the dtype, that is asked for. Latents and their
    statistics are float32 whatever the weights are.
    """

    name = "wan"
    temporal_factor = 4
    spatial_factor = 8

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        sizes: WanSizes = PUBLISHED,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the network and give it weights under the names of the published file.

        Errors: CheckpointError where a name or shape is not the network's, or is missing;
        RecipeError where the extra is not installed.
        """
        check_weights({name: tuple(tensor.shape) for name, tensor in weights.items()}, sizes)
        if len(LATENT_MEAN) != sizes.z_dim:
            raise CheckpointError(f"the latent statistics are of {len(LATENT_MEAN)} channels")
        network = _empty_network(sizes)
        renamed = {
            name: weights[native_name(name, sizes.num_res_blocks)].to(device, dtype)
            for name in network.state_dict()
        }
        network.load_state_dict(renamed, strict=True, assign=True)
        self._network = network.eval().requires_grad_(False)
        self._device, self._dtype = torch.device(device), dtype
        self._mean = torch.tensor(LATENT_MEAN, device=device)[:, None, None, None]
        self._deviation = torch.tensor(LATENT_DEVIATION, device=device)[:, None, None, None]
        self._fingerprint: str | None = None

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return len(LATENT_MEAN)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Float[Tensor, "b 16 s y x"]:
        """Normalised float32 latents of RGB frames [B, 3, T, H, W] in -1 to 1.

        The posterior's mean, without a draw. Memory grows with the size of a frame, not
        with the number of clips or, latents apart, of frames.
        Errors: DataError where the shape does not divide into latents.
        """
        check_video(self, video)
        means = [
            self._network.encode(clip.to(self._device, self._dtype)).latent_dist.mean.float()  # pyright: ignore[reportAttributeAccessIssue]
            for clip in video.split(1)
        ]
        return (torch.cat(means) - self._mean) / self._deviation

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Float[Tensor, "b 3 t h w"]:
        """RGB frames in -1 to 1, float32, of normalised latents [B, 16, S, H/8, W/8].

        One latent at a time, so any number of latents decodes. Frames are clamped to
        -1 to 1.
        Errors: DataError for another number of channels or dims.
        """
        check_latents(self, latents)
        raw = latents.to(self._device, torch.float32) * self._deviation + self._mean
        clips = [
            self._network.decode(clip.to(self._dtype)).sample.float()  # pyright: ignore[reportAttributeAccessIssue]
            for clip in raw.split(1)
        ]
        return torch.cat(clips)

    def fingerprint(self) -> str:
        """Of the weights, their dtype and the latent statistics; computed once."""
        if self._fingerprint is None:
            digest = hashlib.sha256(repr((self.name, LATENT_MEAN, LATENT_DEVIATION)).encode())
            for name, tensor in sorted(self._network.state_dict().items()):
                digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint


def native_name(name: str, num_res_blocks: int = PUBLISHED.num_res_blocks) -> str:
    """The published file's name of a weight that diffusers calls `name`."""
    half, rest = name.split(".", 1)
    if half in _TOP_NAMES:
        return f"{_TOP_NAMES[half]}.{rest}"
    return f"{half}.{_native_in_half(rest, num_res_blocks)}"


def expected_weights(sizes: WanSizes = PUBLISHED) -> dict[str, tuple[int, ...]]:
    """Every name of a whole file, with its shape.

    Errors: RecipeError where the extra is not installed.
    """
    return {
        native_name(name, sizes.num_res_blocks): tuple(tensor.shape)
        for name, tensor in _empty_network(sizes).state_dict().items()
    }


def check_weights(found: Mapping[str, tuple[int, ...]], sizes: WanSizes = PUBLISHED) -> None:
    """Hold names and shapes against the network's; reads no weights.

    Errors: CheckpointError that tells, by name, what is missing, extra or of another shape.
    """
    expected = expected_weights(sizes)
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    reshaped = [name for name in expected if name in found and found[name] != expected[name]]
    lines = [f"missing: {name} {list(expected[name])}" for name in missing]
    lines += [f"not of this network: {name}{_nearest(name, missing)}" for name in extra]
    lines += [
        f"of another shape: {name} is {list(found[name])}, not {list(expected[name])}"
        for name in reshaped
    ]
    if lines:
        matching = len(expected) - len(missing) - len(reshaped)
        raise CheckpointError(
            f"these are not the weights of the Wan tokenizer: {matching} of {len(expected)} "
            "tensors match\n" + "\n".join(f"  {line}" for line in _shorten(lines))
        )


def _native_in_half(name: str, num_res_blocks: int) -> str:
    """Name of a weight inside the encoder or the decoder."""
    parts = name.split(".")
    if parts[0] in _HALF_NAMES:
        return ".".join([_HALF_NAMES[parts[0]], *parts[1:]])
    if parts[0] == "mid_block":
        block = _MIDDLE_NAMES[f"{parts[1]}.{parts[2]}"]
        return f"{block}.{_native_in_block(parts[3:])}"
    if parts[0] == "down_blocks":
        return f"downsamples.{parts[1]}.{_native_in_block(parts[2:])}"
    # The file counts the decoder's blocks flat: a level's residual blocks, then its upsampler.
    blocks_before = int(parts[1]) * (num_res_blocks + 2)
    inside = int(parts[3]) if parts[2] == "resnets" else num_res_blocks + 1
    return f"upsamples.{blocks_before + inside}.{_native_in_block(parts[4:])}"


def _native_in_block(parts: list[str]) -> str:
    return ".".join([_RESIDUAL_NAMES.get(parts[0], parts[0]), *parts[1:]])


def _empty_network(sizes: WanSizes) -> "AutoencoderKLWan":
    try:
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    except ImportError as error:
        raise RecipeError(
            f"the Wan tokenizer needs packages that are not installed ({error}); "
            "install them with: pip install 'worldtune[cosmos]'. "
            "The tokenizer of kind 'builtin' needs none"
        ) from error
    with torch.device("meta"):
        return AutoencoderKLWan(
            base_dim=sizes.base_dim,
            z_dim=sizes.z_dim,
            dim_mult=list(sizes.dim_mult),
            num_res_blocks=sizes.num_res_blocks,
            temperal_downsample=list(sizes.temporal_downsample),
        )


def _nearest(name: str, missing: list[str]) -> str:
    close = difflib.get_close_matches(name, missing, n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def _shorten(lines: list[str], most: int = 12) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"and {len(lines) - most} more"]

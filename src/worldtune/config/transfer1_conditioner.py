"""What Transfer1's networks are told beside the noisy latents, and how often in training."""

from typing import Literal

from worldtune.config.model_parts import ConditionSettings
from worldtune.config.settings import Settings, setting


class GivenFramesSettings(Settings):
    """The frames that are given: which ones, and how much noise lies on them.

    A given frame enters the network with noise of its own, whose level is not told:
    exp(p_mean + p_std z) x multiplier with z normal, drawn for each clip.
    """

    dropout_rate: float = setting(
        0.2, "Share of clips whose given frames are not marked, 0 to 1.", ge=0, le=1
    )
    condition_location: str = setting(
        "first_random_n",
        "Where they lie: first_n or first_random_n frames of every camera, first_cam whole (alone, "
        "_and_first_n or _and_random_n), fixed_cam_0_2..., any_cam.",
    )
    first_random_n_num_condition_t_max: int = setting(
        4, "Most given first latent frames; each number from the fewest on is as likely.", ge=0
    )
    first_random_n_num_condition_t_min: int = setting(0, "Fewest given first latent frames.", ge=0)
    n_cond_view_min: int = setting(1, "With any_cam: fewest given cameras.", ge=1)
    n_cond_view_max: int = setting(1, "With any_cam: most given cameras.", ge=1)
    cfg_unconditional_type: Literal["zero_condition_region_condition_mask"] = setting(
        "zero_condition_region_condition_mask",
        "Frames that are not marked are not given either.",
    )
    apply_corruption_to_condition_region: Literal["noise_with_sigma", "clean"] = setting(
        "noise_with_sigma", "Noise on given frames: some, as below, or none."
    )
    augment_sigma_sample_p_mean: float = setting(0.0, "Mean of the noise's logarithm.")
    augment_sigma_sample_p_std: float = setting(1.0, "Deviation of the noise's logarithm.", ge=0)
    augment_sigma_sample_multiplier: float = setting(4.0, "Factor on the noise.", gt=0)
    condition_on_augment_sigma: Literal[False] = setting(
        False, "Tell the network the noise on given frames; no published weights know it."
    )
    normalize_condition_latent: Literal[False] = setting(
        False, "Bring given frames to unit size; no published weights know it."
    )


class ControlConditionerSettings(Settings):
    """The conditions of a base and its branch."""

    text: ConditionSettings = setting(
        ConditionSettings(dropout_rate=0.2),
        "The captions' embeddings, of all cameras together; dropped: all zeros.",
    )
    fps: ConditionSettings = setting(ConditionSettings(), "Frames a second.")
    padding_mask: ConditionSettings = setting(ConditionSettings(), "Mask of padded pixels.")
    num_frames: ConditionSettings = setting(ConditionSettings(), "Length of the clip.")
    image_size: ConditionSettings = setting(ConditionSettings(), "Size of the clip.")
    view_indices: ConditionSettings = setting(ConditionSettings(), "Which camera a frame is of.")
    frame_repeat: ConditionSettings = setting(
        ConditionSettings(), "A number for each camera; training and generating give 0."
    )
    video_cond_bool: GivenFramesSettings = setting(GivenFramesSettings(), "The given frames.")

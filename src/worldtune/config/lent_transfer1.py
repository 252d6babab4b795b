"""What is lent to a settings file in the style of Transfer1.

Names of networks and models are descriptions: `L(GeneralDIT)(...)` writes down arguments, and
where it stands in the recipe says what they are.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from worldtune.config.described import (
    AVTransferDataset,
    DistributedSampler,
    ExampleTransferDataset,
    LazyCall,
    LazyDict,
    Named,
)

TRAINING = "cosmos_transfer1.diffusion.training"
NETWORKS = f"{TRAINING}.networks"
MODELS = f"{TRAINING}.models"
HINT_KEYS = tuple(
    f"control_input_{name}"
    for name in ("edge", "vis", "depth", "seg", "keypoint", "upscale", "hdmap", "lidar")
)
REPOSITORY = "nvidia/Cosmos-Transfer1-7B"
SAMPLE_AV = f"{REPOSITORY}-Sample-AV"
SINGLE_TO_MULTI = f"{SAMPLE_AV}-Single2MultiView"
# The published names of the files of branches, below the folder of checkpoints.
BRANCHES = {
    **{name: f"{REPOSITORY}/{name}_control.pt" for name in ("edge", "vis", "depth", "seg")},
    "keypoint": f"{REPOSITORY}/keypoint_control.pt",
    "upscale": f"{REPOSITORY}/4kupscaler_control.pt",
    "hdmap": f"{SAMPLE_AV}/hdmap_control.pt",
    "lidar": f"{SAMPLE_AV}/lidar_control.pt",
}
STARTS = ("t2w", "v2w")


def _network(module: str, name: str, **defaults: object) -> type[Named]:
    """A network's class; the defaults are those that its lazy call fills in."""
    return type(name, (Named,), {"__module__": f"{NETWORKS}.{module}", "defaults": defaults})


def _model(module: str, name: str) -> type[Named]:
    return type(name, (Named,), {"__module__": f"{MODELS}.{module}"})


LENT_TRANSFER1: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cosmos_transfer1.utils.lazy_config": {"LazyCall": LazyCall, "LazyDict": LazyDict},
        "cosmos_transfer1.diffusion.datasets.example_transfer_dataset": {
            "ExampleTransferDataset": ExampleTransferDataset,
            "AVTransferDataset": AVTransferDataset,
        },
        "cosmos_transfer1.diffusion.config.base.data": {"get_sampler": DistributedSampler},
        "cosmos_transfer1.diffusion.config.transfer.conditioner": {
            "CTRL_HINT_KEYS": list(HINT_KEYS),
            "CTRL_HINT_KEYS_COMB": {key: [key] for key in HINT_KEYS},
        },
        "cosmos_transfer1.diffusion.inference.inference_utils": {"default_model_names": BRANCHES},
        "cosmos_transfer1.checkpoints": {
            "COSMOS_TRANSFER1_7B_CHECKPOINT": REPOSITORY,
            "COSMOS_TRANSFER1_7B_SAMPLE_AV_CHECKPOINT": SAMPLE_AV,
            **{
                f"BASE_{start}_7B_SV2MV_CHECKPOINT_AV_SAMPLE_PATH": (
                    f"{SINGLE_TO_MULTI}/{start}_base_model.pt"
                )
                for start in STARTS
            },
            **{
                f"SV2MV_{start}_{control.upper()}2WORLD_CONTROLNET_7B_CHECKPOINT_PATH": (
                    f"{SINGLE_TO_MULTI}/{start}_{control}_control.pt"
                )
                for start in STARTS
                for control in ("hdmap", "lidar")
            },
        },
        f"{NETWORKS}.general_dit": {"GeneralDIT": _network("general_dit", "GeneralDIT")},
        **{
            f"{NETWORKS}.{module}": {
                "VideoExtendGeneralDIT": _network(module, "VideoExtendGeneralDIT", in_channels=17)
            }
            for module in ("general_dit_video_conditioned", "general_dit_multi_camera")
        },
        f"{NETWORKS}.general_dit_ctrl_enc": {
            "GeneralDITEncoder": _network("general_dit_ctrl_enc", "GeneralDITEncoder")
        },
        f"{NETWORKS}.general_dit_ctrl_enc_multicamera": {
            "GeneralDITMulticamEncoder": _network(
                "general_dit_ctrl_enc_multicamera", "GeneralDITMulticamEncoder"
            )
        },
        f"{MODELS}.model_ctrl": {
            name: _model("model_ctrl", name)
            for name in ("VideoDiffusionModelWithCtrl", "ShortVideoDiffusionModelWithCtrl")
        },
        f"{MODELS}.extend_model_multiview_ctrl": {
            name: _model("extend_model_multiview_ctrl", name)
            for name in (
                "MultiVideoDiffusionModelWithCtrl",
                "FSDPMultiVideoDiffusionModelWithCtrl",
            )
        },
    }
)

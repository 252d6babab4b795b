"""The published repositories of Transfer1, and the checksums that its authors give."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Repository:
    """One repository. `md5` holds what is known of its files; `only_for` is the only choice
    beside "all" that includes it, nothing meaning that each does.
    """

    name: str
    md5: Mapping[str, str] = field(default_factory=dict)
    only_for: str | None = None


TRANSFER1 = (
    Repository(
        "nvidia/Cosmos-Transfer1-7B",
        {
            "base_model.pt": "356497b415f3b0697f8bb034d22b6807",
            "vis_control.pt": "69fdffc5006bc5d6acb29449bb3ffdca",
            "edge_control.pt": "a0642e300e9e184077d875e1b5920a61",
            "depth_control.pt": "80999ed60d89a8dfee785c544e0ccd54",
            "seg_control.pt": "3e4077a80c836bf102c7b2ac2cd5da8c",
            "keypoint_control.pt": "26619fb1686cff0e69606a9c97cac68e",
            "4kupscaler_control.pt": "b28378d13f323b49445dc469dfbbc317",
        },
        only_for="7b",
    ),
    Repository(
        "nvidia/Cosmos-Transfer1-7B-Sample-AV",
        {
            "base_model.pt": "2006e158f8a17a3b801c661f0c01e9f2",
            "hdmap_control.pt": "2ddd781560d221418c2ed9258b6ca829",
            "lidar_control.pt": "184beee5414bcb6c0c5c0f09d8f8b481",
        },
        only_for="7b_av",
    ),
    Repository(
        "nvidia/Cosmos-Transfer1-7B-Sample-AV-Single2MultiView",
        {
            "t2w_base_model.pt": "a3fb13e8418d8bb366b58e4092bd91df",
            "v2w_base_model.pt": "48b2080ca5be66c05fac44dea4989a04",
            "t2w_hdmap_control.pt": "4f8a4340d48ebedaa9e7bab772e0203d",
            "t2w_lidar_control.pt": "a9592d232a7e5f7971f39918c18eaae0",
            "v2w_hdmap_control.pt": "89b82db1bc1dc859178154f88b6ca0f2",
            "v2w_lidar_control.pt": "cb27af88ec7fb425faec32f4734d99cf",
        },
    ),
    Repository(
        "nvidia/Cosmos-Tokenize1-CV8x8x8-720p",
        {
            "encoder.jit": "f5834d03645c379bc0f8ad14b9bc0299",
            "decoder.jit": "ff21a63ed817ffdbe4b6841111ec79a8",
            "autoencoder.jit": "7f658580d5cf617ee1a1da85b1f51f0d",
        },
    ),
    Repository("nvidia/Cosmos-UpsamplePrompt1-12B-Transfer"),
    Repository("nvidia/Cosmos-Guardrail1"),
    Repository("facebook/sam2-hiera-large"),
    Repository("depth-anything/Depth-Anything-V2-Small-hf"),
    Repository("IDEA-Research/grounding-dino-tiny"),
    Repository("google-t5/t5-11b"),
    Repository("meta-llama/Llama-Guard-3-8B"),
)


def chosen(choice: str) -> tuple[Repository, ...]:
    """The repositories of `all`, `7b` or `7b_av`; each of the two leaves out the other's own."""
    return tuple(
        repository
        for repository in TRANSFER1
        if choice == "all" or repository.only_for in (None, choice)
    )


def named(name: str) -> Repository:
    """The repository of a name, with what is known of it."""
    return next((each for each in TRANSFER1 if each.name == name), Repository(name))

"""Settings of a data loader: which clips, how they are cut, and in what order they come."""

from typing import Literal

from worldtune.config.settings import Settings, setting


class DatasetSettings(Settings):
    """A folder of clips with captions and text embeddings, or made-up clips."""

    kind: Literal["clips", "mock_video", "mock_image", "mock"] = setting(
        "clips",
        "Clips from a folder; or noise of the right shape: videos, images, or both by turns.",
    )
    dataset_dir: str | None = setting(
        None, "Folder with videos/, metas/ (captions) and t5_xxl/ (text embeddings)."
    )
    mix: dict[str, float] | None = setting(
        None, "In place of dataset_dir: folders and their shares of the clips, each above 0."
    )
    num_frames: int = setting(93, "Frames of a clip; 4k + 1 fills every latent frame.", ge=1)
    video_size: tuple[int, int] = setting(
        (704, 1280), "Height and width in pixels, multiples of 16."
    )
    resize: Literal["stretch", "crop"] = setting(
        "stretch",
        "Fit a frame by stretching it, as the original did, or by scaling and cropping its centre.",
    )
    on_bad_clip: Literal["fail", "skip"] = setting(
        "fail", "Stop at a clip that cannot be read, or leave it out and say so."
    )
    max_bad_share: float = setting(
        0.05, "With skip: share of unreadable clips above which the run stops, 0 to 1.", ge=0, le=1
    )


class SamplerSettings(Settings):
    """Order of the clips."""

    shuffle: bool = setting(True, "A new order every epoch; otherwise sorted by name.")
    seed: int = setting(0, "Seed of the order.", ge=0)


class LoaderSettings(Settings):
    """How a rank's clips come, whatever they are."""

    sampler: SamplerSettings = setting(SamplerSettings(), "Their order.")
    batch_size: int = setting(1, "Clips of a batch, on each data rank.", ge=1)
    num_workers: int = setting(8, "Processes that decode clips, on each rank; 0: none.", ge=0)
    drop_last: bool = setting(True, "Leave out clips at an epoch's end that fill no batch.")
    pin_memory: bool = setting(True, "Keep batches in memory that a GPU reads fast.")


class DataLoaderSettings(LoaderSettings):
    """Where a rank's clips come from."""

    dataset: DatasetSettings = setting(DatasetSettings(), "The clips.")

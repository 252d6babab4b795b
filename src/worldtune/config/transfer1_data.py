"""Settings of Transfer1's clips: videos with a control beside each, of one camera or several."""

from typing import Literal

from pydantic import field_validator

from worldtune.config.cameras import view_meant
from worldtune.config.dataloader import LoaderSettings
from worldtune.config.settings import Settings, setting

# Height and width of the published clips; those of other shapes are padded to it.
SIZES = {"720": (704, 1280)}


class Transfer1DatasetSettings(Settings):
    """A folder with videos/, a folder of the control's name, t5_xxl/ and cache/.

    With `view_keys` each of them has a folder for each view; without, clips lie in them.
    """

    dataset_dir: str | None = setting(None, "The folder.")
    num_frames: int = setting(
        121, "Frames of a clip, for each camera; 8k + 1 fills every latent frame.", ge=1
    )
    resolution: Literal["720"] = setting("720", "Size of the published clips: 704x1280.")
    video_size: tuple[int, int] | None = setting(
        None, "In place of resolution: height and width in pixels, multiples of 16."
    )
    hint_key: str | None = setting(
        None, "The control, as in model.hint_key.hint_key; nothing: that one.", min_length=1
    )
    view_keys: tuple[str, ...] | None = setting(
        None, "Folders of the cameras, the first one's captions being the clip's."
    )
    sample_n_views: int = setting(
        -1, "Cameras of a clip: the first one and others at random; -1: all of view_keys.", ge=-1
    )
    caption_view_idx_map: dict[str, int] | None = setting(
        None, "For each place in view_keys its row of the view embedding; nothing: the same."
    )
    load_mv_emb: bool = setting(False, "Every camera has captions of its own under t5_xxl/.")
    is_train: bool = setting(True, "Switch without effect in the original.")
    on_bad_clip: Literal["fail", "skip"] = setting(
        "fail", "Stop at a clip that cannot be read, or leave it out and say so."
    )
    max_bad_share: float = setting(
        0.05, "With skip: share of unreadable clips above which the run stops, 0 to 1.", ge=0, le=1
    )

    @field_validator("resolution", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        """On a command line 720 is a number."""
        return str(value) if type(value) is int else value

    @field_validator("caption_view_idx_map", mode="before")
    @classmethod
    def _places_as_text(cls, value: object) -> object:
        """Keys may come as numbers, which is how the documents write them."""
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a clip in pixels."""
        return self.video_size or SIZES[self.resolution]

    @property
    def views(self) -> tuple[str, ...]:
        """The folders that view_keys mean; empty where clips lie without one."""
        return tuple(map(view_meant, self.view_keys or ()))

    @property
    def views_of_a_clip(self) -> int:
        """Cameras that one clip has."""
        return self.sample_n_views if self.sample_n_views > 1 else max(1, len(self.views))


class Transfer1LoaderSettings(LoaderSettings):
    """Where a rank's clips come from."""

    dataset: Transfer1DatasetSettings = setting(Transfer1DatasetSettings(), "The clips.")

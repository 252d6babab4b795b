"""The cameras of a car: their folders, their sentences and their rows in the network.

One table for training and generating. The network knows a camera by a row of its view
embedding and by a caption; a camera that has no caption of its own is told by a sentence.

Source: the Waymo views of cosmos-av-sample-toolkits.
"""

from dataclasses import dataclass

VIEW_PREFIX = "pinhole_"
"""What the toolkit puts before a camera's name to name its folder."""
SENTENCE = "The video is captured from a camera mounted on a car. The camera is facing {}."


@dataclass(frozen=True)
class Camera:
    """One camera. `row` is the one that the published weights were trained with."""

    name: str
    facing: str
    row: int

    @property
    def view(self) -> str:
        """Its folder, under `videos` and under a control's name."""
        return VIEW_PREFIX + self.name

    @property
    def sentence(self) -> str:
        """The caption of a camera that has none of its own."""
        return SENTENCE.format(self.facing)


# Row 3 is a camera that looks back, which these cars do not have.
CAMERAS = (
    Camera("front", "forward", 0),
    Camera("front_left", "forward and slightly to the left", 1),
    Camera("front_right", "forward and slightly to the right", 2),
    Camera("side_left", "to the left", 4),
    Camera("side_right", "to the right", 5),
)


def view_meant(written: str) -> str:
    """The view that a name in view_keys stands for: a camera's own name is its view's too."""
    return next((camera.view for camera in CAMERAS if camera.name == written), written)

"""A pinhole camera over the ground plane.

World: metres, x east, y north, z up. View: x right, y down, z along the line of sight. Pixels
count from the upper left corner of the picture; a pixel's centre is at half a pixel.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, sin, tan

import numpy as np

NEAR_M = 0.6  # nothing nearer is shown


@dataclass(frozen=True)
class Camera:
    """Where a camera stands, where it looks and how wide."""

    position: tuple[float, float, float]
    yaw: float  # of the line of sight, counter-clockwise from east
    pitch: float  # above the horizon; below is negative
    field_of_view: float  # from the left edge to the right
    size: tuple[int, int]  # height, width in pixels

    @cached_property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.size[1] / 2 / tan(self.field_of_view / 2)

    @cached_property
    def rotation(self) -> np.ndarray:
        """The view's axes as rows, float64 [3, 3]."""
        ahead = np.array(
            [cos(self.yaw) * cos(self.pitch), sin(self.yaw) * cos(self.pitch), sin(self.pitch)]
        )
        right = np.array([sin(self.yaw), -cos(self.yaw), 0.0])
        return np.stack([right, np.cross(ahead, right), ahead])

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """float64 [3, 3]: view coordinates to pixels."""
        height, width = self.size
        return np.array([[self.focal, 0, width / 2], [0, self.focal, height / 2], [0, 0, 1]])

    def scaled(self, factor: int) -> "Camera":
        """Return the same view in a picture of factor times the size."""
        return replace(self, size=(self.size[0] * factor, self.size[1] * factor))

    def view(self, points: np.ndarray) -> np.ndarray:
        """Turn world points [..., 3] into view coordinates."""
        away = points - np.asarray(self.position)
        return rotated(away, self.rotation)

    def to_pixels(self, seen: np.ndarray) -> np.ndarray:
        """Project view coordinates [..., 3], all in front, to pixels [..., 2]."""
        centre = np.array([self.size[1] / 2, self.size[0] / 2])
        return seen[..., :2] * (self.focal / seen[..., 2:]) + centre

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels [..., 2] and depth [...] of world points.

        What is not in front of the camera has a depth below NEAR_M, and pixels of no meaning.
        """
        seen = self.view(np.asarray(points, np.float64))
        depth = seen[..., 2].copy()
        seen[..., 2] = np.maximum(depth, NEAR_M)
        return self.to_pixels(seen), depth

    def ground(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and depth, float32 [h, w], of the ground under each pixel.

        Above the horizon the depth is infinite, and x and y are far off.
        """
        height, width = self.size
        across = ((np.arange(width) + 0.5 - width / 2) / self.focal).astype(np.float32)
        down = ((np.arange(height) + 0.5 - height / 2) / self.focal).astype(np.float32)
        axes = self.rotation.astype(np.float32)
        # The camera does not roll: a row of pixels falls at one rate.
        fall = axes[1, 2] * down + axes[2, 2]
        eye = np.asarray(self.position, np.float32)
        depth = np.where(fall < -1e-4, -eye[2] / np.minimum(fall, -1e-4), 1e4)
        depth = depth.astype(np.float32)[:, None]
        x = eye[0] + depth * (across * axes[0, 0] + down[:, None] * axes[1, 0] + axes[2, 0])
        y = eye[1] + depth * (across * axes[0, 1] + down[:, None] * axes[1, 1] + axes[2, 1])
        far = np.where(fall < -1e-4, depth[:, 0], np.inf).astype(np.float32)[:, None]
        return x, y, np.broadcast_to(far, x.shape)


def rotated(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return points [..., 3] along new axes, the rows of [3, 3].

    Written out: a matrix library may round otherwise with another number of threads.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    turned = np.empty(points.shape)
    for axis, (a, b, c) in enumerate(axes.tolist()):
        turned[..., axis] = a * x + b * y + c * z
    return turned


def clip(seen: np.ndarray, plane: tuple[float, float, float, float]) -> np.ndarray:
    """Cut a polygon [n, 3] by a plane; keep the side where a x + b y + c z + d is positive."""
    a, b, c, d = plane
    side = a * seen[:, 0] + b * seen[:, 1] + c * seen[:, 2] + d
    if (side >= 0).all():
        return seen
    kept: list[np.ndarray] = []
    for this in range(len(seen)):
        last = this - 1
        if (side[last] >= 0) != (side[this] >= 0):
            share = side[last] / (side[last] - side[this])
            kept.append(seen[last] + share * (seen[this] - seen[last]))
        if side[this] >= 0:
            kept.append(seen[this])
    return np.array(kept).reshape(-1, 3)


def clip_to_view(seen: np.ndarray, camera: Camera) -> np.ndarray:
    """Cut a polygon in view coordinates to what can be seen, with a margin of half a picture."""
    height, width = camera.size
    across, down = width / camera.focal, height / camera.focal
    for plane in (
        (0.0, 0.0, 1.0, -NEAR_M),
        (1.0, 0.0, across, 0.0),
        (-1.0, 0.0, across, 0.0),
        (0.0, 1.0, down, 0.0),
        (0.0, -1.0, down, 0.0),
    ):
        if len(seen):
            seen = clip(seen, plane)
    return seen

"""A painter: convex polygons in the world, laid over a picture from far to near.

Pictures are uint8 [h, w, 3] in red, green, blue. Painted at twice the size and reduced, edges
come out soft.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from worldtune.data.scenes.camera import NEAR_M, Camera, clip_to_view
from worldtune.data.scenes.weather import Light, develop

SHIFT = 4  # polygons are placed to a sixteenth of a pixel
_ONE = 1 << SHIFT


@dataclass(frozen=True)
class Polygons:
    """Many convex polygons, corner after corner."""

    points: np.ndarray  # float64 [corners, 3], counter-clockwise seen from outside
    starts: np.ndarray  # int [polygons + 1]: where each begins among the corners
    normals: np.ndarray  # float64 [polygons, 3]: unit vectors out of them
    colours: np.ndarray  # float64 [polygons, 3], albedo
    glow: np.ndarray  # float64 [polygons]: the share of its colour that it sends out by itself
    gloss: np.ndarray  # float64 [polygons]: the share of the sky that it mirrors, 0 to 1
    both: np.ndarray  # bool [polygons]: seen from behind, too

    def moved(self, points: np.ndarray, normals: np.ndarray | None = None) -> "Polygons":
        """Return the same polygons with other corners."""
        normals = normals_of(points, self.starts) if normals is None else normals
        return replace(self, points=points, normals=normals)

    def mirrored(self) -> "Polygons":
        """Return their image in a wet ground: below it, and seen from outside still."""
        counts = np.diff(self.starts)
        last = np.repeat(self.starts[1:] - 1, counts)
        within = np.arange(len(self.points)) - np.repeat(self.starts[:-1], counts)
        below = np.array([1.0, 1.0, -1.0])
        return self.moved(self.points[last - within] * below, self.normals * below)


def normals_of(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return unit vectors out of flat polygons."""
    first = points[starts[:-1]]
    ux, uy, uz = (points[starts[:-1] + 1] - first).T
    vx, vy, vz = (points[starts[1:] - 1] - first).T
    across = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)
    return across / np.maximum(np.sqrt((across * across).sum(axis=1, keepdims=True)), 1e-12)


def joined(parts: Sequence[Polygons]) -> Polygons:
    """Return several groups as one."""
    ends = np.cumsum([0, *(len(part.points) for part in parts)])
    starts = [part.starts[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    return Polygons(
        np.concatenate([part.points for part in parts]),
        np.concatenate([*starts, ends[-1:]]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.glow for part in parts]),
        np.concatenate([part.gloss for part in parts]),
        np.concatenate([part.both for part in parts]),
    )


class Builder:
    """Gathers polygons one by one."""

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._rows: list[tuple[float, float, float, float, float, bool]] = []

    def add(
        self,
        points: Sequence[Sequence[float] | np.ndarray] | np.ndarray,
        colour: Sequence[float] | np.ndarray,
        *,
        glow: float = 0.0,
        gloss: float = 0.0,
        both: bool = False,
    ) -> None:
        """Add one polygon, [n, 3], in the order of painting."""
        self._points.append(np.asarray(points, np.float64).reshape(-1, 3))
        red, green, blue = (float(value) for value in colour)
        self._rows.append((red, green, blue, glow, gloss, both))

    def __len__(self) -> int:
        return len(self._rows)

    def build(self) -> Polygons:
        """Return what was added."""
        counts = [len(points) for points in self._points]
        rows = np.array(self._rows, np.float64).reshape(-1, 6)
        points = np.concatenate(self._points) if self._points else np.zeros((0, 3))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Polygons(
            points,
            starts,
            normals_of(points, starts),
            rows[:, :3],
            rows[:, 3],
            rows[:, 4],
            rows[:, 5] > 0,
        )


def pixel_corners(pixels: np.ndarray) -> np.ndarray:
    """Return pixel places [..., 2] as OpenCV takes them; its pixels' centres are whole numbers."""
    return np.round(np.clip((pixels - 0.5) * _ONE, -(2**30), 2**30)).astype(np.int32)


def fill(picture: np.ndarray, pixels: np.ndarray, colour: Sequence[int] | int) -> None:
    """Fill one convex polygon [n, 2] given in pixels."""
    value = (colour,) if isinstance(colour, int) else colour
    cv2.fillConvexPoly(picture, pixel_corners(pixels), value, cv2.LINE_8, SHIFT)


def colours_seen(
    polygons: Polygons, camera: Camera, light: Light, sunlit: float | np.ndarray = 1.0
) -> np.ndarray:
    """Return each polygon's colour as the camera sees it, uint8 [polygons, 3]."""
    normals = polygons.normals
    outward = polygons.points[polygons.starts[:-1]] - np.asarray(camera.position)
    distance = np.linalg.norm(outward, axis=1)
    facing = (outward * normals).sum(axis=1) / np.maximum(distance, 1e-6)
    normals = np.where((polygons.both & (facing > 0))[:, None], -normals, normals)
    sent = light.shade(polygons.colours, normals, sunlit)
    if polygons.gloss.any():
        # What is mirrored: the sky where the ray goes up, the darker street where it goes down.
        up = outward[:, 2] / np.maximum(distance, 1e-6) - 2 * facing * normals[:, 2]
        above, low = light.sky
        share = np.clip(up, 0, 1)[:, None] ** 0.6
        mirrored = low * (1 - share) + above * share
        street = low * (0.45 + 0.3 * np.minimum(up, 0))[:, None]
        mirrored = np.where(up[:, None] < 0, street, mirrored)
        fresnel = polygons.gloss * (0.14 + 0.86 * (1 - np.abs(facing)) ** 2.5)
        sent = sent * (1 - fresnel[:, None]) + mirrored * fresnel[:, None]
    sent = sent * (polygons.glow < 1)[:, None] + polygons.colours * polygons.glow[:, None]
    return develop(light.through_air(sent, distance))


class Prepared:
    """Polygons in a camera's picture, ready to be filled."""

    def __init__(self, polygons: Polygons, camera: Camera) -> None:
        starts = polygons.starts
        self._camera = camera
        self._seen = camera.view(polygons.points)
        self._starts = starts.tolist()
        distant = self._seen[:, 2]
        first = polygons.points[starts[:-1]] - np.asarray(camera.position)
        self._whole = np.minimum.reduceat(distant, starts[:-1]) > NEAR_M
        shown = ((first * polygons.normals).sum(axis=1) < 0) | polygons.both
        shown &= np.maximum.reduceat(distant, starts[:-1]) > NEAR_M
        seen = self._seen
        if not self._whole.all():
            seen = np.column_stack([seen[:, :2], np.maximum(distant, NEAR_M)])
        pixels = camera.to_pixels(seen)
        self.low = np.minimum.reduceat(pixels, starts[:-1])
        self.high = np.maximum.reduceat(pixels, starts[:-1])
        height, width = camera.size
        inside = (self.high > 0).all(axis=1) & (self.low < (width, height)).all(axis=1)
        self.shown = shown & (inside | ~self._whole)
        self._corners = pixel_corners(pixels)

    def fill(self, picture: np.ndarray, colours: np.ndarray, order: np.ndarray) -> None:
        """Fill some of the polygons in an order; those that cannot be seen are left out.

        Polygons that reach behind the camera are cut.
        """
        chosen = order[self.shown[order]]
        starts, corners = self._starts, self._corners
        if self._whole[chosen].all():
            for number, value in zip(chosen.tolist(), colours[chosen].tolist(), strict=True):
                part = corners[starts[number] : starts[number + 1]]
                cv2.fillConvexPoly(picture, part, value, cv2.LINE_8, SHIFT)
            return
        for number, value in zip(chosen.tolist(), colours[chosen].tolist(), strict=True):
            part = self._seen[starts[number] : starts[number + 1]]
            cut = clip_to_view(part, self._camera)
            if len(cut) >= 3:
                part = pixel_corners(self._camera.to_pixels(cut))
                cv2.fillConvexPoly(picture, part, value, cv2.LINE_8, SHIFT)

    def box(self, first: int, last: int) -> tuple[int, int, int, int] | None:
        """Return the pixels (top, bottom, left, right) that polygons first to last - 1 fill."""
        if not self._whole[first:last].all():
            return 0, self._camera.size[0], 0, self._camera.size[1]
        shown = self.shown[first:last]
        if not shown.any():
            return None
        low, high = self.low[first:last][shown], self.high[first:last][shown]
        return box_of(low.min(axis=0), high.max(axis=0), self._camera.size)


def paint(
    picture: np.ndarray,
    polygons: Polygons,
    camera: Camera,
    colours: np.ndarray,
    order: np.ndarray | None = None,
) -> None:
    """Paint polygons in their own colours, in the order given."""
    if len(polygons.colours):
        order = np.arange(len(polygons.colours)) if order is None else order
        Prepared(polygons, camera).fill(picture, colours, order)


def box_of(
    low: np.ndarray, high: np.ndarray, size: tuple[int, int], margin: int = 2
) -> tuple[int, int, int, int] | None:
    """Return whole pixels around a span of places (x, y), cut to the picture."""
    height, width = size
    top, bottom = max(int(low[1]) - margin, 0), min(int(high[1]) + margin + 1, height)
    left, right = max(int(low[0]) - margin, 0), min(int(high[0]) + margin + 1, width)
    return (top, bottom, left, right) if top < bottom and left < right else None


def far_to_near(polygons: Polygons, camera: Camera) -> np.ndarray:
    """Return an order of painting: by the depth of the polygons' middles."""
    depth = camera.view(polygons.points)[:, 2]
    counts = np.diff(polygons.starts)
    return np.argsort(-np.add.reduceat(depth, polygons.starts[:-1]) / counts, kind="stable")


class Canvas:
    """A picture with a depth at each pixel, for things painted in any order."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.picture = np.zeros((*size, 3), np.uint8)
        self.depth = np.full(size, np.inf, np.float32)
        self._mask = np.zeros((*size, 1), np.uint8)

    def paint(
        self,
        polygons: Polygons,
        camera: Camera,
        colours: np.ndarray,
        depth: float,
        order: np.ndarray | None = None,
    ) -> None:
        """Paint a group that stands at one depth; what stands nearer stays in front of it."""
        self._paint(polygons, camera, colours, order, lambda box: depth)

    def paint_face(
        self, polygons: Polygons, camera: Camera, colours: np.ndarray, corners: np.ndarray
    ) -> None:
        """Paint a flat face [n, 3] and what lies on it, at the face's own depth."""
        seen = camera.view(corners)
        normal = np.cross(seen[1] - seen[0], seen[-1] - seen[0])

        def depth(box: tuple[int, int, int, int]) -> np.ndarray:
            # One over depth is linear across a flat face's picture.
            rows, columns = np.ogrid[box[0] : box[1], box[2] : box[3]]
            across = (columns + 0.5 - camera.size[1] / 2) / camera.focal
            down = (rows + 0.5 - camera.size[0] / 2) / camera.focal
            slope = (normal[0] * across + normal[1] * down + normal[2]) / (normal @ seen[0])
            return 1 / np.maximum(slope, 1e-4)

        self._paint(polygons, camera, colours, None, depth)

    def _paint(
        self,
        polygons: Polygons,
        camera: Camera,
        colours: np.ndarray,
        order: np.ndarray | None,
        depth_of: Callable[[tuple[int, int, int, int]], float | np.ndarray],
    ) -> None:
        count = len(polygons.colours)
        prepared = Prepared(polygons, camera)
        box = prepared.box(0, count)
        if box is None:
            return
        part = np.s_[box[0] : box[1], box[2] : box[3]]
        before = self.picture[part].copy()
        order = np.arange(count) if order is None else order
        prepared.fill(self.picture, colours, order)
        prepared.fill(self._mask, np.full((count, 1), 255), order)
        cover = self._mask[part][..., 0] > 0
        self._mask[part] = 0
        self._settle(part, before, cover, depth_of(box))

    def _settle(
        self,
        part: tuple[slice, slice],
        before: np.ndarray,
        cover: np.ndarray,
        depth: float | np.ndarray,
    ) -> None:
        """Give pixels back to what stands nearer, and keep the depth of the others."""
        behind = cover & (self.depth[part] < depth)
        self.picture[part][behind] = before[behind]
        front = cover & ~behind
        self.depth[part][front] = depth[front] if isinstance(depth, np.ndarray) else depth

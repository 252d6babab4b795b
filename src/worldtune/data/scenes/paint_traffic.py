"""All that moves in one frame: shadows first, then bodies from far to near.

The bodies of a frame are projected and coloured together: NumPy's cost is by the call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, hypot, sin

import cv2
import numpy as np

from worldtune.data.scenes.camera import NEAR_M, Camera
from worldtune.data.scenes.paint import (
    SHIFT,
    Prepared,
    box_of,
    colours_seen,
    joined,
    pixel_corners,
)
from worldtune.data.scenes.paint_backdrop import Backdrop, glow, pixel_of
from worldtune.data.scenes.paint_movers import Mover, boxes, size_of
from worldtune.data.scenes.paint_people import figure_polygons, to_world
from worldtune.data.scenes.recording import BRAKE
from worldtune.data.scenes.weather import Colour, Light

_FAR_M, _FAR_ON_FOOT_M = 150.0, 85.0
_IMAGE = 0.30  # of a body, seen in a wet road
_BEAM_M = 10.0
_WHITE, _RED = (1.0, 0.92, 0.75), (1.0, 0.12, 0.08)  # of halos
_BEAM, _COARSE = (34, 30, 21), 8


@dataclass(frozen=True)
class _Seen:
    """One body in a frame, and where its polygons lie among all."""

    mover: Mover
    depth: float
    sunlit: float
    first: int
    order: np.ndarray
    outer: np.ndarray


class Traffic:
    """The bodies of a clip before its backdrop."""

    def __init__(
        self, movers: Sequence[Mover], camera: Camera, light: Light, backdrop: Backdrop
    ) -> None:
        self._camera, self._light, self._backdrop = camera, light, backdrop
        self._mask = np.zeros(camera.size, np.uint8)
        self._scratch = np.zeros_like(backdrop.lit) if light.wet else None
        views = [(mover, *self._when_seen(mover)) for mover in movers]
        views = [view for view in views if view[1].any()]
        self._movers = [view[0] for view in views]
        self._shown = np.array([view[1] for view in views])  # bool [movers, frames]
        self._depth = np.array([view[2] for view in views])
        self._sunlit = np.array([view[3] for view in views])

    def _when_seen(self, mover: Mover) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        motion, camera = mover.motion, self._camera
        places = np.stack([motion.x, motion.y, motion.heading], axis=1)
        around = boxes(size_of(mover.body), places, camera)
        height, width = camera.size
        # A shadow may be in view where its body is not.
        room = (0.04 if mover.body.kind == "pedestrian" else 0.3) * width
        ground = np.stack([motion.x, motion.y, np.zeros_like(motion.x)], axis=1)
        pixels, depth = camera.project(ground)
        far = _FAR_ON_FOOT_M if mover.body.kind == "pedestrian" else _FAR_M
        shown = motion.present & np.isfinite(around[:, 0]) & (depth < far)
        with np.errstate(invalid="ignore"):
            shown &= (around[:, 2] > -room) & (around[:, 0] < width + room)
            shown &= (around[:, 3] > -room) & (around[:, 1] < height + room)
        shadows = self._backdrop.shadows
        at = np.clip(pixels / 2, 0, [shadows.shape[1] - 1, shadows.shape[0] - 1]).astype(int)
        return shown, depth, 1.0 - shadows[at[:, 1], at[:, 0]] / 255.0

    def stage(self, number: int) -> "_Stage":
        """Bring the bodies of one frame before the camera."""
        return _Stage(self, number)


class _Stage:
    """One frame's bodies."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        self._traffic, self._number = traffic, number
        self._camera, self._light = traffic._camera, traffic._light
        self._backdrop = traffic._backdrop
        self._seen: list[_Seen] = []
        if not traffic._movers:
            return
        shown = np.flatnonzero(traffic._shown[:, number])
        shown = shown[np.argsort(-traffic._depth[shown, number], kind="stable")]
        if len(shown):
            self._gather(shown.tolist())

    def _gather(self, shown: list[int]) -> None:
        traffic, number, camera = self._traffic, self._number, self._camera
        movers = [traffic._movers[n] for n in shown]
        people = [(m, limbs) for m in movers if (limbs := m.limbs(number)) is not None]
        parts, spans, count = [], {}, 0
        for mover in movers:
            if mover.body.kind != "pedestrian":
                part = mover.polygons(number)
                spans[id(mover)] = [(count, count + len(part.colours))]
                parts.append(part)
                count += len(part.colours)
        if people:
            figures = [(limbs, mover.place(number)) for mover, limbs in people]
            polygons, ends = figure_polygons(figures, camera.position)
            parts.append(polygons)
            for (mover, _), low, high in zip(
                people, ends.tolist(), ends[1:].tolist(), strict=False
            ):
                spans.setdefault(id(mover), []).append((count + low, count + high))
        self._polygons = joined(parts)
        sunlit = np.ones(len(self._polygons.colours))
        for n, mover in zip(shown, movers, strict=True):
            lit = float(traffic._sunlit[n, number])
            ranges = spans[id(mover)]
            for low, high in ranges:
                sunlit[low:high] = lit
            order = np.concatenate([np.arange(low, high) for low, high in ranges])
            if mover.mesh is not None:
                away = np.array(camera.position[:2]) - mover.place(number)[:2]
                heading = mover.place(number)[2]
                ahead = away @ [np.cos(heading), np.sin(heading)] > 0
                order = order[mover.mesh.rear_first if ahead else mover.mesh.front_first]
            depth = float(traffic._depth[n, number])
            outer = self._outer(mover, ranges)
            self._seen.append(_Seen(mover, depth, lit, ranges[0][0], order, outer))
        self._colours = colours_seen(self._polygons, camera, self._light, sunlit)
        self._prepared = Prepared(self._polygons, camera)

    def _outer(self, mover: Mover, ranges: list[tuple[int, int]]) -> np.ndarray:
        """Return the body's points that may lie on its shadow's edge, [n, 3] in the world."""
        if mover.mesh is not None:
            return to_world(mover.mesh.outer, *mover.place(self._number))
        starts, points = self._polygons.starts, self._polygons.points
        return np.concatenate([points[starts[low] : starts[high]] for low, high in ranges])

    def shadows(self, canvas: np.ndarray) -> None:
        """Darken the ground beneath the bodies, and where they keep the sun off."""
        if not self._seen:
            return
        shade = self._backdrop.shade
        if self._light.closed:
            self._uncover(canvas, shade, self._beneath(0.38))
        else:
            self._uncover(canvas, shade, self._fallen())
        self._uncover(canvas, self._backdrop.contact, self._beneath(-0.06))

    def _fallen(self) -> list[np.ndarray]:
        """Return the outlines in pixels of the shadows that the sun throws."""
        outer = [seen.outer for seen in self._seen if seen.sunlit > 0.05]
        if not outer:
            return []
        flat = np.concatenate(outer)
        sun = self._light.towards_sun
        flat[:, :2] -= flat[:, 2:] * (sun[:2] / sun[2])
        flat[:, 2] = 0.0
        pixels, depth = self._camera.project(flat)
        ends = np.cumsum([len(points) for points in outer])[:-1]
        parts = zip(np.split(pixels, ends), np.split(depth, ends), strict=True)
        return [_hull(places) for places, far in parts if (far > NEAR_M).all()]

    def _beneath(self, margin: float) -> list[np.ndarray]:
        """Return the bodies' outlines on the ground in pixels, grown by a margin in metres."""
        pixels, depth = self._camera.project(_outlines(self._seen, self._number, margin))
        return list(pixels[(depth > NEAR_M).all(axis=1)])

    def _uncover(
        self, canvas: np.ndarray, other: np.ndarray, outlines: Sequence[np.ndarray]
    ) -> None:
        """Show another picture of the ground within convex outlines."""
        if not outlines:
            return
        ends = np.cumsum([0, *(len(outline) for outline in outlines)])
        corners = pixel_corners(np.concatenate(outlines))
        size = np.array([canvas.shape[1], canvas.shape[0]])
        low = np.clip((np.minimum.reduceat(corners, ends[:-1]) >> SHIFT) - 1, 0, size)
        high = np.clip((np.maximum.reduceat(corners, ends[:-1]) >> SHIFT) + 2, 0, size)
        mask = self._traffic._mask
        for row, ((left, top), (right, bottom)) in enumerate(
            zip(low.tolist(), high.tolist(), strict=True)
        ):
            if left < right and top < bottom:
                outline = corners[ends[row] : ends[row + 1]]
                cv2.fillConvexPoly(mask, outline, (255,), cv2.LINE_8, SHIFT)
                part = np.s_[top:bottom, left:right]
                cv2.copyTo(other[part], mask[part], canvas[part])
                mask[part] = 0

    def images(self, canvas: np.ndarray) -> None:
        """Show the bodies upside down in the wet ground."""
        scratch = self._traffic._scratch
        if scratch is None or not self._seen:
            return
        prepared = Prepared(self._polygons.mirrored(), self._camera)
        for seen in self._seen:
            box = prepared.box(int(seen.order.min()), int(seen.order.max()) + 1)
            if seen.mover.mesh is None:
                box = prepared.box(int(seen.order[-1]) - 5, int(seen.order[-1]) + 1)
            if box is None:
                continue
            part = np.s_[box[0] : box[1], box[2] : box[3]]
            scratch[part] = canvas[part]
            prepared.fill(scratch, self._lit(seen, blink=False), seen.order)
            mixed = cv2.addWeighted(canvas[part], 1 - _IMAGE, scratch[part], _IMAGE, 0.0)
            standing = np.isfinite(self._backdrop.depth[part])
            mixed[standing] = canvas[part][standing]
            canvas[part] = mixed

    def beams(self, canvas: np.ndarray) -> None:
        """Throw the headlights' light on the road ahead."""
        quads = []
        for seen in self._seen:
            if seen.mover.mesh is not None:
                near = seen.mover.body.length / 2 + 0.4
                far = near + _BEAM_M
                shape = [[near, -0.8, 0], [far, -2.2, 0], [far, 2.2, 0], [near, 0.8, 0]]
                quads.append(to_world(np.array(shape), *seen.mover.place(self._number)))
        if not quads:
            return
        pixels, depth = self._camera.project(np.array(quads))
        height, width = self._camera.size
        # Soft light needs no detail: a small picture of it will do.
        small = np.zeros((height // _COARSE, width // _COARSE, 3), np.uint8)
        scale = small.shape[1] / width
        for quad in pixels[(depth > NEAR_M).all(axis=1)]:
            corners = pixel_corners(quad * scale)
            cv2.fillConvexPoly(small, corners, _BEAM, cv2.LINE_AA, SHIFT)
        small = cv2.GaussianBlur(small, (0, 0), small.shape[1] / 70)
        cv2.add(canvas, cv2.resize(small, (width, height)), dst=canvas)

    def bodies(self, canvas: np.ndarray, *, blink: bool) -> None:
        """Paint the bodies; what stands nearer stays in front."""
        depth = self._backdrop.depth
        halos = self._halos() if self._light.lamps else [[]] * len(self._seen)
        for seen, lamps in zip(self._seen, halos, strict=True):
            box = self._box(seen)
            if box is None:
                continue
            part = np.s_[box[0] : box[1], box[2] : box[3]]
            nearer = depth[part] < seen.depth
            before = canvas[part].copy() if nearer.any() else None
            self._prepared.fill(canvas, self._lit(seen, blink=blink), seen.order)
            for lamp in lamps:
                glow(canvas, *lamp)
            if before is not None:
                canvas[part][nearer] = before[nearer]

    def _box(self, seen: _Seen) -> tuple[int, int, int, int] | None:
        numbers = seen.order[self._prepared.shown[seen.order]]
        if not len(numbers):
            return None
        low = self._prepared.low[numbers].min(axis=0)
        high = self._prepared.high[numbers].max(axis=0)
        return box_of(low, high, self._camera.size)

    def _lit(self, seen: _Seen, *, blink: bool) -> np.ndarray:
        """Return all colours, with a body's lamps that are on among them."""
        mesh = seen.mover.mesh
        if mesh is not None:
            for name, lamp in seen.mover.lamps_on(self._number, self._light, blink=blink):
                numbers = seen.first + mesh.lamps[name]
                self._colours[numbers] = pixel_of(self._light, lamp, seen.depth)
        return self._colours

    def _halos(self) -> list[list[tuple[np.ndarray, float, Colour, float]]]:
        """Return the halos of each body's lamps: place, reach in pixels, colour, strength."""
        halos: list[list[tuple[np.ndarray, float, Colour, float]]] = [[] for _ in self._seen]
        strength = 0.75 if self._light.dark else 0.4
        eye, lamps, told = np.array(self._camera.position[:2]), [], []
        for row, seen in enumerate(self._seen):
            if seen.mover.mesh is None:
                continue
            body, place = seen.mover.body, seen.mover.place(self._number)
            away = eye - place[:2]
            facing = float(away[0] * cos(place[2]) + away[1] * sin(place[2])) / hypot(*away)
            braking = int(seen.mover.motion.lights[self._number]) & BRAKE
            if facing < 0.05 and not (braking and facing < -0.05):
                continue
            end, colour, reach = (1, _WHITE, 0.55) if facing > 0 else (-1, _RED, 0.5)
            x, y = end * body.length / 2, body.width * 0.38
            lamps.append(to_world(np.array([[x, -y, 0.66], [x, y, 0.66]]), *place))
            told.append((row, colour, reach, strength * abs(facing)))
        if lamps:
            pixels, depth = self._camera.project(np.array(lamps))
            for (row, colour, reach, bright), places, fars in zip(
                told, pixels, depth.tolist(), strict=True
            ):
                halos[row] = [
                    (place, self._camera.focal * reach / far, colour, bright)
                    for place, far in zip(places, fars, strict=True)
                    if far > 2
                ]
        return halos


def _hull(pixels: np.ndarray) -> np.ndarray:
    return cv2.convexHull(pixels.astype(np.float32))[:, 0]


def _outlines(seen: Sequence[_Seen], number: int, margin: float) -> np.ndarray:
    """Return the bodies' outlines on the ground, float64 [n, 8, 3]."""
    local = np.array([_outline(s.mover.body.length, s.mover.body.width, margin) for s in seen])
    x, y, heading = np.array([s.mover.place(number) for s in seen]).T[..., None]
    c, s = np.cos(heading), np.sin(heading)
    moved = np.zeros((len(seen), 8, 3))
    moved[..., 0] = x + c * local[..., 0] - s * local[..., 1]
    moved[..., 1] = y + s * local[..., 0] + c * local[..., 1]
    return moved


@lru_cache(maxsize=512)
def _outline(length: float, width: float, margin: float) -> np.ndarray:
    """Return an outline with cut corners, float64 [8, 2]."""
    x, y = max(length / 2 + margin, 0.12), max(width / 2 + margin, 0.12)
    cut = min(0.35, 0.6 * min(x, y))
    return np.array([
        [x - cut, -y], [x, cut - y], [x, y - cut], [x - cut, y],
        [cut - x, y], [-x, y - cut], [-x, cut - y], [cut - x, -y],
    ])  # fmt: skip

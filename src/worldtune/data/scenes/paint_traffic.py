"""All that moves in one frame: shadows first, then bodies from far to near.

The bodies of a frame are projected and coloured together: NumPy's cost is by the call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
from worldtune.data.scenes.paint_movers import Mover, boxes
from worldtune.data.scenes.paint_people import figure_polygons, to_world
from worldtune.data.scenes.recording import BRAKE
from worldtune.data.scenes.weather import Light

_FAR_M, _FAR_ON_FOOT_M = 150.0, 85.0
_IMAGE = 0.30  # of a body, seen in a wet road
_BEAM_M = 9.0


@dataclass(frozen=True)
class _Seen:
    """One body in a frame, and where its polygons lie among all."""

    mover: Mover
    depth: float
    sunlit: float
    first: int
    last: int
    order: np.ndarray


class Traffic:
    """The bodies of a clip before its backdrop."""

    def __init__(
        self, movers: Sequence[Mover], camera: Camera, light: Light, backdrop: Backdrop
    ) -> None:
        self._camera, self._light, self._backdrop = camera, light, backdrop
        self._mask = np.zeros(camera.size, np.uint8)
        self._scratch = np.zeros_like(backdrop.lit) if light.wet else None
        self._movers = [mover for mover in movers if mover.motion.present.any()]
        views = [self._when_seen(mover) for mover in self._movers]
        self._shown = np.array([view[0] for view in views])  # bool [movers, frames]
        self._depth = np.array([view[1] for view in views])
        self._sunlit = np.array([view[2] for view in views])

    def _when_seen(self, mover: Mover) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        motion, camera = mover.motion, self._camera
        places = np.stack([motion.x, motion.y, motion.heading], axis=1)
        around = boxes(mover.body, places, camera)
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
        shown = (
            np.flatnonzero(traffic._shown[:, number]) if len(traffic._shown) else np.zeros(0, int)
        )
        shown = shown[np.argsort(-traffic._depth[shown, number], kind="stable")]
        self._seen: list[_Seen] = []
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
            # Wheels come before the rider who sits between them, and need not be near in the list.
            self._seen.append(_Seen(mover, depth, lit, ranges[0][0], ranges[0][1], order))
        self._colours = colours_seen(self._polygons, camera, self._light, sunlit)
        self._prepared = Prepared(self._polygons, camera)

    def shadows(self, canvas: np.ndarray) -> None:
        """Darken the ground beneath the bodies, and where they keep the sun off."""
        if not self._seen:
            return
        light, camera = self._light, self._camera
        fall = np.zeros(2) if light.closed else -light.towards_sun[:2] / light.towards_sun[2]
        if not light.closed:
            flat = self._polygons.points.copy()
            flat[:, :2] += flat[:, 2:] * fall
            flat[:, 2] = 0.0
            pixels, depth = camera.project(flat)
            starts = self._polygons.starts
            for seen in self._seen:
                if seen.sunlit > 0.05:
                    corners = self._corner_numbers(seen, starts)
                    if (depth[corners] > NEAR_M).all():
                        self._uncover(canvas, self._backdrop.shade, _hull(pixels[corners]))
        else:
            self._beneath(canvas, self._backdrop.shade, 0.38)
        self._beneath(canvas, self._backdrop.contact, -0.06)

    def _corner_numbers(self, seen: _Seen, starts: np.ndarray) -> np.ndarray | slice:
        if seen.mover.mesh is not None or seen.mover.body.kind == "pedestrian":
            return slice(int(starts[seen.first]), int(starts[seen.last]))
        spans = [(int(starts[n]), int(starts[n + 1])) for n in seen.order.tolist()]
        return np.concatenate([np.arange(low, high) for low, high in spans])

    def _beneath(self, canvas: np.ndarray, other: np.ndarray, margin: float) -> None:
        """Uncover another picture of the ground under each body's outline, grown by a margin."""
        outlines = np.array([_outline(s.mover, self._number, margin) for s in self._seen])
        pixels, depth = self._camera.project(outlines)
        for outline, far in zip(pixels, depth, strict=True):
            if (far > NEAR_M).all():
                self._uncover(canvas, other, outline)

    def _uncover(self, canvas: np.ndarray, other: np.ndarray, outline: np.ndarray) -> None:
        box = box_of(outline.min(axis=0), outline.max(axis=0), self._camera.size)
        if box is None:
            return
        mask = self._traffic._mask[box[0] : box[1], box[2] : box[3]]
        corners = pixel_corners(outline - [box[2], box[0]])
        cv2.fillConvexPoly(mask, corners, (255,), cv2.LINE_8, SHIFT)
        part = np.s_[box[0] : box[1], box[2] : box[3]]
        cv2.copyTo(other[part], mask, canvas[part])
        mask[:] = 0

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
        for seen in self._seen:
            if seen.mover.mesh is None:
                continue
            near = seen.mover.body.length / 2 + 0.4
            far = near + _BEAM_M
            shape = np.array([[near, -0.8, 0], [far, -2.6, 0], [far, 2.6, 0], [near, 0.8, 0]])
            place = seen.mover.place(self._number)
            pixels, depth = self._camera.project(to_world(shape, *place))
            if (depth > NEAR_M).all():
                _add_beam(canvas, pixels)

    def bodies(self, canvas: np.ndarray, *, blink: bool) -> None:
        """Paint the bodies; what stands nearer stays in front."""
        depth = self._backdrop.depth
        for seen in self._seen:
            box = self._box(seen)
            if box is None:
                continue
            part = np.s_[box[0] : box[1], box[2] : box[3]]
            nearer = depth[part] < seen.depth
            before = canvas[part].copy() if nearer.any() else None
            self._prepared.fill(canvas, self._lit(seen, blink=blink), seen.order)
            if self._light.lamps and seen.mover.mesh is not None:
                self._shine(canvas, seen)
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

    def _shine(self, canvas: np.ndarray, seen: _Seen) -> None:
        """Add the halo of headlights that look at the camera, and of brake lamps."""
        body, place = seen.mover.body, seen.mover.place(self._number)
        away = np.array(self._camera.position[:2]) - place[:2]
        facing = float(away @ [np.cos(place[2]), np.sin(place[2])] / np.linalg.norm(away))
        strength = 0.75 if self._light.dark else 0.4
        ends = [(1, facing, (1.0, 0.92, 0.75), 0.55)]
        if int(seen.mover.motion.lights[self._number]) & BRAKE:
            ends.append((-1, -facing, (1.0, 0.12, 0.08), 0.5))
        for end, towards, colour, reach in ends:
            if towards <= 0.05:
                continue
            lamps = np.array(
                [[end * body.length / 2, s * body.width * 0.38, 0.66] for s in (-1, 1)]
            )
            pixels, depth = self._camera.project(to_world(lamps, *place))
            for pixel, far in zip(pixels, depth.tolist(), strict=True):
                if far > 2:
                    glow(canvas, pixel, self._camera.focal * reach / far, colour,
                         strength * towards)  # fmt: skip


def _hull(pixels: np.ndarray) -> np.ndarray:
    return cv2.convexHull(pixels.astype(np.float32))[:, 0]


def _outline(mover: Mover, number: int, margin: float) -> np.ndarray:
    """Return the outline on the ground, with cut corners, float64 [8, 3]."""
    half = np.array([mover.body.length, mover.body.width]) / 2 + margin
    x, y = np.maximum(half, 0.12)
    cut = min(0.35, 0.6 * float(min(x, y)))
    corners = np.array([
        [x - cut, -y, 0], [x, cut - y, 0], [x, y - cut, 0], [x - cut, y, 0],
        [cut - x, y, 0], [-x, y - cut, 0], [-x, cut - y, 0], [cut - x, -y, 0],
    ])  # fmt: skip
    return to_world(corners, *mover.place(number))


def _add_beam(canvas: np.ndarray, pixels: np.ndarray) -> None:
    """Add a soft patch of light over a quad [4, 2] of the ground."""
    box = box_of(pixels.min(axis=0), pixels.max(axis=0), canvas.shape[:2], 8)
    if box is None:
        return
    step = max(canvas.shape[1] // 112, 1)
    high, wide = (box[1] - box[0]) // step + 1, (box[3] - box[2]) // step + 1
    mask = np.zeros((high, wide), np.uint8)
    corners = pixel_corners((pixels - [box[2], box[0]]) / step)
    cv2.fillConvexPoly(mask, corners, (46,), cv2.LINE_AA, SHIFT)
    mask = cv2.GaussianBlur(mask, (0, 0), max(high, wide) * 0.06 + 0.5)
    mask = cv2.resize(mask, (box[3] - box[2], box[1] - box[0]), interpolation=cv2.INTER_LINEAR)
    part = canvas[box[0] : box[1], box[2] : box[3]]
    warm = (mask[..., None] * np.array([1.0, 0.9, 0.66])).astype(np.uint8)
    cv2.add(part, warm, dst=part)

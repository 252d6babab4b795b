"""What a crash leaves on the road: tyre marks and broken pieces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from worldtune.data.scenes.camera import NEAR_M, Camera
from worldtune.data.scenes.paint import Builder, box_of, colours_seen, fill, paint
from worldtune.data.scenes.paint_people import to_world
from worldtune.data.scenes.playback import Motion
from worldtune.data.scenes.recording import Recording
from worldtune.data.scenes.weather import Colour, Light

if TYPE_CHECKING:
    from worldtune.data.scenes.paint_backdrop import Backdrop
    from worldtune.data.scenes.paint_movers import Mover

_SLIDES_MPS = 1.2  # a slower body leaves no mark
_SLIP = 0.14  # radians between the way a tyre points and the way it goes
_BRAKES_MPS2 = 4.0  # harder braking locks wheels
_MARK = 0.68  # of the light that asphalt under rubber sends back
_PIECES = 22
_FRICTION = 5.5  # metres a second squared, of pieces on the road

_COLOURS: tuple[Colour, ...] = (
    (0.03, 0.03, 0.03), (0.10, 0.10, 0.10), (0.55, 0.57, 0.58), (0.45, 0.05, 0.04),
)  # fmt: skip


class Marks:
    """Tyre marks of the bodies in contact, from the contact on."""

    def __init__(self, movers: Sequence["Mover"]) -> None:
        self._movers = [m for m in movers if m.contact is not None and m.mesh is not None]

    def lay(self, number: int, fps: float, camera: Camera, backdrop: "Backdrop") -> None:
        """Add what the last frame's motion leaves to the pictures of the ground."""
        for mover in self._movers:
            motion = mover.motion
            if number <= mover.contact_frame or not motion.present[number - 1 : number + 1].all():
                continue
            if mover.mesh is None or not _slides(motion, number, fps):
                continue
            tread = mover.body.width / 2 - 0.12
            wheels = np.array([[x, s * tread, 0.0] for x, _ in mover.mesh.wheels for s in (-1, 1)])
            before, after = (
                to_world(wheels, *(float(v[n]) for v in (motion.x, motion.y, motion.heading)))
                for n in (number - 1, number)
            )
            for one, other in zip(before[:, :2], after[:, :2], strict=True):
                _darken(one, other, camera, backdrop)


def _slides(motion: Motion, number: int, fps: float) -> bool:
    """Whether tyres rub off on the road: they go aside, or are locked."""
    velocity = motion.velocity[number]
    speed = float(np.linalg.norm(velocity))
    if speed < _SLIDES_MPS:
        return False
    heading = float(motion.heading[number])
    aside = abs(velocity[1] * np.cos(heading) - velocity[0] * np.sin(heading)) / speed
    slowing = (float(np.linalg.norm(motion.velocity[number - 1])) - speed) * fps
    return bool(aside > _SLIP or slowing > _BRAKES_MPS2)


def _darken(one: np.ndarray, other: np.ndarray, camera: Camera, backdrop: "Backdrop") -> None:
    along = other - one
    length = float(np.linalg.norm(along))
    if length < 0.02:
        return
    left = np.array([-along[1], along[0]]) / length * 0.10
    points = np.zeros((4, 3))
    points[:, :2] = [one - left, other - left, other + left, one + left]
    pixels, depth = camera.project(points)
    box = box_of(pixels.min(axis=0), pixels.max(axis=0), camera.size)
    if (depth <= NEAR_M).any() or box is None:
        return
    mask = np.zeros((box[1] - box[0], box[3] - box[2]), np.uint8)
    fill(mask, pixels - [box[2], box[0]], 1)
    part = np.s_[box[0] : box[1], box[2] : box[3]]
    chosen = (mask > 0) & ~np.isfinite(backdrop.depth[part])
    for picture in (backdrop.lit, backdrop.shade, backdrop.contact):
        picture[part][chosen] = (picture[part][chosen] * _MARK).astype(np.uint8)


class Scraps:
    """Broken pieces that fly from the contact and come to rest."""

    def __init__(
        self, recording: Recording, times_s: np.ndarray, random: np.random.Generator
    ) -> None:
        contact = recording.contact
        assert contact is not None
        self._since = times_s - contact.time_s
        self._start = np.array(contact.place) + random.normal(0, 0.35, (_PIECES, 2))
        hit = float(np.mean(contact.speed_change_mps))
        turn = random.uniform(0, 2 * np.pi, _PIECES)
        speed = random.uniform(0.2, 1.0, _PIECES) * np.clip(hit, 2.5, 9.0)
        self._way = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        self._speed = speed
        self._up = random.uniform(0.6, 2.6, _PIECES)
        self._size = random.uniform(0.05, 0.17, _PIECES)
        self._turn = random.uniform(0, 2 * np.pi, (_PIECES, 2))
        build = Builder()
        for colour in random.integers(len(_COLOURS), size=_PIECES).tolist():
            build.add(np.zeros((4, 3)), _COLOURS[colour], both=True)
        self._shape = build.build()

    def paint(
        self, canvas: np.ndarray, number: int, camera: Camera, light: Light, depth: np.ndarray
    ) -> None:
        """Paint the pieces, where nothing that stands hides them."""
        since = float(self._since[number])
        if since <= 0:
            return
        rolled = np.minimum(since, self._speed / _FRICTION)
        reach = self._speed * rolled - _FRICTION * rolled**2 / 2
        places = self._start + self._way * reach[:, None]
        height = np.maximum(0.5 + self._up * since - 4.9 * since**2, 0.03)
        spin = self._turn[:, :1] + self._turn[:, 1:] * 2 * rolled[:, None]
        turns = spin + np.array([0.0, 1.7, 3.3, 4.9])
        ring = np.stack(
            [1.2 * np.cos(turns), 0.8 * np.sin(turns), 0.35 * np.sin(turns + spin)], axis=2
        )
        middle = np.column_stack([places, height])
        points = (middle[:, None] + ring * self._size[:, None, None]).reshape(-1, 3)
        polygons = self._shape.moved(points)
        pixels, far = camera.project(polygons.points[::4])
        inside = (pixels >= 0).all(axis=1) & (pixels < [camera.size[1], camera.size[0]]).all(axis=1)
        seen = np.zeros(_PIECES, bool)
        at = pixels[inside].astype(int)
        seen[inside] = depth[at[:, 1], at[:, 0]] > far[inside]
        order = np.flatnonzero(seen)
        if len(order):
            paint(canvas, polygons, camera, colours_seen(polygons, camera, light), order)

"""One body through a clip: its shape, its lamps and its clothes, frame by frame."""

from dataclasses import dataclass, field
from functools import cached_property
from math import cos, sin
from typing import Any

import numpy as np

from worldtune.data.scenes import paint_people
from worldtune.data.scenes.bodies import Mesh, vehicle
from worldtune.data.scenes.camera import NEAR_M, Camera
from worldtune.data.scenes.paint import Polygons, normals_of
from worldtune.data.scenes.paint_people import Clothes, to_world, wheels_of
from worldtune.data.scenes.playback import Motion
from worldtune.data.scenes.recording import BRAKE, LEFT, RATE_HZ, RIGHT, Body, Contact
from worldtune.data.scenes.style import BODY_COLOURS, choose_clothes
from worldtune.data.scenes.weather import Light

ON_FOOT, ON_TWO_WHEELS = ("pedestrian",), ("bicycle", "motorcycle")
_DIVE = 0.0075  # radians of pitch for one metre a second squared
_MOST_DIVE = 0.045
_DENT_M, _DENT_REACH_M = 0.30, 1.25
BRAKE_LIGHT, TAIL_LIGHT = (2.6, 0.10, 0.07), (0.62, 0.02, 0.02)
INDICATOR_LIGHT, HEADLIGHT = (2.6, 1.05, 0.10), (3.5, 3.2, 2.6)

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)])


@dataclass(frozen=True)
class Mover:
    """A body and all that its pictures need; arrays hold one value a frame."""

    body: Body
    motion: Motion
    travelled: np.ndarray  # metres
    pitch: np.ndarray  # radians, the nose down
    colour: str
    variant: int  # among the makes of its kind
    contact: Contact | None
    contact_frame: int
    clothes: Clothes
    _kept: list[Any] = field(default_factory=list, repr=False, compare=False)

    @cached_property
    def mesh(self) -> Mesh | None:
        """A vehicle's shape; None for who has no body of metal around."""
        body = self.body
        if body.kind in (*ON_FOOT, *ON_TWO_WHEELS):
            return None
        size = (body.length, body.width, body.height)
        return vehicle(body.kind, size, BODY_COLOURS[self.colour], self.variant)

    @cached_property
    def dented(self) -> Polygons | None:
        """Its shape from the contact on."""
        if self.contact is None or self.mesh is None:
            return None
        return _dented(self.mesh, self.body, self.contact)

    def place(self, number: int) -> tuple[float, float, float]:
        """Return x, y and heading in a frame."""
        motion = self.motion
        return float(motion.x[number]), float(motion.y[number]), float(motion.heading[number])

    def polygons(self, number: int) -> Polygons:
        """Return a vehicle in the world, or the wheels that a rider sits between."""
        place = self.place(number)
        key = place, float(self.pitch[number]), number >= self.contact_frame
        # A vehicle that waits is the same in every frame.
        if self._kept and self._kept[0] == key:
            return self._kept[1]
        polygons = self._polygons(number, place)
        self._kept[:] = key, polygons
        return polygons

    def _polygons(self, number: int, place: tuple[float, float, float]) -> Polygons:
        if self.mesh is None:
            solid = self.body.kind == "motorcycle"
            reach, radius = (0.33, 0.32) if solid else (0.29, 0.34)
            thick = 0.10 if solid else 0.05
            shape = wheels_of(reach * self.body.length, radius, thick, solid=solid)
            return shape.moved(to_world(shape.points, *place))
        shape = self.mesh.polygons
        if number >= self.contact_frame and self.dented is not None:
            shape = self.dented
        points, pitch = shape.points, float(self.pitch[number])
        if abs(pitch) > 1e-4:
            points = points.copy()
            points[:, 2] = np.maximum(points[:, 2] - pitch * points[:, 0], 0.0)
        return shape.moved(to_world(points, *place), to_world(shape.normals, 0.0, 0.0, place[2]))

    def limbs(self, number: int) -> "paint_people.Limbs | None":
        """Return the person that walks or rides, in the body's frame."""
        body, travelled = self.body, float(self.travelled[number])
        if body.kind == "pedestrian":
            speed = float(np.linalg.norm(self.motion.velocity[number]))
            return paint_people.walker(body.height, self.clothes, travelled, speed)
        if body.kind == "bicycle":
            return paint_people.cyclist(body.length, body.height, self.clothes, travelled)
        if body.kind == "motorcycle":
            return paint_people.motorcyclist(body.length, body.height, self.clothes)
        return None

    def lamps_on(self, number: int, light: Light, *, blink: bool) -> list[
        tuple[str, tuple[float, float, float]]
    ]:  # fmt: skip
        """Return which lamps shine, and how; a later one outshines an earlier."""
        lights = int(self.motion.lights[number])
        if self.contact is not None and number >= self.contact_frame:
            lights |= LEFT | RIGHT  # the warning lights of a car that has crashed
        on: list[tuple[str, tuple[float, float, float]]] = []
        if light.lamps:
            on += [("head", HEADLIGHT), ("tail", TAIL_LIGHT)]
        if lights & BRAKE:
            on.append(("tail", BRAKE_LIGHT))
        if blink:
            sides = ((LEFT, "left"), (RIGHT, "right"))
            on += [(name, INDICATOR_LIGHT) for bit, name in sides if lights & bit]
        return on


def mover(
    body: Body,
    motion: Motion,
    colour: str,
    seed: int,
    fps: float,
    contact: Contact | None,
    times_s: np.ndarray,
) -> Mover:
    """Prepare a body for a clip; contact is given for a body that takes part in one."""
    random = np.random.Generator(np.random.PCG64([seed]))
    speed = np.linalg.norm(motion.velocity, axis=1)
    travelled = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 / fps)])
    travelled += float(random.uniform(0, 2))
    frame = len(times_s)
    if contact is not None:
        frame = int(np.searchsorted(times_s, contact.time_s - 1e-6))
    variant = int(random.integers(6))
    clothes = choose_clothes(colour, random)
    return Mover(
        body, motion, travelled, _dive(motion, fps), colour, variant, contact, frame, clothes
    )


def _dive(motion: Motion, fps: float) -> np.ndarray:
    """Return how far the nose goes down in each frame: brakes pull it down."""
    if len(motion.heading) < 5:
        return np.zeros(len(motion.heading))
    ahead = np.stack([np.cos(motion.heading), np.sin(motion.heading)], axis=1)
    slowing = -np.gradient((motion.velocity * ahead).sum(axis=1)) * fps
    smooth = np.convolve(np.pad(slowing, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return np.clip(_DIVE * smooth, -_MOST_DIVE, _MOST_DIVE)


def _dented(mesh: Mesh, body: Body, contact: Contact) -> Polygons:
    """Return the shape pushed in where the other struck."""
    row = min(max(round(contact.time_s * RATE_HZ) - body.first, 0), len(body.track) - 1)
    x, y, heading = (float(v) for v in body.track[row])
    away = np.array(contact.place) - [x, y]
    c, s = cos(heading), sin(heading)
    struck = np.array([c * away[0] + s * away[1], -s * away[0] + c * away[1]])
    half = np.array([body.length, body.width]) / 2
    struck = np.clip(struck, -half, half)
    shape = mesh.polygons
    points = shape.points.copy()
    distance = np.linalg.norm(points[:, :2] - struck, axis=1)
    share = np.clip(1 - distance / _DENT_REACH_M, 0, 1)[:, None]
    # Wheels stay round.
    firm = np.isin(np.repeat(np.arange(len(shape.colours)), np.diff(shape.starts)), mesh.tyres)
    share[firm] = 0.0
    # Towards the middle, and a little unevenly, as sheet metal folds.
    inward = -struck / max(float(np.linalg.norm(struck)), 1e-6)
    folds = 0.75 + 0.35 * np.sin(points[:, 2:] * 9 + points[:, :1] * 7)
    points[:, :2] += inward * share * _DENT_M * folds
    points[:, 2:] += 0.06 * share * np.sin(points[:, 1:2] * 8) * (points[:, 2:] > 0.45)
    normals = normals_of(points, shape.starts)
    # What faced the camera must not vanish because its corners left one plane.
    turned = (normals * shape.normals).sum(axis=1) < 0.6
    normals[turned] = shape.normals[turned]
    return shape.moved(points, normals)


def boxes(sizes: np.ndarray, places: np.ndarray, camera: Camera) -> np.ndarray:
    """Return left, top, right and bottom in pixels, [n, 4], of upright boxes.

    sizes are lengths, widths and heights, [n, 3] or [3]; places x, y and heading, [n, 3]. NaN
    where a box is not wholly before the camera.
    """
    sizes = np.broadcast_to(np.asarray(sizes, np.float64), places.shape)[:, None]
    shape = _CORNERS * sizes
    c, s = np.cos(places[:, 2])[:, None], np.sin(places[:, 2])[:, None]
    corners = shape.copy()
    corners[..., 0] = places[:, :1] + c * shape[..., 0] - s * shape[..., 1]
    corners[..., 1] = places[:, 1:2] + s * shape[..., 0] + c * shape[..., 1]
    pixels, depth = camera.project(corners)
    around = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
    around[(depth <= NEAR_M).any(axis=1)] = np.nan
    return around


def size_of(body: Body) -> np.ndarray:
    """Return length, width and height."""
    return np.array([body.length, body.width, body.height])

"""People on foot and on two wheels: limbs that move, as polygons turned to the camera."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import cos, pi, sin

import numpy as np

from worldtune.data.scenes.paint import Builder, Polygons, normals_of
from worldtune.data.scenes.weather import Colour

STRIDE_M = 1.45  # two steps
PEDAL_M = 5.0  # one turn of the pedals
_RING = 12

Place = tuple[float, float, float]


@dataclass(frozen=True)
class Clothes:
    """The colours of one person."""

    top: Colour
    legs: Colour
    hair: Colour
    skin: Colour
    shoes: Colour = (0.05, 0.04, 0.04)
    machine: Colour = (0.4, 0.05, 0.05)  # of the bicycle or motorcycle
    bag: bool = False


@dataclass
class Limbs:
    """Tapered limbs in the body's frame: from, to, and a radius at each end."""

    rows: list[tuple[Place, Place, float, float, Colour]] = field(default_factory=list)

    def add(self, start: Place, end: Place, one: float, other: float, colour: Colour) -> None:
        """Add a limb between two places."""
        self.rows.append((start, end, one, other, colour))


def walker(height: float, clothes: Clothes, travelled_m: float, speed_mps: float) -> Limbs:
    """Return a person on foot, x ahead, feet at z 0."""
    limbs, h = Limbs(), height
    phase = 2 * pi * travelled_m / STRIDE_M
    swing = 0.50 * min(speed_mps / 1.3, 1.2)
    bob = 0.012 * h * abs(sin(phase)) * min(speed_mps, 1.0)
    hip = 0.52 * h - bob
    lean = 0.015 * h * min(speed_mps, 1.5)
    for side, turn in ((1, 0.0), (-1, pi)):
        thigh = swing * sin(phase + turn)
        bend = swing * 1.35 * max(0.0, cos(phase + turn)) + 0.04
        y = 0.055 * h * side
        knee = (0.255 * h * sin(thigh), y, hip - 0.255 * h * cos(thigh))
        shin = thigh - bend
        ankle = (knee[0] + 0.235 * h * sin(shin), y, knee[2] - 0.235 * h * cos(shin))
        limbs.add((0.0, y, hip), knee, 0.052 * h, 0.040 * h, clothes.legs)
        limbs.add(knee, ankle, 0.040 * h, 0.028 * h, clothes.legs)
        toe = (ankle[0] + 0.085 * h, y, max(ankle[2] - 0.02 * h, 0.02 * h))
        limbs.add(ankle, toe, 0.026 * h, 0.022 * h, clothes.shoes)
        arm = -0.8 * swing * sin(phase + turn)
        shoulder = (lean, 0.115 * h * side, 0.80 * h - bob)
        elbow = (shoulder[0] + 0.165 * h * sin(arm), 0.135 * h * side, shoulder[2] - 0.165 * h)
        hand = (elbow[0] + 0.15 * h * sin(arm + 0.45), 0.13 * h * side, elbow[2] - 0.135 * h)
        limbs.add(shoulder, elbow, 0.034 * h, 0.027 * h, clothes.top)
        limbs.add(elbow, hand, 0.026 * h, 0.019 * h, clothes.top)
        limbs.add(hand, (hand[0], hand[1], hand[2] - 0.03 * h), 0.02 * h, 0.016 * h, clothes.skin)
    limbs.add((0.0, 0.0, hip), (lean, 0.0, 0.68 * h), 0.080 * h, 0.088 * h, clothes.top)
    limbs.add((lean * 0.7, 0.0, 0.66 * h), (lean, 0.0, 0.79 * h), 0.088 * h, 0.10 * h, clothes.top)
    if clothes.bag:
        back = -0.10 * h
        limbs.add((back, 0.0, 0.60 * h), (back, 0.0, 0.75 * h), 0.07 * h, 0.06 * h, clothes.machine)
    _head(limbs, (lean * 1.6, 0.0, 0.915 * h - bob), 0.063 * h, clothes)
    return limbs


def _head(limbs: Limbs, at: Place, radius: float, clothes: Clothes, helmet: bool = False) -> None:
    x, y, z = at
    limbs.add(
        (x, y, z - 1.7 * radius), (x, y, z - radius), 0.6 * radius, 0.6 * radius, clothes.skin
    )
    limbs.add((x, y, z - 0.35 * radius), (x, y, z + 0.1 * radius), radius, radius, clothes.skin)
    top = clothes.machine if helmet else clothes.hair
    back = 0.18 * radius
    limbs.add((x - back, y, z + 0.15 * radius), (x - back, y, z + 0.4 * radius),
              1.08 * radius, 0.95 * radius, top)  # fmt: skip


def _rider(
    limbs: Limbs, h: float, seat: Place, grip: Place, pedals: tuple[Place, Place], clothes: Clothes,
    helmet: bool,
) -> None:  # fmt: skip
    """Add a person who sits on something and holds its handlebar."""
    chest = (seat[0] + 0.20 * h, 0.0, seat[2] + 0.25 * h)
    for side, pedal in ((1, pedals[0]), (-1, pedals[1])):
        y = 0.07 * h * side
        knee = ((seat[0] + pedal[0]) / 2 + 0.15 * h, y, (seat[2] + pedal[2]) / 2 + 0.06 * h)
        limbs.add((seat[0], y, seat[2]), knee, 0.052 * h, 0.040 * h, clothes.legs)
        limbs.add(knee, (pedal[0], y, pedal[2]), 0.038 * h, 0.028 * h, clothes.legs)
        limbs.add((pedal[0] - 0.03, y, pedal[2]), (pedal[0] + 0.12, y, pedal[2]),
                  0.03 * h, 0.025 * h, clothes.shoes)  # fmt: skip
        shoulder = (chest[0], 0.11 * h * side, chest[2] + 0.03 * h)
        hand = (grip[0], 0.16 * h * side, grip[2])
        elbow = ((shoulder[0] + hand[0]) / 2 - 0.02, 0.17 * h * side,
                 (shoulder[2] + hand[2]) / 2 - 0.05 * h)  # fmt: skip
        limbs.add(shoulder, elbow, 0.034 * h, 0.027 * h, clothes.top)
        limbs.add(elbow, hand, 0.026 * h, 0.020 * h, clothes.top)
    limbs.add(seat, chest, 0.085 * h, 0.10 * h, clothes.top)
    _head(limbs, (chest[0] + 0.07 * h, 0.0, chest[2] + 0.14 * h), 0.065 * h, clothes, helmet)


def cyclist(length: float, height: float, clothes: Clothes, travelled_m: float) -> Limbs:
    """Return a bicycle with its rider; the wheels are `wheels_of`'s."""
    limbs = Limbs()
    radius, reach = 0.34, 0.29 * length
    h = height
    seat, grip, crank = (-0.20, 0.0, 0.56 * h), (0.36, 0.0, 0.60 * h), (-0.06, 0.0, 0.32)
    tube = clothes.machine
    for one, other in (
        ((-reach, 0.0, radius), (seat[0] + 0.02, 0.0, 0.48 * h)),
        ((-reach, 0.0, radius), crank),
        (crank, seat),
        (crank, (0.32, 0.0, 0.46 * h)),
        ((seat[0] + 0.02, 0.0, 0.46 * h), (0.32, 0.0, 0.50 * h)),
        ((reach, 0.0, radius), (0.33, 0.0, 0.55 * h)),
    ):
        limbs.add(one, other, 0.022, 0.022, tube)
    limbs.add((0.34, -0.27, 0.60 * h), (0.34, 0.27, 0.60 * h), 0.018, 0.018, (0.03, 0.03, 0.03))
    turn = 2 * pi * travelled_m / PEDAL_M
    pedals = tuple(
        (crank[0] + 0.17 * cos(turn + a), 0.0, crank[2] - 0.17 * sin(turn + a)) for a in (0.0, pi)
    )
    _rider(limbs, 0.96 * h, seat, grip, (pedals[0], pedals[1]), clothes, helmet=True)
    return limbs


def motorcyclist(length: float, height: float, clothes: Clothes) -> Limbs:
    """Return a motorcycle with its rider."""
    limbs = Limbs()
    reach, h = 0.33 * length, height
    dark: Colour = (0.04, 0.04, 0.045)
    limbs.add((-0.10, 0.0, 0.42), (0.22, 0.0, 0.42), 0.20, 0.18, dark)
    limbs.add((-reach, 0.0, 0.32), (-0.05, 0.0, 0.45), 0.06, 0.09, dark)
    limbs.add((reach, 0.0, 0.32), (0.42, 0.0, 0.80), 0.05, 0.05, (0.35, 0.35, 0.36))
    limbs.add((-0.62, 0.0, 0.78), (-0.12, 0.0, 0.72), 0.07, 0.12, dark)
    limbs.add((-0.05, 0.0, 0.74), (0.34, 0.0, 0.82), 0.14, 0.16, clothes.machine)
    limbs.add((0.40, 0.0, 0.72), (0.56, 0.0, 0.84), 0.14, 0.10, clothes.machine)
    limbs.add((0.36, -0.34, 0.95), (0.36, 0.34, 0.95), 0.025, 0.025, dark)
    feet = ((0.02, 0.16, 0.34), (0.02, -0.16, 0.34))
    _rider(limbs, 1.08 * h, (-0.22, 0.0, 0.82), (0.34, 0.0, 0.96), feet, clothes, helmet=True)
    return limbs


def to_world(points: np.ndarray, x: float, y: float, heading: float) -> np.ndarray:
    """Turn points [..., 3] of a body's frame into the world's."""
    c, s = cos(heading), sin(heading)
    ahead, left = points[..., 0], points[..., 1]
    moved = np.empty(points.shape)
    moved[..., 0] = x + c * ahead - s * left
    moved[..., 1] = y + s * ahead + c * left
    moved[..., 2] = points[..., 2]
    return moved


def figure_polygons(
    figures: Sequence[tuple[Limbs, tuple[float, float, float]]],
    camera: tuple[float, float, float],
) -> tuple[Polygons, np.ndarray]:
    """Return figures at their places (x, y, heading), and where each one's polygons begin.

    A limb is two polygons, a ridge towards the camera; one figure's come far to near.
    """
    counts = [len(limbs.rows) for limbs, _ in figures]
    rows = [row for limbs, _ in figures for row in limbs.rows]
    ends = np.concatenate([[0], np.cumsum(counts)])
    local = np.array([[row[0], row[1]] for row in rows])
    places = np.repeat(np.array([place for _, place in figures]), counts, axis=0)
    c, s = np.cos(places[:, 2])[:, None], np.sin(places[:, 2])[:, None]
    world = local.copy()
    world[..., 0] = places[:, :1] + c * local[..., 0] - s * local[..., 1]
    world[..., 1] = places[:, 1:2] + s * local[..., 0] + c * local[..., 1]
    radii = np.array([[row[2], row[3]] for row in rows])
    colours = np.array([row[4] for row in rows])
    towards = np.array(camera) - world.mean(axis=1)
    distance = _length(towards)
    order = np.lexsort((-distance[:, 0], np.repeat(np.arange(len(figures)), counts)))
    points = _ridges(
        world[order, 0], world[order, 1], radii[order, :1], radii[order, 1:],
        (towards / distance)[order],
    )  # fmt: skip
    count = 2 * len(rows)
    starts = 6 * np.arange(count + 1)
    nothing = np.zeros(count)
    polygons = Polygons(
        points, starts, normals_of(points, starts), np.repeat(colours[order], 2, axis=0),
        nothing, nothing, np.ones(count, bool),
    )  # fmt: skip
    return polygons, 2 * ends


def _ridges(
    start: np.ndarray, end: np.ndarray, one: np.ndarray, other: np.ndarray, towards: np.ndarray
) -> np.ndarray:
    """Return the corners [12 n, 3] of n limbs: the right and the left half of each."""
    along = end - start
    along = along / np.maximum(_length(along), 1e-9)
    side = _cross(towards, along)
    size = _length(side)
    upright = _cross(towards, np.broadcast_to([0.0, 0.0, 1.0], towards.shape))
    side = np.where(size > 0.05, side / np.maximum(size, 1e-9), upright)
    # A limb seen from its end is a disc: its tips reach out across the line of sight.
    tip = _cross(side, towards)
    tail, head = start - 0.85 * one * tip, end + 0.85 * other * tip
    ridge_a, ridge_b = start + 0.7 * one * towards, end + 0.7 * other * towards
    right_a, right_b = start + one * side, end + other * side
    left_a, left_b = start - one * side, end - other * side
    halves = [
        ridge_a, tail, right_a, right_b, head, ridge_b,
        ridge_b, head, left_b, left_a, tail, ridge_a,
    ]  # fmt: skip
    return np.stack(halves, axis=1).reshape(-1, 3)


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return cross products [n, 3]; NumPy's own is slow on few."""
    (ax, ay, az), (bx, by, bz) = one.T, other.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))


@cache
def wheels_of(reach: float, radius: float, thick: float, *, solid: bool) -> Polygons:
    """Return two upright wheels at x = plus and minus reach, in the body's frame."""
    build = Builder()
    around = np.linspace(0, 2 * pi, _RING + 1)
    black: Colour = (0.02, 0.02, 0.02)
    for x in (-reach, reach):
        outer = np.stack(
            [x + radius * np.cos(around), 0 * around, radius + radius * np.sin(around)], 1
        )
        hub = np.array([x, 0.0, radius])
        inner = hub + (outer - hub) * (1 - thick / radius)
        if solid:
            build.add(outer[:-1], black, both=True)
            build.add((hub + (outer - hub) * 0.55)[:-1], (0.3, 0.3, 0.31), both=True)
            continue
        for this in range(_RING):
            build.add(
                [outer[this], outer[this + 1], inner[this + 1], inner[this]], black, both=True
            )
    return build.build()

"""Trees, hedges, lamp posts, signal poles and street furniture, as polygons in the world."""

from itertools import pairwise
from math import cos, hypot, pi, sin

import numpy as np

from worldtune.data.scenes.paint import Builder, Polygons, joined, normals_of
from worldtune.data.scenes.weather import Colour

_BARK: Colour = (0.085, 0.062, 0.045)
_LEAVES: tuple[Colour, ...] = (
    (0.075, 0.150, 0.030), (0.095, 0.165, 0.035), (0.060, 0.125, 0.040), (0.120, 0.160, 0.030),
)  # fmt: skip
_STEEL: Colour = (0.15, 0.16, 0.17)


def post(
    build: Builder, start: np.ndarray, end: np.ndarray, one: float, other: float, colour: Colour,
    sides: int = 6,
) -> None:  # fmt: skip
    """Add a tapered post between two places."""
    ax, ay, az = (end - start).tolist()
    length = max((ax * ax + ay * ay + az * az) ** 0.5, 1e-9)
    ax, ay, az = ax / length, ay / length, az / length
    # Two directions across the post, at right angles.
    flat = hypot(ax, ay)
    side = np.array([ay / flat, -ax / flat, 0.0] if flat > 1e-6 else [1.0, 0.0, 0.0])
    sx, sy, _ = side.tolist()
    up = np.array([-az * sy, az * sx, ax * sy - ay * sx])
    turns = np.arange(sides + 1) * 2 * pi / sides
    ring = np.cos(turns)[:, None] * side + np.sin(turns)[:, None] * up
    for a, b in pairwise(ring):
        build.add(
            [start + one * b, start + one * a, end + other * a, end + other * b], colour, both=True
        )


def _above(place: np.ndarray, height: float) -> np.ndarray:
    return place + np.array([0.0, 0.0, height])


def block(
    build: Builder, plan: np.ndarray, low: float, high: float, colour: Colour, *, glow: float = 0.0
) -> None:
    """Add an upright block on a plan [n, 2], counter-clockwise."""
    count = len(plan)
    for this in range(count):
        a, b = plan[this], plan[(this + 1) % count]
        build.add([[*a, low], [*b, low], [*b, high], [*a, high]], colour, glow=glow)
    build.add(np.concatenate([plan, np.full((count, 1), high)], axis=1), colour, glow=glow)


def rectangle(x: float, y: float, heading: float, length: float, width: float) -> np.ndarray:
    """Return the corners [4, 2] of a rectangle about a place, counter-clockwise."""
    c, s = cos(heading), sin(heading)
    shape = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * [length, width]
    return shape @ np.array([[c, s], [-s, c]]) + [x, y]


def _cards(
    centres: np.ndarray, radii: np.ndarray, count: int, size: float, colour: Colour,
    random: np.random.Generator, middle: np.ndarray, reach: float,
) -> Polygons:  # fmt: skip
    """Return leaves: small ragged polygons around some centres, darker inside and below."""
    which = random.integers(len(centres), size=count)
    out = random.standard_normal((count, 3))
    out[:, 2] += 0.25
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    depth = random.uniform(0.55, 1.0, (count, 1)) ** 0.5
    places = centres[which] + out * radii[which, None] * depth
    facing = out + 0.45 * random.standard_normal((count, 3))
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    side = np.cross(facing, random.standard_normal((count, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(facing, side)
    corners = 5
    turns = np.arange(corners) * 2 * pi / corners + random.uniform(-0.3, 0.3, (count, corners))
    long = size * random.uniform(0.6, 1.25, (count, corners))
    points = (
        places[:, None]
        + (long * np.cos(turns))[..., None] * side[:, None]
        + (long * np.sin(turns))[..., None] * up[:, None]
    )
    # The crown shades itself: what lies deep inside or low gets less of the sky.
    away = np.linalg.norm((places - middle) / reach, axis=1)
    open_sky = np.clip(0.35 + 0.55 * away, 0.3, 1.0)
    open_sky *= np.clip(0.85 + 0.35 * (places[:, 2] - middle[2]) / reach, 0.5, 1.15)
    tint = 1 + 0.16 * random.standard_normal((count, 1)) * [1.3, 1.0, 0.7]
    colours = np.clip(np.array(colour) * tint * open_sky[:, None], 0.004, 0.8)
    nothing = np.zeros(count)
    corner, starts = points.reshape(-1, 3), corners * np.arange(count + 1)
    return Polygons(
        corner, starts, normals_of(corner, starts), colours, nothing, nothing, np.ones(count, bool)
    )


def tree(
    x: float, y: float, height: float, random: np.random.Generator, *, leaves: int, autumn: bool
) -> Polygons:
    """Return a tree with a forked trunk and a crown of leaf clumps."""
    build = Builder()
    spread = height * random.uniform(0.24, 0.33)
    fork = np.array([x, y, height * random.uniform(0.26, 0.34)])
    foot = np.array([x, y, 0.0])
    thick = 0.022 * height
    post(build, foot, fork, thick * 1.25, thick, _BARK)
    middle = np.array([x, y, 0.64 * height])
    clumps = int(random.integers(9, 14))
    turns = np.arange(clumps) * 2.399963 + random.uniform(0, 2 * pi)
    levels = np.linspace(-0.85, 0.95, clumps) + random.uniform(-0.12, 0.12, clumps)
    rings = spread * np.sqrt(np.clip(1.05 - levels**2, 0.05, 1)) * random.uniform(0.45, 0.8, clumps)
    centres = middle + np.stack(
        [rings * np.cos(turns), rings * np.sin(turns), levels * 0.27 * height], axis=1
    )
    radii = spread * random.uniform(0.38, 0.56, clumps)
    for centre in centres[:: max(clumps // 5, 1)]:
        bend = fork + (centre - fork) * 0.5 + np.array([0.0, 0.0, 0.08 * height])
        post(build, fork, bend, thick * 0.6, thick * 0.4, _BARK, sides=4)
        post(build, bend, centre, thick * 0.4, thick * 0.15, _BARK, sides=4)
    colour = _LEAVES[int(random.integers(len(_LEAVES)))]
    if autumn:
        colour = ((0.30, 0.15, 0.03), (0.26, 0.19, 0.03), (0.24, 0.08, 0.03))[
            int(random.integers(3))
        ]
    size = 0.075 * spread * 5.2 / max(leaves / 260, 1) ** 0.5
    crown = _cards(centres, radii, leaves, size, colour, random, middle, spread)
    return joined([build.build(), crown])


def conifer(
    x: float, y: float, height: float, random: np.random.Generator, leaves: int
) -> Polygons:
    """Return a tree of falling tiers, narrow at the top."""
    build = Builder()
    post(build, np.array([x, y, 0.0]), np.array([x, y, 0.9 * height]), 0.02 * height, 0.01, _BARK)
    tiers = 9
    levels = np.linspace(0.16, 0.97, tiers)
    rings = 0.20 * height * (1.02 - levels)
    centres, radii = [], []
    for level, ring in zip(levels, rings, strict=True):
        for turn in np.arange(5) * 2 * pi / 5 + random.uniform(0, 6):
            centres.append([x + ring * 0.6 * cos(turn), y + ring * 0.6 * sin(turn), level * height])
            radii.append(0.55 * ring + 0.12)
    middle = np.array([x, y, 0.5 * height])
    crown = _cards(np.array(centres), np.array(radii), leaves, 0.030 * height,
                   (0.035, 0.080, 0.040), random, middle, 0.3 * height)  # fmt: skip
    return joined([build.build(), crown])


def bush(x: float, y: float, size: float, random: np.random.Generator, leaves: int) -> Polygons:
    """Return a low round shrub."""
    count = 4
    turns = np.arange(count) * 2 * pi / count + random.uniform(0, 6)
    centres = np.stack([x + 0.35 * size * np.cos(turns), y + 0.35 * size * np.sin(turns),
                        np.full(count, 0.42 * size)], axis=1)  # fmt: skip
    colour = _LEAVES[int(random.integers(len(_LEAVES)))]
    return _cards(centres, np.full(count, 0.5 * size), leaves, 0.17 * size, colour, random,
                  np.array([x, y, 0.4 * size]), 0.8 * size)  # fmt: skip


def hedge(start: np.ndarray, end: np.ndarray, random: np.random.Generator, leaves: int) -> Polygons:
    """Return a clipped hedge between two places [2]."""
    build = Builder()
    middle = (start + end) / 2
    along = end - start
    length = float(np.linalg.norm(along))
    x, y = middle.tolist()
    plan = rectangle(x, y, float(np.arctan2(along[1], along[0])), length, 0.7)
    block(build, plan, 0.0, 0.95, (0.035, 0.070, 0.018))
    at = np.linspace(0, 1, max(int(length / 0.8), 2))[:, None]
    centres = np.concatenate([start + at * along, np.full((len(at), 1), 0.6)], axis=1)
    crown = _cards(centres, np.full(len(at), 0.55), leaves, 0.16, (0.07, 0.135, 0.03), random,
                   np.array([*middle, 0.3]), 1.2)  # fmt: skip
    return joined([build.build(), crown])


def lamp_post(x: float, y: float, heading: float, *, lit: bool, height: float = 7.5) -> Polygons:
    """Return a street lamp whose arm points along the heading."""
    build = Builder()
    foot, top = np.array([x, y, 0.0]), np.array([x, y, height])
    ahead = np.array([cos(heading), sin(heading), 0.0])
    post(build, foot, _above(foot, 0.9), 0.13, 0.11, _STEEL)
    post(build, foot, top, 0.075, 0.05, _STEEL)
    tip = _above(top + 1.5 * ahead, 0.35)
    post(build, top, tip, 0.045, 0.04, _STEEL)
    head_x, head_y, _ = (tip + 0.25 * ahead).tolist()
    plan = rectangle(head_x, head_y, heading, 0.8, 0.30)
    block(build, plan, tip[2] - 0.06, tip[2] + 0.08, _STEEL)
    colour: Colour = (2.2, 1.7, 1.0) if lit else (0.55, 0.55, 0.52)
    under = np.concatenate([plan, np.full((4, 1), tip[2] - 0.08)], axis=1)
    build.add(under[::-1], colour, glow=float(lit), both=True)
    if lit:
        block(build, plan, tip[2] - 0.10, tip[2] - 0.02, colour, glow=1.0)
    return build.build()


SIGNAL_HEIGHTS = (3.35, 3.02, 2.69)  # of the red, amber and green lamp
_LAMP_RADIUS = 0.13


def signal_pole(x: float, y: float, heading: float) -> Polygons:
    """Return a traffic light's pole and dark head; heading is of the traffic that it stops."""
    build = Builder()
    foot = np.array([x, y, 0.0])
    post(build, foot, _above(foot, 2.5), 0.07, 0.06, _STEEL)
    block(build, rectangle(x, y, heading, 0.30, 0.40), 2.46, 3.58, (0.025, 0.027, 0.03))
    block(build, rectangle(x + 0.14 * cos(heading), y + 0.14 * sin(heading), heading, 0.03, 0.64),
          2.36, 3.68, (0.02, 0.02, 0.022))  # fmt: skip
    for height in SIGNAL_HEIGHTS:
        _disc(build, x, y, heading, height, (0.05, 0.045, 0.04), 0.0)
    return build.build()


def signal_lamp(x: float, y: float, heading: float, state: int) -> Polygons:
    """Return the lit lamp of a state: 0 red, 1 amber, 2 green."""
    build = Builder()
    colour: Colour = ((2.6, 0.10, 0.05), (2.6, 1.15, 0.05), (0.10, 2.2, 0.75))[state]
    _disc(build, x, y, heading, SIGNAL_HEIGHTS[state], colour, 1.0)
    return build.build()


def _disc(
    build: Builder, x: float, y: float, heading: float, height: float, colour: Colour, glow: float
) -> None:
    turns = np.arange(10) * 2 * pi / 10
    right = np.array([-sin(heading), cos(heading), 0.0])  # seen by who arrives, this is left
    middle = np.array([x - 0.165 * cos(heading), y - 0.165 * sin(heading), height])
    ring = _LAMP_RADIUS * (
        np.cos(turns)[:, None] * -right + np.sin(turns)[:, None] * np.array([0.0, 0.0, 1.0])
    )
    build.add(middle + ring, colour, glow=glow, both=False)


def bench(x: float, y: float, heading: float) -> Polygons:
    """Return a bench."""
    build = Builder()
    wood: Colour = (0.20, 0.11, 0.05)
    block(build, rectangle(x, y, heading, 1.7, 0.08), 0.0, 0.42, _STEEL)
    block(build, rectangle(x, y, heading, 1.8, 0.5), 0.42, 0.48, wood)
    back = rectangle(x - 0.22 * -sin(heading), y - 0.22 * cos(heading), heading, 1.8, 0.06)
    block(build, back, 0.55, 0.9, wood)
    return build.build()


def bin_(x: float, y: float) -> Polygons:
    """Return a litter bin."""
    build = Builder()
    block(build, rectangle(x, y, 0.3, 0.5, 0.5), 0.0, 0.95, (0.05, 0.12, 0.07))
    block(build, rectangle(x, y, 0.3, 0.55, 0.55), 0.95, 1.02, (0.03, 0.03, 0.03))
    return build.build()

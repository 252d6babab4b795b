"""Vehicles as convex polygons, in the body's own frame: x ahead, y to the left, z up, metres."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from worldtune.data.scenes.paint import Builder, Polygons
from worldtune.data.scenes.recording import BodyKind
from worldtune.data.scenes.weather import Colour

GLASS: Colour = (0.035, 0.042, 0.05)
TYRE: Colour = (0.022, 0.022, 0.024)
TRIM: Colour = (0.045, 0.045, 0.05)
RIM: Colour = (0.42, 0.43, 0.45)
PLATE: Colour = (0.80, 0.80, 0.74)
HEADLAMP: Colour = (0.85, 0.86, 0.84)
TAIL_LAMP: Colour = (0.30, 0.015, 0.015)
INDICATOR: Colour = (0.55, 0.20, 0.02)
PAINT_GLOSS, GLASS_GLOSS = 0.10, 0.80

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Mesh:
    """A vehicle's polygons, and which of them are lamps."""

    polygons: Polygons
    rear_first: np.ndarray  # an order of painting for a camera ahead of the body
    front_first: np.ndarray  # and for one behind it
    lamps: dict[str, np.ndarray]  # head, tail, left, right: numbers of polygons
    wheels: tuple[tuple[float, float], ...]  # x and radius
    tyres: np.ndarray  # numbers of the polygons that belong to wheels

    @cached_property
    def outer(self) -> np.ndarray:
        """The points furthest out in many directions, float64 [n, 3]: all that a shadow needs."""
        points = self.polygons.points
        turns = np.linspace(0, 2 * np.pi, 17)[:-1]
        chosen = [
            np.argmax(points[:, 0] * np.cos(t) + points[:, 1] * np.sin(t) + points[:, 2] * up)
            for up in (0.0, 0.5, 2.0, -0.5)
            for t in turns
        ]
        return points[np.unique(chosen)]


class VehicleBuilder:
    """Adds a vehicle's parts; what is added later lies on what was added before."""

    def __init__(self, colour: Colour) -> None:
        self.colour = colour
        self.part = 0  # below all others; then a higher part is further ahead
        self._faces = Builder()
        self._parts: list[int] = []
        self._lamps: dict[str, list[int]] = {"head": [], "tail": [], "left": [], "right": []}
        self._wheels: list[tuple[float, float]] = []
        self._tyres: list[int] = []

    def face(
        self,
        points: Sequence[Sequence[float] | np.ndarray] | np.ndarray,
        colour: Colour | None = None,
        *,
        gloss: float = PAINT_GLOSS,
        lamp: str = "",
    ) -> None:
        """Add a polygon, counter-clockwise from outside; without a colour it is the paint's."""
        if lamp:
            self._lamps[lamp].append(len(self._faces))
        self._faces.add(points, colour or self.colour, gloss=gloss)
        self._parts.append(self.part)

    def pair(
        self, points: Sequence[Point], colour: Colour | None = None, *, gloss: float = PAINT_GLOSS
    ) -> None:
        """Add a polygon of the right side (y below 0), and its mirror image."""
        self.face(points, colour, gloss=gloss)
        self.face([(x, -y, z) for x, y, z in reversed(points)], colour, gloss=gloss)

    def on(
        self,
        quad: Sequence[Point],
        span: tuple[float, float, float, float],
        colour: Colour | None = None,
        *,
        gloss: float = 0.0,
        lamp: str = "",
    ) -> None:
        """Add a patch on a quad: span is (u0, v0, u1, v1) in shares of its sides."""
        u0, v0, u1, v1 = span
        corners = np.asarray(quad, np.float64)
        places = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
        points = [
            (1 - u) * (1 - v) * corners[0]
            + u * (1 - v) * corners[1]
            + u * v * corners[2]
            + (1 - u) * v * corners[3]
            for u, v in places
        ]
        self.face(points, colour, gloss=gloss, lamp=lamp)

    def on_pair(
        self,
        quad: Sequence[Point],
        span: tuple[float, float, float, float],
        colour: Colour | None = None,
        *,
        gloss: float = 0.0,
    ) -> None:
        """Add a patch on a quad of the right side, and its mirror image."""
        self.on(quad, span, colour, gloss=gloss)
        u0, v0, u1, v1 = span
        mirrored = [(x, -y, z) for x, y, z in (quad[1], quad[0], quad[3], quad[2])]
        self.on(mirrored, (1 - u1, v0, 1 - u0, v1), colour, gloss=gloss)

    def box(
        self, x: tuple[float, float], half: float, z: tuple[float, float], colour: Colour
    ) -> tuple[list[Point], list[Point], list[Point], list[Point]]:
        """Add a box; return its right, front, rear and top as quads."""
        (back, ahead), (low, high) = x, z
        right = [(back, -half, low), (ahead, -half, low), (ahead, -half, high), (back, -half, high)]
        front = [(ahead, -half, low), (ahead, half, low), (ahead, half, high), (ahead, -half, high)]
        rear = [(back, half, low), (back, -half, low), (back, -half, high), (back, half, high)]
        top = [(back, -half, high), (ahead, -half, high), (ahead, half, high), (back, half, high)]
        self.pair(right, colour)
        for quad in (front, rear, top):
            self.face(quad, colour)
        return right, front, rear, top

    def wheels(self, places: Sequence[float], radius: float, half: float) -> None:
        """Add a wheel at each x on both sides."""
        around = np.linspace(0, 2 * np.pi, 17)[:-1]
        first = len(self._faces)
        for x in places:
            for reach, colour in ((1.22, TRIM), (1.0, TYRE), (0.60, RIM), (0.24, TRIM)):
                height = np.maximum(radius + reach * radius * np.sin(around), 0.0)
                if reach > 1:
                    height = np.maximum(height, radius * 0.55)
                across = x + reach * radius * np.cos(around)
                self.pair(
                    [(float(a), -half, float(h)) for a, h in zip(across, height, strict=True)],
                    colour,
                    gloss=0.0,
                )
            self._wheels.append((x, radius))
        self._tyres += range(first, len(self._faces))

    def build(self) -> Mesh:
        """Return the vehicle."""
        parts = np.array(self._parts)
        return Mesh(
            self._faces.build(),
            np.argsort(parts, kind="stable"),
            np.argsort(np.where(parts, -parts, -parts.max() - 1), kind="stable"),
            {name: np.array(numbers, np.int64) for name, numbers in self._lamps.items()},
            tuple(self._wheels),
            np.array(self._tyres, np.int64),
        )


@dataclass(frozen=True)
class _Shape:
    """A car-like body; lengths along x in shares of its length, heights in shares of its own."""

    belt: tuple[tuple[float, float, float], ...]  # x, share of the half width, height
    glass: tuple[float, float, float, float]  # x: base behind, base ahead, roof behind, ahead
    windows: tuple[tuple[float, float], ...]  # along the side of the cabin
    axles: tuple[float, float]
    wheel: float  # radius in metres
    roof: float = 0.74  # half width of the roof beside the body's
    open_bed: bool = False


_SALOON = _Shape(
    belt=(
        (-0.500, 0.84, 0.56), (-0.485, 0.93, 0.64), (-0.400, 0.98, 0.655), (-0.20, 1.0, 0.65),
        (0.19, 1.0, 0.635), (0.34, 0.98, 0.58), (0.45, 0.93, 0.51), (0.49, 0.85, 0.46),
        (0.50, 0.78, 0.42),
    ),
    glass=(-0.395, 0.225, -0.235, 0.045),
    windows=((0.07, 0.25), (0.29, 0.57), (0.60, 0.90)),
    axles=(-0.30, 0.31),
    wheel=0.32,
)  # fmt: skip
_HATCH = _Shape(
    belt=(
        (-0.500, 0.86, 0.52), (-0.485, 0.95, 0.62), (-0.40, 1.0, 0.63), (-0.20, 1.0, 0.63),
        (0.22, 1.0, 0.61), (0.36, 0.98, 0.56), (0.46, 0.92, 0.49), (0.50, 0.79, 0.42),
    ),
    glass=(-0.488, 0.26, -0.40, 0.07),
    windows=((0.05, 0.22), (0.26, 0.56), (0.59, 0.90)),
    axles=(-0.31, 0.32),
    wheel=0.32,
)  # fmt: skip
_SUV = _Shape(
    belt=(
        (-0.500, 0.88, 0.55), (-0.488, 0.97, 0.63), (-0.40, 1.0, 0.64), (-0.20, 1.0, 0.64),
        (0.22, 1.0, 0.62), (0.36, 0.99, 0.595), (0.47, 0.95, 0.56), (0.495, 0.88, 0.51),
        (0.50, 0.84, 0.46),
    ),
    glass=(-0.485, 0.24, -0.44, 0.09),
    windows=((0.04, 0.24), (0.27, 0.57), (0.60, 0.91)),
    axles=(-0.30, 0.31),
    wheel=0.37,
    roof=0.80,
)  # fmt: skip
_VAN = _Shape(
    belt=(
        (-0.500, 0.95, 0.50), (-0.495, 0.99, 0.56), (-0.30, 1.0, 0.56), (0.0, 1.0, 0.56),
        (0.34, 1.0, 0.54), (0.45, 0.95, 0.46), (0.49, 0.88, 0.40), (0.50, 0.84, 0.34),
    ),
    glass=(-0.498, 0.38, -0.49, 0.22),
    windows=((0.72, 0.93),),
    axles=(-0.30, 0.32),
    wheel=0.34,
    roof=0.88,
)  # fmt: skip
_PICKUP = _Shape(
    belt=(
        (-0.500, 0.96, 0.56), (-0.495, 0.98, 0.58), (-0.30, 1.0, 0.58), (-0.06, 1.0, 0.58),
        (0.21, 1.0, 0.60), (0.34, 0.99, 0.585), (0.47, 0.96, 0.55), (0.50, 0.90, 0.48),
    ),
    glass=(-0.085, 0.25, -0.05, 0.13),
    windows=((0.07, 0.46), (0.50, 0.90)),
    axles=(-0.30, 0.32),
    wheel=0.39,
    roof=0.80,
    open_bed=True,
)  # fmt: skip


def vehicle(
    kind: BodyKind, size: tuple[float, float, float], colour: Colour, variant: int = 0
) -> Mesh:
    """Return a vehicle of some length, width and height; variant chooses among its makes."""
    build = VehicleBuilder(colour)
    if kind == "bus":
        _bus(build, *size)
    elif kind == "truck":
        _truck(build, *size, box=((0.74, 0.74, 0.72), (0.30, 0.36, 0.44), colour)[variant % 3])
    else:
        shapes = {"suv": _SUV, "van": _VAN, "pickup": _PICKUP}
        _car(build, shapes.get(kind, (_SALOON, _HATCH)[variant % 2]), *size)
    return build.build()


def _car(build: VehicleBuilder, shape: _Shape, length: float, width: float, height: float) -> None:
    half, sill = width / 2, 0.13 * height
    rows = [(x * length, share * half, z * height) for x, share, z in shape.belt]
    for (x0, y0, z0), (x1, y1, z1) in pairwise(rows):
        m0, m1 = sill + 0.52 * (z0 - sill), sill + 0.52 * (z1 - sill)
        low = [(x0, -0.95 * y0, sill), (x1, -0.95 * y1, sill), (x1, -y1, m1), (x0, -y0, m0)]
        build.pair(low)
        build.on_pair(low, (0.0, 0.0, 1.0, 0.28), TRIM)
        build.pair([(x0, -y0, m0), (x1, -y1, m1), (x1, -0.93 * y1, z1), (x0, -0.93 * y0, z0)])
        build.face(
            [(x0, -0.93 * y0, z0), (x1, -0.93 * y1, z1), (x1, 0.93 * y1, z1), (x0, 0.93 * y0, z0)]
        )
    # The doors' edges, a hand's breadth apart from the wheels.
    for x in (-0.13, 0.05, 0.20):
        if rows[1][0] < x * length < rows[-2][0] and len(shape.windows) > 1:
            build.pair(
                [(x * length + d, -half * 1.002, z * height) for d, z in
                 ((-0.012, 0.22), (0.012, 0.22), (0.012, 0.58), (-0.012, 0.58))],
                (0.05, 0.05, 0.05), gloss=0.0,
            )  # fmt: skip
            handle = [(x * length - 0.30, -half * 1.002, 0.50 * height)]
            handle += [(handle[0][0] + a, handle[0][1], handle[0][2] + b)
                       for a, b in ((0.16, 0.0), (0.16, 0.035), (0.0, 0.035))]  # fmt: skip
            build.pair(handle, TRIM, gloss=0.0)
    build.wheels([x * length for x in shape.axles], shape.wheel, half * 1.004)
    front, rear = _ends(build, rows, sill)
    _front_lamps(build, front)
    _rear_lamps(build, rear)
    if shape.open_bed:
        _bed(build, length, half, height, shape.glass[0])
    _cabin(build, shape, length, half, height)


def _ends(
    build: VehicleBuilder, rows: Sequence[tuple[float, float, float]], sill: float
) -> tuple[list[Point], list[Point]]:
    """Add the flat ends; return front and rear as quads."""
    (xr, yr, zr), (xf, yf, zf) = rows[0], rows[-1]
    front = [(xf, -yf, sill), (xf, yf, sill), (xf, 0.95 * yf, zf), (xf, -0.95 * yf, zf)]
    rear = [(xr, yr, sill), (xr, -yr, sill), (xr, -0.95 * yr, zr), (xr, 0.95 * yr, zr)]
    build.face(front)
    build.face(rear)
    return front, rear


def _front_lamps(build: VehicleBuilder, front: Sequence[Point]) -> None:
    build.on(front, (0.0, 0.0, 1.0, 0.22), TRIM)
    build.on(front, (0.27, 0.56, 0.73, 0.92), TRIM)
    build.on(front, (0.37, 0.24, 0.63, 0.46), PLATE)
    for left, right, side in ((0.01, 0.26, "right"), (0.74, 0.99, "left")):
        build.on(front, (left, 0.60, right, 0.96), HEADLAMP, gloss=0.3, lamp="head")
        edge = (left, left + 0.08) if side == "right" else (right - 0.08, right)
        build.on(front, (edge[0], 0.44, edge[1], 0.58), INDICATOR, lamp=side)


def _rear_lamps(build: VehicleBuilder, rear: Sequence[Point]) -> None:
    build.on(rear, (0.0, 0.0, 1.0, 0.25), TRIM)
    build.on(rear, (0.36, 0.36, 0.64, 0.56), PLATE)
    for left, right, side in ((0.01, 0.22, "left"), (0.78, 0.99, "right")):
        build.on(rear, (left, 0.60, right, 0.95), TAIL_LAMP, lamp="tail")
        build.on(rear, (left, 0.46, right, 0.59), INDICATOR, lamp=side)


def _bed(build: VehicleBuilder, length: float, half: float, height: float, cabin: float) -> None:
    """Add the open load bed behind a cabin, as its dark floor between bright edges."""
    z, back, ahead = 0.585 * height, -0.485 * length, (cabin - 0.005) * length
    side = 0.80 * half
    build.face([(back, -side, z), (ahead, -side, z), (ahead, side, z), (back, side, z)], TRIM)
    near = 0.62 * half
    build.face(
        [(back + 0.2, -near, z), (ahead - 0.2, -near, z), (ahead - 0.2, near, z),
         (back + 0.2, near, z)], (0.085, 0.085, 0.085), gloss=0.0,
    )  # fmt: skip


def _cabin(build: VehicleBuilder, shape: _Shape, length: float, half: float, height: float) -> None:
    """Add roof and windows."""
    xs = [x * length for x in shape.glass]
    along = [x for x, _, _ in shape.belt], [z * height for _, _, z in shape.belt]
    heights = [float(np.interp(x, *along)) for x in shape.glass[:2]]
    base, roof = half * 0.915, half * shape.roof
    top = height - 0.035
    b0, b1 = (xs[0], heights[0]), (xs[1], heights[1])
    side = [(b0[0], -base, b0[1]), (b1[0], -base, b1[1]), (xs[3], -roof, top), (xs[2], -roof, top)]
    front = [(b1[0], -base, b1[1]), (b1[0], base, b1[1]), (xs[3], roof, top), (xs[3], -roof, top)]
    rear = [(b0[0], base, b0[1]), (b0[0], -base, b0[1]), (xs[2], -roof, top), (xs[2], roof, top)]
    _mirrors(build, b1[0] - 0.22, half, b1[1])
    build.pair(side)
    build.face(front)
    build.face(rear)
    for u0, u1 in shape.windows:
        build.on_pair(side, (u0, 0.10, u1, 0.86), GLASS, gloss=GLASS_GLOSS)
    build.on(front, (0.05, 0.05, 0.95, 0.93), GLASS, gloss=GLASS_GLOSS)
    build.on(rear, (0.08, 0.16, 0.92, 0.88), GLASS, gloss=GLASS_GLOSS)
    edge = 0.14
    inner = roof - edge
    build.face([(xs[2], -roof, top), (xs[3], -roof, top), (xs[3] - edge, -inner, height),
                (xs[2] + edge, -inner, height)])  # fmt: skip
    build.face([(xs[3], roof, top), (xs[2], roof, top), (xs[2] + edge, inner, height),
                (xs[3] - edge, inner, height)])  # fmt: skip
    build.face([(xs[3], -roof, top), (xs[3], roof, top), (xs[3] - edge, inner, height),
                (xs[3] - edge, -inner, height)])  # fmt: skip
    build.face([(xs[2], roof, top), (xs[2], -roof, top), (xs[2] + edge, -inner, height),
                (xs[2] + edge, inner, height)])  # fmt: skip
    build.face([(xs[2] + edge, -inner, height), (xs[3] - edge, -inner, height),
                (xs[3] - edge, inner, height), (xs[2] + edge, inner, height)])  # fmt: skip


def _mirrors(build: VehicleBuilder, x: float, half: float, z: float) -> None:
    """Add a small block beside each front window."""
    near, far, low, high = half * 0.93, half * 1.09, z + 0.01, z + 0.15
    for ahead in (1, -1):
        at = x + 0.05 * ahead
        quad = [(at, -far, low), (at, -near, low), (at, -near, high), (at, -far, high)]
        build.pair(quad if ahead > 0 else quad[::-1], TRIM)
    build.pair([(x - 0.05, -far, low), (x + 0.05, -far, low), (x + 0.05, -far, high),
                (x - 0.05, -far, high)])  # fmt: skip
    build.pair([(x - 0.05, -far, high), (x + 0.05, -far, high), (x + 0.05, -near, high),
                (x - 0.05, -near, high)])  # fmt: skip


def _bus(build: VehicleBuilder, length: float, width: float, height: float) -> None:
    half, ends = width / 2, (-length / 2, length / 2)
    right, front, rear, _ = build.box(ends, half, (0.30, height - 0.18), build.colour)
    build.on_pair(right, (0.0, 0.0, 1.0, 0.10), TRIM)
    build.on_pair(right, (0.0, 0.40, 1.0, 0.92), (0.05, 0.05, 0.055), gloss=0.3)
    panes = max(int(length / 1.5), 3)
    for pane in range(panes):
        u0, u1 = (pane + 0.06) / panes, (pane + 0.94) / panes
        build.on_pair(right, (u0, 0.44, u1, 0.89), GLASS, gloss=GLASS_GLOSS)
    for u0 in (0.46, 0.88):  # doors are on the right side only
        build.on(right, (u0, 0.06, u0 + 0.10, 0.90), TRIM)
        for v in (u0 + 0.006, u0 + 0.053):
            build.on(right, (v, 0.10, v + 0.041, 0.87), GLASS, gloss=GLASS_GLOSS)
    build.wheels([-0.26 * length, 0.29 * length], 0.48, half * 1.004)
    build.on(front, (0.03, 0.34, 0.97, 0.84), GLASS, gloss=GLASS_GLOSS)
    build.on(front, (0.49, 0.34, 0.51, 0.84), TRIM)
    build.on(front, (0.20, 0.86, 0.80, 0.97), (0.08, 0.05, 0.01))
    build.on(front, (0.26, 0.885, 0.74, 0.945), (0.95, 0.52, 0.08), lamp="head")
    build.on(rear, (0.12, 0.58, 0.88, 0.88), GLASS, gloss=GLASS_GLOSS)
    build.on(rear, (0.2, 0.16, 0.8, 0.42), TRIM)
    for quad, lamp, colour in ((front, "head", HEADLAMP), (rear, "tail", TAIL_LAMP)):
        for u0 in (0.04, 0.84):
            build.on(quad, (u0, 0.12, u0 + 0.12, 0.21), colour, lamp=lamp)
            side = "left" if (u0 < 0.5) == (quad is rear) else "right"
            build.on(quad, (u0, 0.22, u0 + 0.12, 0.27), INDICATOR, lamp=side)
    low, high, edge = height - 0.18, height, 0.16
    roof: Colour = (0.72, 0.72, 0.70)
    build.pair([(ends[0], -half, low), (ends[1], -half, low), (ends[1] - edge, -half + edge, high),
                (ends[0] + edge, -half + edge, high)], build.colour)  # fmt: skip
    build.face([(ends[1], -half, low), (ends[1], half, low), (ends[1] - edge, half - edge, high),
                (ends[1] - edge, -half + edge, high)])  # fmt: skip
    build.face([(ends[0], half, low), (ends[0], -half, low), (ends[0] + edge, -half + edge, high),
                (ends[0] + edge, half - edge, high)])  # fmt: skip
    build.face([(ends[0] + edge, -half + edge, high), (ends[1] - edge, -half + edge, high),
                (ends[1] - edge, half - edge, high), (ends[0] + edge, half - edge, high)],
               roof, gloss=0.0)  # fmt: skip
    build.box((-0.30 * length, -0.08 * length), 0.30 * width, (high, high + 0.2), (0.5, 0.5, 0.5))


def _truck(build: VehicleBuilder, length: float, width: float, height: float, box: Colour) -> None:
    half, ahead = width / 2, length / 2
    cab = min(2.2, 0.3 * length)
    build.part = 0
    build.box((-ahead + 0.1, ahead - 0.1), half * 0.86, (0.45, 0.85), TRIM)
    build.wheels([-0.30 * length, -0.30 * length + 1.15, ahead - 1.2], 0.46, half * 1.0)
    build.part = 1
    right, _, rear, _ = build.box((-ahead, ahead - cab - 0.25), half, (0.85, height), box)
    build.on_pair(right, (0.0, 0.0, 1.0, 0.05), TRIM)
    build.on_pair(right, (0.25, 0.38, 0.75, 0.62), build.colour)
    build.on(rear, (0.485, 0.04, 0.515, 0.98), TRIM)
    for u0, side in ((0.03, "left"), (0.80, "right")):
        build.on(rear, (u0, 0.005, u0 + 0.17, 0.055), TAIL_LAMP, lamp="tail")
        build.on(rear, (u0, 0.06, u0 + 0.17, 0.085), INDICATOR, lamp=side)
    build.part = 2
    top, x0, x1 = min(0.86 * height, 2.75), ahead - cab, ahead
    right, front, _, _ = build.box((x0, x1), half * 0.96, (0.45, top), build.colour)
    build.on_pair(right, (0.30, 0.52, 0.92, 0.88), GLASS, gloss=GLASS_GLOSS)
    build.on_pair(right, (0.0, 0.0, 1.0, 0.10), TRIM)
    build.on(front, (0.05, 0.50, 0.95, 0.90), GLASS, gloss=GLASS_GLOSS)
    build.on(front, (0.22, 0.20, 0.78, 0.44), TRIM)
    build.on(front, (0.0, 0.0, 1.0, 0.12), TRIM)
    for u0, side in ((0.04, "right"), (0.80, "left")):
        build.on(front, (u0, 0.14, u0 + 0.16, 0.23), HEADLAMP, gloss=0.3, lamp="head")
        build.on(front, (u0, 0.24, u0 + 0.16, 0.28), INDICATOR, lamp=side)

"""Buildings as flat faces with what lies on them: windows, shops, balconies, roofs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldtune.data.scenes.paint import Builder, Polygons
from worldtune.data.scenes.weather import Colour

Style = Literal["brick", "plaster", "office", "concrete", "house", "shop"]

_WALLS: dict[Style, tuple[Colour, ...]] = {
    "brick": ((0.30, 0.13, 0.09), (0.36, 0.19, 0.12), (0.24, 0.12, 0.09), (0.42, 0.30, 0.20)),
    "plaster": ((0.58, 0.50, 0.36), (0.60, 0.57, 0.50), (0.52, 0.38, 0.28), (0.44, 0.50, 0.50),
                (0.60, 0.46, 0.40)),
    "office": ((0.16, 0.19, 0.22), (0.34, 0.36, 0.37), (0.10, 0.14, 0.18)),
    "concrete": ((0.38, 0.37, 0.35), (0.46, 0.44, 0.41), (0.32, 0.31, 0.30)),
    "house": ((0.62, 0.58, 0.50), (0.55, 0.42, 0.30), (0.46, 0.50, 0.46), (0.60, 0.60, 0.58)),
    "shop": ((0.50, 0.47, 0.42), (0.40, 0.30, 0.24), (0.56, 0.54, 0.50)),
}  # fmt: skip
_SIGNS: tuple[Colour, ...] = (
    (0.50, 0.05, 0.05), (0.04, 0.14, 0.40), (0.05, 0.26, 0.12), (0.60, 0.38, 0.04),
    (0.06, 0.06, 0.07), (0.40, 0.08, 0.26), (0.03, 0.28, 0.30),
)  # fmt: skip
_GLASS: Colour = (0.06, 0.075, 0.09)
_WARM: Colour = (1.25, 0.86, 0.42)


@dataclass(frozen=True)
class Face:
    """One flat face: its outline [n, 3], and all that is painted on it, outline first."""

    corners: np.ndarray
    polygons: Polygons


@dataclass(frozen=True)
class Building:
    """A building's faces and its plan, float64 [4, 2] counter-clockwise."""

    plan: np.ndarray
    height: float
    faces: tuple[Face, ...]


class _Wall:
    """A wall from one foot to the other, seen from outside: x to the right, y up, in metres."""

    def __init__(self, foot: np.ndarray, other: np.ndarray, top: float, colour: Colour) -> None:
        self.width = float(np.linalg.norm(other - foot))
        self.top = top
        self._foot = foot
        self._along = (other - foot) / max(self.width, 1e-9)
        self.out = np.array([self._along[1], -self._along[0]])
        self._build = Builder()
        self.corners = self.quad(0.0, 0.0, self.width, top)
        self._build.add(self.corners, colour)

    def quad(self, x0: float, y0: float, x1: float, y1: float, out: float = 0.0) -> np.ndarray:
        """Return a rectangle's corners; out is how far its upper edge stands off the wall."""
        places = [(x0, y0, out), (x1, y0, out), (x1, y1, 0.0), (x0, y1, 0.0)]
        if out == 0.0:
            places = [(x, y, 0.0) for x, y, _ in places]
        return np.array([[*(self._foot + self._along * x + self.out * o), y] for x, y, o in places])

    def put(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour, *, gloss: float = 0.0,
        glow: float = 0.0, out: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a rectangle; with out its lower edge stands off the wall, as an awning's."""
        if x1 > x0 and y1 > y0:
            self._build.add(self.quad(x0, y0, x1, y1, out), colour, gloss=gloss, glow=glow)

    def face(self) -> Face:
        """Return the wall."""
        return Face(self.corners, self._build.build())


def _tinted(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return min(red * factor, 0.9), min(green * factor, 0.9), min(blue * factor, 0.9)


def building(
    plan: np.ndarray,
    height: float,
    style: Style,
    random: np.random.Generator,
    *,
    lamps: bool,
    camera: tuple[float, float, float],
) -> Building:
    """Build on a plan [4, 2], counter-clockwise; the first side faces the street.

    Only walls that the camera can see are made. lamps lights some of the windows.
    """
    colours = _WALLS[style]
    wall_colour = _tinted(colours[int(random.integers(len(colours)))], random.uniform(0.85, 1.1))
    trim = _tinted(wall_colour, 1.35) if random.uniform() < 0.7 else (0.60, 0.59, 0.56)
    sign = _SIGNS[int(random.integers(len(_SIGNS)))]
    seed = int(random.integers(2**31))
    faces = []
    for side in range(4):
        one, other = plan[side], plan[(side + 1) % 4]
        wall = _Wall(one, other, height, wall_colour)
        if (np.asarray(camera[:2]) - one) @ wall.out <= 0:
            continue
        details = _Details(np.random.Generator(np.random.PCG64([seed, side])), trim, sign, lamps)
        far = float(np.linalg.norm((one + other) / 2 - np.asarray(camera[:2]))) > 75
        _FRONTS[style](wall, details, far)
        faces.append(wall.face())
    faces += _roof(plan, height, style, wall_colour, random)
    return Building(plan, height, tuple(faces))


@dataclass(frozen=True)
class _Details:
    random: np.random.Generator
    trim: Colour
    sign: Colour
    lamps: bool

    def pane(self, wall: _Wall, x0: float, y0: float, x1: float, y1: float) -> None:
        """Put in a window's glass: dark, mirroring, curtained or lit."""
        chance, lit = self.random.uniform(size=2)
        if self.lamps and lit < 0.38:
            colour = _tinted(_WARM, float(0.45 + 0.5 * chance))
            wall.put(x0, y0, x1, y1, colour, glow=1.0)
            return
        tone = float(0.6 + 0.9 * chance)
        wall.put(x0, y0, x1, y1, _tinted(_GLASS, tone), gloss=0.55)
        if lit > 0.62:
            down = float(0.35 + 0.6 * chance)
            wall.put(x0, y1 - (y1 - y0) * down, x1, y1, (0.42, 0.40, 0.36), gloss=0.18)


def _grid(
    wall: _Wall, bottom: float, pitch: float, storey: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the left edges and the sills of a regular grid of bays, and a bay's width."""
    bays = max(int(wall.width / pitch), 1)
    storeys = max(int((wall.top - bottom - 0.5) / storey), 0)
    bay = wall.width / bays
    return np.arange(bays) * bay, bottom + np.arange(storeys) * storey, bay


def _windows(
    wall: _Wall, details: _Details, far: bool, *, bottom: float, pitch: float, share: float,
    storey: float = 3.1, low: float = 0.85, high: float = 2.45, balconies: float = 0.0,
) -> None:  # fmt: skip
    lefts, sills, bay = _grid(wall, bottom, pitch, storey)
    margin = bay * (1 - share) / 2
    columns = details.random.uniform(size=len(lefts)) < balconies
    for sill in sills:
        for left, balcony in zip(lefts.tolist(), columns.tolist(), strict=True):
            x0, x1, y0, y1 = left + margin, left + bay - margin, sill + low, sill + high
            if balcony:
                y0 = sill + 0.15
            if not far:
                wall.put(x0 - 0.10, y0 - 0.12, x1 + 0.10, y1 + 0.12, details.trim)
            details.pane(wall, x0, y0, x1, y1)
            if far:
                continue
            middle = (x0 + x1) / 2
            wall.put(middle - 0.035, y0, middle + 0.035, y1, details.trim)
            if balcony:
                wall.put(x0 - 0.5, sill, x1 + 0.5, sill + 1.05, (0.16, 0.16, 0.17), out=0.0)
                wall.put(x0 - 0.5, sill + 1.0, x1 + 0.5, sill + 1.1, details.trim)
            else:
                wall.put(x0 - 0.18, y0 - 0.2, x1 + 0.18, y0 - 0.08, _tinted(details.trim, 0.8))


def _shops(wall: _Wall, details: _Details, top: float) -> None:
    """Fill the ground floor with shop windows, signs and awnings."""
    count = max(int(wall.width / 5.5), 1)
    each = wall.width / count
    wall.put(0.0, 0.0, wall.width, top, _tinted(details.trim, 0.45))
    for number in range(count):
        x0, x1 = number * each + 0.25, (number + 1) * each - 0.25
        door = x0 + (x1 - x0) * float(details.random.uniform(0.1, 0.7))
        sign = _SIGNS[int(details.random.integers(len(_SIGNS)))]
        if details.lamps:
            wall.put(x0, 0.45, x1, top - 0.85, (1.2, 1.0, 0.66), glow=0.75)
        else:
            wall.put(x0, 0.45, x1, top - 0.85, _GLASS, gloss=0.6)
        shelf = float(details.random.uniform(0.8, 1.3))
        wall.put(x0, 0.45, x1, shelf, _tinted(sign, 0.7), gloss=0.15)
        for part in np.linspace(x0, x1, 4)[1:-1]:
            wall.put(part - 0.05, 0.45, part + 0.05, top - 0.85, _tinted(details.trim, 0.5))
        wall.put(door, 0.05, door + 1.0, 2.3, _tinted(_GLASS, 0.7), gloss=0.4)
        wall.put(x0 - 0.1, top - 0.85, x1 + 0.1, top - 0.12, sign, glow=0.5 * details.lamps)
        words = float(details.random.uniform(0.25, 0.6)) * (x1 - x0)
        wall.put((x0 + x1 - words) / 2.0, top - 0.62, (x0 + x1 + words) / 2.0, top - 0.34,
                 (0.75, 0.73, 0.66))  # fmt: skip
        if details.random.uniform() < 0.5:
            stripes = 8
            for stripe in range(stripes):
                a = x0 + (x1 - x0) * stripe / stripes
                b = x0 + (x1 - x0) * (stripe + 1) / stripes
                colour = sign if stripe % 2 else (0.66, 0.64, 0.60)
                wall.put(a, top - 1.45, b, top - 0.75, colour, out=1.1)


def _brick(wall: _Wall, details: _Details, far: bool) -> None:
    shop = wall.width > 7 and details.random.uniform() < 0.6
    bottom = 3.7 if shop else 0.6
    _windows(wall, details, far, bottom=bottom, pitch=2.7, share=0.46)
    if shop:
        _shops(wall, details, 3.6)
    else:
        wall.put(0.0, 0.0, wall.width, 0.7, _tinted(details.trim, 0.5))
        _door(wall, details)
    wall.put(0.0, wall.top - 0.75, wall.width, wall.top - 0.55, details.trim)
    wall.put(0.0, wall.top - 0.28, wall.width, wall.top, details.trim)


def _plaster(wall: _Wall, details: _Details, far: bool) -> None:
    shop = wall.width > 7 and details.random.uniform() < 0.5
    bottom = 3.7 if shop else 0.7
    _windows(wall, details, far, bottom=bottom, pitch=3.1, share=0.42, balconies=0.4)
    if shop:
        _shops(wall, details, 3.5)
    else:
        wall.put(0.0, 0.0, wall.width, 0.9, _tinted(details.trim, 0.42))
        _door(wall, details)
    wall.put(0.0, wall.top - 0.4, wall.width, wall.top, _tinted(details.trim, 0.85))


def _office(wall: _Wall, details: _Details, far: bool) -> None:
    wall.put(0.0, 0.0, wall.width, 3.9, _tinted(_GLASS, 0.9), gloss=0.5, glow=0.0)
    lefts, sills, bay = _grid(wall, 4.0, 1.9, 3.4)
    for sill in sills:
        for left in lefts.tolist():
            details.pane(wall, left + 0.07, sill + 0.75, left + bay - 0.07, sill + 3.3)
        if not far:
            wall.put(0.0, sill + 0.55, wall.width, sill + 0.72, _tinted(details.trim, 0.9))
    step = 3.8
    for left in np.arange(0.0, wall.width, step):
        wall.put(left, 0.0, left + 0.35, 4.0, details.trim)
    wall.put(0.0, 3.6, wall.width, 4.1, details.trim)
    middle = wall.width / 2
    wall.put(middle - 1.4, 0.0, middle + 1.4, 2.7, (0.5, 0.42, 0.26) if details.lamps else _GLASS,
             gloss=0.3, glow=float(details.lamps))  # fmt: skip
    wall.put(middle - 2.2, 2.9, middle + 2.2, 3.5, details.sign, glow=0.5 * details.lamps)


def _concrete(wall: _Wall, details: _Details, far: bool) -> None:
    lefts, sills, bay = _grid(wall, 0.8, 3.6, 3.0)
    for sill in sills:
        wall.put(0.0, sill + 0.8, wall.width, sill + 2.3, _tinted(details.trim, 0.6))
        for left in lefts.tolist():
            half = bay / 2
            details.pane(wall, left + 0.12, sill + 0.9, left + half - 0.06, sill + 2.2)
            details.pane(wall, left + half + 0.06, sill + 0.9, left + bay - 0.12, sill + 2.2)
    if not far:
        for left in lefts.tolist()[1:]:
            wall.put(left - 0.05, 0.0, left + 0.05, wall.top, _tinted(details.trim, 0.75))
    _door(wall, details)
    wall.put(0.0, wall.top - 0.5, wall.width, wall.top, _tinted(details.trim, 0.8))


def _house(wall: _Wall, details: _Details, far: bool) -> None:
    wall.put(0.0, 0.0, wall.width, 0.45, (0.26, 0.25, 0.24))
    _windows(wall, details, far, bottom=0.35, pitch=3.4, share=0.42, storey=2.8)
    _door(wall, details)


def _shop(wall: _Wall, details: _Details, far: bool) -> None:
    _shops(wall, details, min(3.8, wall.top - 0.4))
    if wall.top > 6:
        _windows(wall, details, far, bottom=4.0, pitch=3.0, share=0.5)
    wall.put(0.0, wall.top - 0.3, wall.width, wall.top, details.trim)


def _door(wall: _Wall, details: _Details) -> None:
    x = wall.width * float(details.random.uniform(0.2, 0.75))
    wall.put(x - 0.15, 0.0, x + 1.25, 2.45, details.trim)
    wall.put(x, 0.0, x + 1.1, 2.3, _tinted(details.sign, 0.8))
    wall.put(x + 0.2, 1.3, x + 0.9, 2.1, _GLASS, gloss=0.4)


_FRONTS: dict[Style, Callable[[_Wall, _Details, bool], None]] = {
    "brick": _brick,
    "plaster": _plaster,
    "office": _office,
    "concrete": _concrete,
    "house": _house,
    "shop": _shop,
}


def _roof(
    plan: np.ndarray, height: float, style: Style, wall: Colour, random: np.random.Generator
) -> list[Face]:
    at = np.concatenate([plan, np.full((4, 1), height)], axis=1)
    if style != "house":
        grey = float(random.uniform(0.14, 0.30))
        return [_plain(at, (grey, grey, grey))]
    tile = ((0.34, 0.11, 0.07), (0.16, 0.15, 0.16), (0.26, 0.14, 0.09))[int(random.integers(3))]
    rise = np.array([0.0, 0.0, float(np.linalg.norm(plan[2] - plan[1])) * 0.36])
    left, right = (at[0] + at[3]) / 2 + rise, (at[1] + at[2]) / 2 + rise
    out = (at[0] - at[3]) * 0.05 - rise * 0.1
    return [
        _plain(np.array([at[1], at[2], right]), wall),
        _plain(np.array([at[3], at[0], left]), wall),
        _plain(np.array([at[0] + out, at[1] + out, right, left]), tile),
        _plain(np.array([at[2] - out * [1, 1, -1], at[3] - out * [1, 1, -1], left, right]), tile),
    ]


def _plain(corners: np.ndarray, colour: Colour) -> Face:
    build = Builder()
    build.add(corners, colour)
    return Face(corners, build.build())

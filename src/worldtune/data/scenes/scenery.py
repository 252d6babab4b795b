"""What stands beside the road: where buildings, trees, lamps and hedges go."""

from dataclasses import dataclass, field
from math import atan2, cos, hypot, pi, sin
from typing import Literal

import cv2
import numpy as np

from worldtune.data.scenes.paint_buildings import Style
from worldtune.data.scenes.paint_ground import Surfaces
from worldtune.data.scenes.paint_trees import rectangle
from worldtune.data.scenes.recording import Layout

District = Literal["town", "suburb", "offices", "park"]
DISTRICTS: tuple[District, ...] = ("town", "suburb", "offices", "park")

_CELL = 0.5  # metres of a cell of the plan
_REACH = 120.0  # metres from the middle to the plan's edge
_PLAN = int(2 * _REACH / _CELL)
_ROADSIDE_M = 85.0  # from the middle, how far roads are built along

_STYLES: dict[District, tuple[Style, ...]] = {
    "town": ("brick", "plaster", "brick", "plaster", "shop", "concrete"),
    "suburb": ("house", "house", "house", "shop"),
    "offices": ("office", "concrete", "office", "brick"),
    "park": ("plaster", "brick", "concrete", "house"),
}
_HEIGHTS: dict[Style, tuple[float, float]] = {
    "brick": (9.0, 19.0),
    "plaster": (9.0, 17.0),
    "office": (16.0, 34.0),
    "concrete": (12.0, 28.0),
    "house": (5.4, 6.4),
    "shop": (4.4, 8.5),
}


@dataclass(frozen=True)
class Plot:
    """A building's plan, height and style; its first side faces the street."""

    plan: np.ndarray  # float64 [4, 2]
    height: float
    style: Style


@dataclass(frozen=True)
class Plant:
    """Something that grows, or stands, at one place."""

    kind: Literal["tree", "conifer", "bush", "bench", "bin"]
    x: float
    y: float
    size: float  # height, or breadth of a bush
    heading: float = 0.0


@dataclass
class Scenery:
    """All that stands beside the road."""

    district: District
    surfaces: Surfaces
    autumn: bool
    plots: list[Plot] = field(default_factory=list)
    plants: list[Plant] = field(default_factory=list)
    lamps: list[tuple[float, float, float]] = field(default_factory=list)  # x, y, of the arm
    hedges: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


def surfaces_of(district: District, random: np.random.Generator) -> Surfaces:
    """Choose the ground's colours."""
    road = float(random.uniform(0.088, 0.125))
    yellow = bool(random.uniform() < 0.4)
    tone = float(random.uniform(0.88, 1.1))
    walk = (0.33 * tone, 0.315 * tone, 0.29 * tone)
    if random.uniform() < 0.3:
        walk = (0.33 * tone, 0.25 * tone, 0.21 * tone)  # brick
    if district in ("town", "offices"):
        paving = (0.27 * tone, 0.26 * tone, 0.245 * tone)
        other = (0.23 * tone, 0.225 * tone, 0.22 * tone)
        return Surfaces(paving, other, 2.0, road=road, walk=walk, yellow=yellow)
    grass = (0.070, 0.125, 0.030), (0.125, 0.140, 0.050)
    return Surfaces(grass[0], grass[1], 0.0, road=road, walk=walk, yellow=yellow)


class _Plan:
    """A raster of the place: how far each cell is from the street, and what is built."""

    def __init__(self, layout: Layout, clear: np.ndarray) -> None:
        self.origin = np.array(layout.centre) - _REACH
        street = np.zeros((_PLAN, _PLAN), np.uint8)
        for outline in (*layout.roads, *layout.walkways):
            self._fill(street, outline)
        self.away = cv2.distanceTransform(1 - street, cv2.DIST_L2, 3) * _CELL
        road = np.zeros((_PLAN, _PLAN), np.uint8)
        for outline in layout.roads:
            self._fill(road, outline)
        self.off_road = cv2.distanceTransform(1 - road, cv2.DIST_L2, 3) * _CELL
        self.built = np.zeros((_PLAN, _PLAN), np.uint8)
        self.hidden = np.zeros((_PLAN, _PLAN), np.uint8)  # where nothing may block the view
        self._fill(self.hidden, clear)

    def _cells(self, points: np.ndarray) -> np.ndarray:
        return np.round((points - self.origin) / _CELL * 16).astype(np.int32)

    def _fill(self, raster: np.ndarray, outline: np.ndarray) -> None:
        cv2.fillPoly(raster, [self._cells(np.asarray(outline, np.float64))], (1,), cv2.LINE_8, 4)

    def at(self, raster: np.ndarray, x: float, y: float) -> float:
        """Return a raster's value at a place; 0 beyond the plan."""
        column = int((x - self.origin[0]) / _CELL)
        row = int((y - self.origin[1]) / _CELL)
        if 0 <= row < _PLAN and 0 <= column < _PLAN:
            return float(raster[row, column])
        return 0.0

    def takes(self, plan: np.ndarray, setback: float) -> bool:
        """Whether a plan fits: off the street, off other buildings and out of the view."""
        low = np.floor((plan.min(axis=0) - self.origin) / _CELL).astype(int) - 1
        high = np.ceil((plan.max(axis=0) - self.origin) / _CELL).astype(int) + 2
        if low.min() < 0 or high.max() > _PLAN:
            return False
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cells = self._cells(plan) - 16 * low.astype(np.int32)
        cv2.fillConvexPoly(mask, cells, (1,), cv2.LINE_8, 4)
        inside = mask > 0
        taken = self.built[window] | self.hidden[window]
        return not taken[inside].any() and float(self.away[window][inside].min()) >= setback

    def build(self, plan: np.ndarray, margin: float) -> None:
        """Mark a plan as taken, with a margin."""
        middle = plan.mean(axis=0)
        grown = middle + (plan - middle) * (
            1 + margin / np.maximum(np.linalg.norm(plan - middle, axis=1, keepdims=True), 1.0)
        )
        self._fill(self.built, grown)

    def free(self, x: float, y: float, from_street: float, *, tall: bool) -> bool:
        """Whether something small may stand at a place."""
        return (
            self.at(self.away, x, y) >= from_street
            and not self.at(self.built, x, y)
            and not (tall and self.at(self.hidden, x, y))
        )


def furnish(
    layout: Layout,
    district: District,
    random: np.random.Generator,
    clear: np.ndarray,
) -> Scenery:
    """Choose what stands at a place; nothing tall stands within clear [n, 2]."""
    scenery = Scenery(district, surfaces_of(district, random), bool(random.uniform() < 0.12))
    plan = _Plan(layout, clear)
    sides = _roadsides(layout, plan)
    order = random.permutation(len(sides))
    for number in order.tolist():
        _build_at(scenery, plan, sides[number], random)
    _skyline(scenery, plan, layout, random)
    _street_lamps(scenery, plan, sides, random)
    _plant(scenery, plan, sides, layout, random)
    return scenery


_Side = tuple[float, float, float, float]  # a place at the street's edge; the way out of it
_SIDE_STEP_M = 4.0


def _roadsides(layout: Layout, plan: _Plan) -> list[_Side]:
    """Return places along the edges of the street, and the direction away from it."""
    street = (plan.away == 0).astype(np.uint8)
    outlines, _ = cv2.findContours(street, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    soft = cv2.GaussianBlur(plan.away, (0, 0), 4.0)
    down, across = np.gradient(soft)
    sides: list[_Side] = []
    for outline in outlines:
        cells = outline[:: round(_SIDE_STEP_M / _CELL), 0]
        places = cells * _CELL + plan.origin
        near = (np.abs(places - np.array(layout.centre)) < _ROADSIDE_M).all(axis=1)
        for (column, row), (x, y) in zip(cells[near].tolist(), places[near].tolist(), strict=True):
            out = float(across[row, column]), float(down[row, column])
            length = max(hypot(*out), 1e-9)
            sides.append((x, y, out[0] / length, out[1] / length))
    return sides


def _build_at(scenery: Scenery, plan: _Plan, side: _Side, random: np.random.Generator) -> None:
    x, y, out_x, out_y = side
    district = scenery.district
    if district == "park" and random.uniform() < 0.72:
        return
    styles = _STYLES[district]
    style = styles[int(random.integers(len(styles)))]
    setback = float(random.uniform(0.6, 2.0) if district == "town" else random.uniform(4.0, 8.0))
    long = float(random.uniform(9, 13) if style == "house" else random.uniform(13, 26))
    deep = float(random.uniform(7, 9) if style == "house" else random.uniform(10, 15))
    heading = atan2(out_y, out_x) + pi / 2
    middle_x, middle_y = x + out_x * (setback + deep / 2), y + out_y * (setback + deep / 2)
    outline = rectangle(middle_x, middle_y, heading, long, deep)
    # The first side lies towards the street.
    nearest = min(range(4), key=lambda k: _reach(outline[k], outline[(k + 1) % 4], x, y))
    outline = np.roll(outline, -nearest, axis=0)
    if plan.takes(outline, min(setback, 0.6)):
        plan.build(outline, 0.4 if district == "town" else 4.0)
        low, high = _HEIGHTS[style]
        scenery.plots.append(Plot(outline, float(random.uniform(low, high)), style))


def _reach(one: np.ndarray, other: np.ndarray, x: float, y: float) -> float:
    middle = (one + other) / 2
    return hypot(middle[0] - x, middle[1] - y)


def _skyline(scenery: Scenery, plan: _Plan, layout: Layout, random: np.random.Generator) -> None:
    """Close the view in the distance with taller buildings, off the roads."""
    tall = scenery.district in ("town", "offices")
    turns = np.linspace(0, 2 * pi, 44, endpoint=False) + random.uniform(0, 0.1)
    for turn in turns.tolist():
        distance = float(random.uniform(96, 150))
        x = layout.centre[0] + distance * cos(turn)
        y = layout.centre[1] + distance * sin(turn)
        if distance < _REACH - 12 and plan.at(plan.away, x, y) < 14:
            continue
        wide = float(random.uniform(14, 26))
        outline = rectangle(x, y, turn + pi / 2, wide, 14.0)
        nearest = min(
            range(4), key=lambda k: _reach(outline[k], outline[(k + 1) % 4], *layout.centre)
        )
        outline = np.roll(outline, -nearest, axis=0)
        style: Style = ("concrete", "brick", "plaster")[int(random.integers(3))]
        height = float(random.uniform(12, 34) if tall else random.uniform(7, 13))
        scenery.plots.append(Plot(outline, height, style))


def _street_lamps(
    scenery: Scenery, plan: _Plan, sides: list[_Side], random: np.random.Generator
) -> None:
    for x, y, out_x, out_y in _spread(sides, 22.0, random):
        # At the kerb where there is a pavement, which is where the street's edge is.
        inward = next(
            (d for d in np.arange(0.0, 6.0, 0.25)
             if plan.at(plan.off_road, x - out_x * d, y - out_y * d) < 0.8), 0.0,
        )  # fmt: skip
        lamp_x, lamp_y = x - out_x * max(inward - 0.4, 0), y - out_y * max(inward - 0.4, 0)
        if plan.at(plan.off_road, lamp_x, lamp_y) > 0.4 and not plan.at(
            plan.hidden, lamp_x, lamp_y
        ):
            scenery.lamps.append((lamp_x, lamp_y, atan2(-out_y, -out_x)))


def _spread(sides: list[_Side], gap: float, random: np.random.Generator) -> list[_Side]:
    """Return some of the places, no two nearer than a gap."""
    chosen: list[_Side] = []
    for number in random.permutation(len(sides)).tolist():
        side = sides[number]
        if all(hypot(side[0] - x, side[1] - y) >= gap for x, y, _, _ in chosen):
            chosen.append(side)
    return chosen


def _plant(
    scenery: Scenery,
    plan: _Plan,
    sides: list[_Side],
    layout: Layout,
    random: np.random.Generator,
) -> None:
    green = scenery.district in ("suburb", "park")
    gap = {"town": 13.0, "suburb": 10.0, "offices": 11.0, "park": 7.5}[scenery.district]
    for x, y, out_x, out_y in _spread(sides, gap, random):
        out = float(random.uniform(0.9, 2.6 if green else 1.4))
        place = x + out_x * out, y + out_y * out
        chance = random.uniform()
        if plan.free(*place, 0.7, tall=True):
            scenery.plants.append(Plant("tree", *place, float(random.uniform(5.5, 8.5))))
        elif chance < 0.5 and plan.free(*place, 0.5, tall=False):
            scenery.plants.append(Plant("bush", *place, float(random.uniform(0.8, 1.3))))
    for x, y, out_x, out_y in _spread(sides, 19.0, random):
        place = x + out_x * 0.9, y + out_y * 0.9
        if plan.free(*place, 0.6, tall=False):
            kind = "bench" if random.uniform() < 0.5 else "bin"
            scenery.plants.append(Plant(kind, *place, 1.0, atan2(out_x, -out_y)))
    _scatter(scenery, plan, layout, random)
    if green:
        _hedges(scenery, plan, sides, random)


def _scatter(scenery: Scenery, plan: _Plan, layout: Layout, random: np.random.Generator) -> None:
    """Let trees and bushes grow where there is room."""
    for _ in range({"town": 50, "suburb": 130, "offices": 70, "park": 320}[scenery.district]):
        x, y = np.array(layout.centre) + random.uniform(-80, 80, 2)
        kind, chance = "tree", random.uniform()
        if chance < 0.18:
            kind = "conifer"
        elif chance < 0.42:
            kind = "bush"
        size = {"tree": random.uniform(6, 10.5), "conifer": random.uniform(6, 11)}.get(kind, 1.2)
        apart = all(hypot(x - p.x, y - p.y) > 3.2 for p in scenery.plants)
        if apart and plan.free(x, y, 2.5, tall=kind != "bush"):
            scenery.plants.append(Plant(kind, float(x), float(y), float(size)))


def _hedges(scenery: Scenery, plan: _Plan, sides: list[_Side], random: np.random.Generator) -> None:
    for x, y, out_x, out_y in _spread(sides, 9.0, random):
        if random.uniform() < 0.45:
            middle = np.array([x + out_x * 1.6, y + out_y * 1.6])
            along = np.array([-out_y, out_x]) * float(random.uniform(2, 4))
            one, other = middle - along, middle + along
            if all(plan.free(x, y, 0.9, tall=False) for x, y in (one, middle, other)):
                scenery.hedges.append((one, other))

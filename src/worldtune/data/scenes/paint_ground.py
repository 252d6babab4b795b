"""The street itself: asphalt, kerbs, markings, paving and lawns, dry or wet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from worldtune.data.scenes.camera import NEAR_M, Camera, clip_to_view
from worldtune.data.scenes.paint import SHIFT, pixel_corners
from worldtune.data.scenes.recording import Layout, Marking
from worldtune.data.scenes.weather import Colour, Light, develop

GROUND, ROAD, WALK, PAINT, KERB = 0, 1, 2, 3, 4  # what lies at a pixel
KERB_HEIGHT = 0.12
_TILE = 512


@dataclass(frozen=True)
class Surfaces:
    """The colours of one place's ground, albedo."""

    base: Colour
    base_other: Colour
    grid_m: float  # of the slabs of the open ground; 0 for grass
    road: float = 0.105
    walk: Colour = (0.33, 0.32, 0.30)
    kerb: Colour = (0.46, 0.45, 0.43)
    yellow: bool = False  # the centre lines


@dataclass(frozen=True)
class Ground:
    """Pictures of the ground, uint8 [h, w, 3] each."""

    lit: np.ndarray  # where the sun, or the open sky, reaches
    shade: np.ndarray  # where something keeps it off
    contact: np.ndarray  # under a body
    kind: np.ndarray  # uint8 [h, w]: what lies there


@cache
def _noise(smooth_px: float, seed: int) -> np.ndarray:
    """Return a tile of soft noise that repeats without a seam, float32, deviation 1."""
    random = np.random.Generator(np.random.PCG64([seed, 77]))
    flat = np.fft.rfft2(random.standard_normal((_TILE, _TILE)))
    rows, columns = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]
    soft = np.exp(-2 * (np.pi * smooth_px) ** 2 * (rows**2 + columns**2))
    tile = np.fft.irfft2(flat * soft, (_TILE, _TILE))
    return (tile / tile.std()).astype(np.float32)


def _sampled(tile: np.ndarray, x: np.ndarray, y: np.ndarray, metres: float) -> np.ndarray:
    """Lay a tile over the world; a pixel of it is some metres wide."""
    scale = np.float32(1 / metres)
    return cv2.remap(
        tile, (x * scale) % _TILE, (y * scale) % _TILE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )


def strip(line: np.ndarray, width: float, offset: float = 0.0) -> np.ndarray:
    """Return the quads [n, 4, 2] of a band along a line, offset to its left."""
    line = np.asarray(line, np.float64)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    left = np.stack([-along[:, 1], along[:, 0]], axis=1)
    one, other = line + left * (offset - width / 2), line + left * (offset + width / 2)
    return np.stack([one[:-1], one[1:], other[1:], other[:-1]], axis=1)


def resampled(line: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places [n, 2] each step metres along a line, and their distances from its start."""
    line = np.asarray(line, np.float64)
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    kept = np.concatenate([[True], lengths > 1e-6])
    line, reach = line[kept], np.concatenate([[0.0], np.cumsum(lengths[lengths > 1e-6])])
    at = np.arange(0.0, max(reach[-1], 1e-6), step)
    return np.stack([np.interp(at, reach, line[:, axis]) for axis in (0, 1)], axis=1), at


def marking_quads(marking: Marking) -> np.ndarray:
    """Return a painted line's quads, [n, 4, 2]; a divider's with gaps."""
    width = {"stop": 0.40, "edge": 0.13, "divider": 0.13, "centre": 0.13}[marking.kind]
    if marking.kind == "stop":
        return strip(marking.line, width)
    if marking.kind == "divider":
        places, at = resampled(marking.line, 0.5)
        quads = strip(places, width) if len(places) > 1 else np.zeros((0, 4, 2))
        return quads[(at[: len(quads)] % 6.0) < 2.5]
    return strip(marking.line, width)


def zebra_quads(line: np.ndarray, width: float) -> np.ndarray:
    """Return the stripes of a crossing, [n, 4, 2]."""
    start, end = np.asarray(line, np.float64)
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-9)
    left = np.array([-along[1], along[0]]) * width / 2
    count = max(int(length / 1.0), 1)
    margin = (length - count * 1.0 + 0.5) / 2
    begins = start + along * (margin + np.arange(count)[:, None])
    ends = begins + along * 0.5
    return np.stack([begins - left, ends - left, ends + left, begins + left], axis=1)


def lay(
    layers: Sequence[tuple[np.ndarray, Sequence[int]]],
    camera: Camera,
    polygons: Iterable[np.ndarray],
    height: float = 0.0,
) -> None:
    """Fill level polygons [n, 2], of any outline, at a height over the ground.

    layers are pictures of the camera's size, and the colour to fill with in each.
    """
    outlines = list(polygons)
    if not outlines:
        return
    flat = np.concatenate(outlines).astype(np.float64)
    seen = camera.view(np.concatenate([flat, np.full((len(flat), 1), height)], axis=1))
    ends = np.cumsum([0, *(len(outline) for outline in outlines)])
    pixels = camera.to_pixels(np.column_stack([seen[:, :2], np.maximum(seen[:, 2], NEAR_M)]))
    nearest = np.minimum.reduceat(seen[:, 2], ends[:-1])
    low = np.minimum.reduceat(pixels, ends[:-1])
    high = np.maximum.reduceat(pixels, ends[:-1])
    inside = (high > 0).all(axis=1) & (low < (camera.size[1], camera.size[0])).all(axis=1)
    far = np.maximum.reduceat(seen[:, 2], ends[:-1]) > NEAR_M
    corners = pixel_corners(pixels)
    for number in np.flatnonzero(far & (inside | (nearest <= NEAR_M))).tolist():
        part = corners[ends[number] : ends[number + 1]]
        if nearest[number] <= NEAR_M:
            cut = clip_to_view(seen[ends[number] : ends[number + 1]], camera)
            if len(cut) < 3:
                continue
            part = pixel_corners(camera.to_pixels(cut))
        for picture, colour in layers:
            if ends[number + 1] - ends[number] == 4:
                cv2.fillConvexPoly(picture, part, colour, cv2.LINE_8, SHIFT)
            else:
                cv2.fillPoly(picture, [part], colour, cv2.LINE_8, SHIFT)


def _byte(albedo: Sequence[float] | float) -> tuple[int, int, int]:
    """Return an albedo as the bytes that `_linear` reads."""
    values = np.broadcast_to(np.asarray(albedo, np.float64), 3)
    red, green, blue = np.round(255 * np.sqrt(values)).astype(int).tolist()
    return red, green, blue


_LINEAR = ((np.arange(256) / 255.0) ** 2).astype(np.float32)


def _painted(
    layout: Layout, surfaces: Surfaces, camera: Camera, patches: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat colours and kinds of the ground, at the camera's size."""
    height, width = camera.size
    flat = np.zeros((height, width, 3), np.uint8)
    flat[:] = _byte(surfaces.base)
    kind = np.zeros((height, width), np.uint8)

    def put(polygons: Iterable[np.ndarray], albedo: Colour, what: int, up: float = 0.0) -> None:
        lay(((flat, _byte(albedo)), (kind, (what,))), camera, polygons, up)

    grey = surfaces.road
    asphalt: Colour = (grey, grey, grey * 1.03)
    put(layout.roads, asphalt, ROAD)
    put(patches, (grey * 0.78, grey * 0.78, grey * 0.8), ROAD)
    worn = grey * 0.90
    lanes = [lane.centre for lane in layout.lanes if lane.kind == "drive" and len(lane.centre) > 1]
    tracks = [strip(line, 0.55, offset) for line in lanes for offset in (-0.8, 0.8)]
    put(_all(tracks), (worn, worn, worn), ROAD)
    white: Colour = (0.66, 0.66, 0.64)
    centre = [marking for marking in layout.markings if marking.kind == "centre"]
    others = [marking for marking in layout.markings if marking.kind != "centre"]
    put(_all([marking_quads(m) for m in centre]), (0.62, 0.42, 0.06) if surfaces.yellow else white,
        PAINT)  # fmt: skip
    put(_all([marking_quads(m) for m in others]), white, PAINT)
    put(_all([zebra_quads(c.line, c.width) for c in layout.crossings]), white, PAINT)
    dark: Colour = (surfaces.kerb[0] * 0.55, surfaces.kerb[1] * 0.55, surfaces.kerb[2] * 0.55)
    edges = _all([strip(np.concatenate([w, w[:1]]), 0.30) for w in layout.walkways])
    put(edges, dark, KERB)
    put(edges, surfaces.kerb, KERB, KERB_HEIGHT)
    put(layout.walkways, surfaces.walk, WALK, KERB_HEIGHT)
    return flat, kind


def _all(quads: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(quads) if quads else np.zeros((0, 4, 2))


def _textured(
    flat: np.ndarray,
    kind: np.ndarray,
    surfaces: Surfaces,
    camera: Camera,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return albedo, float32 [h, w, 3], depth [h, w], and how much water lies there, 0 to 1."""
    x, y, depth = camera.ground()
    near = np.minimum(depth, 400.0)
    shift = random.uniform(0, 500, 4).astype(np.float32)
    fine = _sampled(_noise(0.8, 1), x + shift[0], y + shift[1], 0.07)
    broad = _sampled(_noise(6.0, 2), x + shift[2], y + shift[3], 0.25)
    blotch = _sampled(_noise(3.5, 3), x + shift[1], y + shift[2], 0.14)
    # What is finer than a pixel averages out.
    sharp = np.clip(camera.focal * 0.10 / near, 0, 1)
    albedo = np.take(_LINEAR, flat)
    grain = fine * sharp
    strength = np.take(np.array([0.055, 0.06, 0.04, 0.06, 0.05], np.float32), kind)
    uneven = np.take(np.array([0.07, 0.04, 0.035, 0.05, 0.05], np.float32), kind)
    albedo *= (1 + strength * grain + uneven * (broad + 0.7 * blotch))[..., None]
    open_ground = (kind == GROUND)[..., None]
    other = np.array(surfaces.base_other, np.float32) / np.array(surfaces.base, np.float32)
    share = np.clip(0.5 + 0.45 * (broad + 0.6 * blotch), 0, 1)[..., None]
    albedo *= np.where(open_ground, 1 + share * (other - 1), 1)
    for what, step in ((WALK, 1.2), (GROUND, surfaces.grid_m)):
        if step:
            albedo *= (
                1 - 0.22 * ((kind == what) * _joints(x, y, step, near / camera.focal))[..., None]
            )
    water = np.clip(0.55 + 0.5 * broad, 0, 1) * np.take(
        np.array([0.35 if surfaces.grid_m else 0.0, 1.0, 0.6, 0.9, 0.5], np.float32), kind
    )
    return albedo, depth, water


def _joints(x: np.ndarray, y: np.ndarray, step: float, pixel: np.ndarray) -> np.ndarray:
    """Return how much of each pixel the joints of a grid of slabs fill, 0 to 1."""
    wide = np.maximum(0.05, 2.2 * pixel)
    fill = np.zeros_like(x)
    for at in (x, y):
        away = np.abs((at / step) % 1.0 - 0.5) * step
        fill = np.maximum(fill, np.clip((wide - (step / 2 - away)) / wide, 0, 1))
    return fill * np.clip(0.06 / wide, 0, 1)


def paint_ground(
    layout: Layout,
    surfaces: Surfaces,
    camera: Camera,
    light: Light,
    random: np.random.Generator,
    lamps: Sequence[tuple[float, float]] = (),
) -> Ground:
    """Paint the ground of a place, and the sky above it."""
    flat, kind = _painted(layout, surfaces, camera.scaled(2), _patches(layout, random))
    flat = cv2.resize(flat, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    kind = np.ascontiguousarray(kind[::2, ::2])
    albedo, depth, water = _textured(flat, kind, surfaces, camera, random)
    kept = np.exp(-light.thickness * np.minimum(depth, 3000.0))[..., None].astype(np.float32)
    air = (light.sky[1].astype(np.float32)) * (1 - kept)
    mirrored = np.zeros_like(albedo)
    if light.wet:
        albedo *= (1 - 0.42 * water)[..., None]
        sine = np.clip(camera.position[2] / np.maximum(depth, 1e-3), 0.02, 1)
        share = (0.06 + 0.55 * (1 - sine) ** 5 * water) * (water > 0)
        mirrored = share[..., None] * light.sky[1].astype(np.float32) * 0.9
    sky = _sky(camera, light, random)
    above = ~np.isfinite(depth)
    pool = _pools(camera, depth, lamps) if light.dark else None
    high = float(light.towards_sun[2])
    pictures = []
    for sun, part in ((high, 1.0), (0.0, 0.78 if light.closed else 0.92), (0.0, 0.40)):
        shine = (light.sun * sun + light.ambient * part).astype(np.float32)
        sent = albedo * shine
        if pool is not None:
            sent += albedo * pool * (1.0 if part > 0.5 else 0.4)
        picture = develop((sent + mirrored * min(part, 1.0)) * kept + air)
        picture[above] = sky[above]
        pictures.append(picture)
    return Ground(pictures[0], pictures[1], pictures[2], kind)


def _patches(layout: Layout, random: np.random.Generator) -> list[np.ndarray]:
    """Return mended places and manhole covers in the lanes."""
    patches = []
    drive = [lane for lane in layout.lanes if lane.kind == "drive" and len(lane.centre) > 1]
    for _ in range(min(len(drive), 14)):
        lane = drive[int(random.integers(len(drive)))]
        places, _ = resampled(lane.centre, 1.0)
        if len(places) < 3:
            continue
        at = int(random.integers(1, len(places) - 1))
        ahead = places[at + 1 if at + 1 < len(places) else at] - places[at - 1]
        ahead /= max(np.linalg.norm(ahead), 1e-9)
        left = np.array([-ahead[1], ahead[0]])
        middle = places[at] + left * random.uniform(-0.5, 0.5)
        if random.uniform() < 0.5:
            turn = np.linspace(0, 2 * np.pi, 13)[:-1, None]
            patches.append(middle + 0.34 * (np.cos(turn) * ahead + np.sin(turn) * left))
        else:
            long, wide = random.uniform(0.8, 3.5), random.uniform(0.5, 1.2)
            patches.append(
                middle
                + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
                @ np.stack([ahead * long / 2, left * wide / 2])
            )
    return patches


def _sky(camera: Camera, light: Light, random: np.random.Generator) -> np.ndarray:
    """Return the sky behind everything, uint8 [h, w, 3]."""
    height, width = camera.size
    up = camera.pitch + np.arctan((height / 2 - np.arange(height) - 0.5) / camera.focal)
    share = np.clip(up / 0.9, 0, 1)[:, None, None] ** 0.6
    above, low = light.sky
    sky = np.broadcast_to(low * (1 - share) + above * share, (height, width, 3))
    columns = np.arange(width, dtype=np.float32)[None] / camera.focal * 60 + random.uniform(0, 500)
    rows = up[:, None].astype(np.float32) * 220
    tile = _noise(9.0, 5)
    at = (
        np.broadcast_to(columns, (height, width)) % _TILE,
        np.broadcast_to(rows, (height, width)) % _TILE,
    )
    cloud = cv2.remap(tile, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    cover = np.clip(0.30 * cloud + (0.1 if light.closed else -0.12), 0, 0.5)[..., None]
    bright = low * 0.9 if light.closed else low * 0.4 + 0.55
    return develop(sky * (1 - cover) + bright * cover)


def _pools(camera: Camera, depth: np.ndarray, lamps: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return the light that street lamps throw on the ground, float32 [h, w, 3]."""
    x, y, _ = camera.ground()
    sum_of = np.zeros(depth.shape, np.float32)
    for lamp_x, lamp_y in lamps:
        square = (x - lamp_x) ** 2 + (y - lamp_y) ** 2
        sum_of += 1.0 / (1.0 + square / 18.0) ** 2
    return sum_of[..., None] * np.array([1.00, 0.72, 0.40], np.float32)

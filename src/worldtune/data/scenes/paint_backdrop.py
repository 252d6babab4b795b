"""All that stands still, painted once a clip: ground, buildings, trees, poles, their shadows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import hypot

import cv2
import numpy as np

from worldtune.data.scenes import paint_trees
from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.paint import Canvas, Polygons, colours_seen, far_to_near, paint
from worldtune.data.scenes.paint_buildings import Building, building
from worldtune.data.scenes.paint_ground import Ground, lay, paint_ground, strip
from worldtune.data.scenes.recording import Layout
from worldtune.data.scenes.scenery import Plant, Scenery
from worldtune.data.scenes.weather import Light, develop

TWICE = 2  # painted at twice the size, then reduced
_SIGHT_M = 170.0
_SHINE = 0.30  # of what stands behind a wet road, seen in it


@dataclass(frozen=True)
class Backdrop:
    """Pictures of a place without traffic, uint8 [2 h, 2 w, 3], and the depth of what stands."""

    lit: np.ndarray
    shade: np.ndarray
    contact: np.ndarray
    depth: np.ndarray  # float32 [2 h, 2 w], metres; infinite on the ground and in the sky
    shadows: np.ndarray  # uint8 [h, w]: 255 where something standing keeps the sun off the ground


@dataclass(frozen=True)
class _Thing:
    """A group of polygons at one depth."""

    polygons: Polygons
    at: tuple[float, float]
    order: bool  # whether it needs sorting


def paint_backdrop(
    layout: Layout, scenery: Scenery, camera: Camera, light: Light, random: np.random.Generator
) -> Backdrop:
    """Paint a place for a camera of the clip's size."""
    fine = camera.scaled(TWICE)
    lamps = [(x, y) for x, y, _ in scenery.lamps]
    ground = paint_ground(layout, scenery.surfaces, camera, light, random, lamps)
    things = list(_things(layout, scenery, camera, light, random))
    built = [
        building(
            plot.plan, plot.height, plot.style, random, lamps=light.lamps, camera=camera.position
        )
        for plot in scenery.plots
        if _in_sight(plot.plan, camera)
    ]
    shadows = _shadows(things, built, fine, light)
    if light.wet:
        image = _image_in_water(built, things, camera, light)
        for picture in (ground.lit, ground.shade, ground.contact):
            _mirror(picture, *image, ground)
    share = (shadows.astype(np.float32) / 255)[..., None]
    still = (ground.lit * (1 - share) + ground.shade * share + 0.5).astype(np.uint8)
    canvas = Canvas(fine.size)
    canvas.picture[:] = _doubled(still)
    for house in built:
        for face in house.faces:
            colours = colours_seen(face.polygons, fine, light)
            canvas.paint_face(face.polygons, fine, colours, face.corners)
    for thing in things:
        colours = colours_seen(thing.polygons, fine, light)
        order = far_to_near(thing.polygons, fine) if thing.order else None
        depth = float(fine.view(np.array([*thing.at, 0.0]))[2])
        canvas.paint(thing.polygons, fine, colours, depth, order)
    standing = np.isfinite(canvas.depth)
    shaded, under = _doubled(ground.shade), _doubled(ground.contact)
    for picture in (shaded, under):
        picture[standing] = canvas.picture[standing]
    _halos(canvas.picture, shaded, scenery, fine, light)
    return Backdrop(canvas.picture, shaded, under, canvas.depth, shadows)


def _doubled(picture: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(picture, TWICE, axis=0), TWICE, axis=1)


def _in_sight(points: np.ndarray, camera: Camera) -> bool:
    """Whether something of a plan [n, 2] may be in view."""
    seen = camera.view(np.concatenate([points, np.full((len(points), 1), 3.0)], axis=1))
    limit = camera.size[1] / 2 / camera.focal * 1.05
    ahead = seen[:, 2] > 1.0
    if not ahead.any() or np.min(seen[:, 2]) > _SIGHT_M:
        return False
    across = seen[:, 0] / np.maximum(seen[:, 2], 0.1)
    return bool((across[ahead].min() < limit) and (across[ahead].max() > -limit))


def _things(
    layout: Layout, scenery: Scenery, camera: Camera, light: Light, random: np.random.Generator
) -> Iterator[_Thing]:
    """Yield what grows and stands, where it may be seen or throw a shadow into view."""
    eye = np.array(camera.position[:2])
    forward = camera.rotation[2, :2] / np.linalg.norm(camera.rotation[2, :2])
    spread = camera.size[1] / 2 / camera.focal
    for plant in scenery.plants:
        out = np.array([plant.x, plant.y]) - eye
        ahead = float(out @ forward)
        aside = abs(float(out[0] * forward[1] - out[1] * forward[0]))
        if ahead < 4 or ahead > 110 or aside > ahead * spread + 9:
            continue
        detail = float(np.clip(camera.size[1] / 224 * 34 / max(ahead, 8), 0.5, 5.0))
        yield _Thing(_grown(plant, scenery, random, detail), (plant.x, plant.y), True)
    for one, other in scenery.hedges:
        middle = (one + other) / 2
        ahead = float((middle - eye) @ forward)
        if 4 < ahead < 90:
            polygons = paint_trees.hedge(one, other, random, int(60 * hypot(*(other - one)) / 3))
            yield _Thing(polygons, (float(middle[0]), float(middle[1])), True)
    for x, y, heading in scenery.lamps:
        if 5 < float((np.array([x, y]) - eye) @ forward) < 110:
            yield _Thing(paint_trees.lamp_post(x, y, heading, lit=light.dark), (x, y), True)
    for signal in layout.signals:
        x, y = signal.position
        if float((np.array([x, y]) - eye) @ forward) > 4:
            yield _Thing(paint_trees.signal_pole(x, y, signal.heading), (x, y), True)


def _grown(plant: Plant, scenery: Scenery, random: np.random.Generator, detail: float) -> Polygons:
    x, y = plant.x, plant.y
    if plant.kind == "tree":
        leaves = int(270 * detail)
        return paint_trees.tree(x, y, plant.size, random, leaves=leaves, autumn=scenery.autumn)
    if plant.kind == "conifer":
        return paint_trees.conifer(x, y, plant.size, random, int(300 * detail))
    if plant.kind == "bush":
        return paint_trees.bush(x, y, plant.size, random, int(50 * detail))
    if plant.kind == "bench":
        return paint_trees.bench(x, y, plant.heading)
    return paint_trees.bin_(x, y)


def _shadows(
    things: list[_Thing], built: list[Building], camera: Camera, light: Light
) -> np.ndarray:
    """Return where the ground lies in shadow, uint8 [h, w], at half the camera's size."""
    mask = np.zeros((*camera.size, 1), np.uint8)
    if light.closed:
        for house in built:
            lay([(mask, (120,))], camera, strip(np.concatenate([house.plan, house.plan[:1]]), 2.4))
        for thing in things:
            high = thing.polygons.points[thing.polygons.points[:, 2] > 1.2, :2]
            reach = float(np.ptp(high, axis=0).max()) * 0.40 if len(high) else 0.0
            if reach > 1.0:
                turns = np.linspace(0, 2 * np.pi, 17)[:-1]
                ring = np.stack([np.cos(turns), np.sin(turns)], axis=1) * reach + thing.at
                lay([(mask, (150,))], camera, [ring])
    else:
        fall = -light.towards_sun[:2] / light.towards_sun[2]
        for house in built:
            plan = np.concatenate([house.plan, house.plan + fall * house.height])
            hull = cv2.convexHull(plan.astype(np.float32))[:, 0]
            lay([(mask, (255,))], camera, [hull.astype(np.float64)])
        for thing in things:
            paint(mask, fallen(thing.polygons, fall), camera,
                  np.full((len(thing.polygons.colours), 1), 255))  # fmt: skip
    height, width = camera.size[0] // TWICE, camera.size[1] // TWICE
    if light.closed:
        # So soft that a small picture of it will do.
        small = cv2.resize(mask, (56, 32), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.9)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    half = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(half, (0, 0), max(width / 640, 0.4))


def fallen(polygons: Polygons, fall: np.ndarray) -> Polygons:
    """Return polygons' shadows on the ground; fall [2] is how far one metre's shadow reaches."""
    points = polygons.points.copy()
    points[:, :2] += points[:, 2:] * fall
    points[:, 2] = 0.0
    return replace(polygons.moved(points), both=np.ones(len(polygons.colours), bool))


def _image_in_water(
    built: list[Building], things: list[_Thing], camera: Camera, light: Light
) -> tuple[np.ndarray, np.ndarray]:
    """Paint what stands upside down, drawn out downwards as ripples do it.

    Returns colours, float32 [h, w, 3], and how much of each pixel they fill, [h, w, 1].
    """
    canvas = Canvas(camera.size)
    for house in built:
        for face in house.faces:
            colours = colours_seen(face.polygons, camera, light)
            corners = face.corners[::-1] * [1.0, 1.0, -1.0]
            canvas.paint_face(face.polygons.mirrored(), camera, colours, corners)
    for thing in things:
        colours = colours_seen(thing.polygons, camera, light)
        order = far_to_near(thing.polygons, camera) if thing.order else None
        depth = float(camera.view(np.array([*thing.at, 0.0]))[2])
        canvas.paint(thing.polygons.mirrored(), camera, colours, depth, order)
    cover = np.isfinite(canvas.depth).astype(np.float32)
    wide, long = camera.size[1] / 448 * 1.2, camera.size[1] / 448 * 5
    soft = cv2.blur(cv2.blur(cover, _odd(wide, long)), _odd(wide, long))[..., None]
    colour = canvas.picture * cover[..., None]
    colour = cv2.blur(cv2.blur(colour, _odd(wide, long)), _odd(wide, long))
    return colour / np.maximum(soft, 0.05), soft


def _odd(wide: float, long: float) -> tuple[int, int]:
    return 2 * int(wide / 2) + 1, 2 * int(long) + 1


def _mirror(picture: np.ndarray, colour: np.ndarray, soft: np.ndarray, ground: Ground) -> None:
    """Lay the upside-down picture over the wet ground."""
    share = _SHINE * soft * (ground.kind > 0)[..., None]
    picture[:] = np.clip(picture * (1 - share) + colour * share, 0, 255).astype(np.uint8)


def _halos(
    lit: np.ndarray, shade: np.ndarray, scenery: Scenery, camera: Camera, light: Light
) -> None:
    """Let the street lamps shine."""
    if not light.dark:
        return
    for x, y, heading in scenery.lamps:
        at = np.array([x + 1.75 * np.cos(heading), y + 1.75 * np.sin(heading), 7.75])
        pixels, depth = camera.project(at)
        if depth > 3:
            for picture in (lit, shade):
                glow(picture, pixels, camera.focal * 0.9 / float(depth), (1.0, 0.74, 0.42), 0.75)


def glow(
    picture: np.ndarray,
    place: np.ndarray,
    radius: float,
    colour: tuple[float, float, float],
    strength: float,
) -> tuple[int, int, int, int] | None:
    """Add a soft round light to a picture; return the box that it changes."""
    reach = max(int(radius), 1)
    x, y = round(float(place[0])), round(float(place[1]))
    top, bottom = max(y - reach, 0), min(y + reach + 1, picture.shape[0])
    left, right = max(x - reach, 0), min(x + reach + 1, picture.shape[1])
    if top >= bottom or left >= right:
        return None
    light = _disc_of_light(reach, colour, round(strength * 24))
    part = picture[top:bottom, left:right]
    cv2.add(part, light[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach],
            dst=part)  # fmt: skip
    return top, bottom, left, right


@lru_cache(maxsize=256)
def _disc_of_light(reach: int, colour: tuple[float, float, float], strength: int) -> np.ndarray:
    """Return a soft round light, uint8 [2 reach + 1, 2 reach + 1, 3]; strength in 24ths."""
    across = np.arange(-reach, reach + 1) / reach
    away = np.clip(1 - across[:, None] ** 2 - across[None] ** 2, 0, 1)
    return ((255 * strength / 24 * away**3)[..., None] * np.array(colour)).astype(np.uint8)


def pixel_of(light: Light, colour: tuple[float, float, float], distance: float) -> list[int]:
    """Return a lamp's light as the camera sees it from a distance, in metres."""
    return _lamp_pixel(light, colour, float(round(distance)))


@lru_cache(maxsize=2048)
def _lamp_pixel(light: Light, colour: tuple[float, float, float], distance: float) -> list[int]:
    return develop(light.through_air(np.array(colour), distance)).tolist()

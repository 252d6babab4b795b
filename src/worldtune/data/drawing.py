"""Soft-edged shapes over a soft background, drawn with numpy.

Lengths are in units of the picture's height: y runs from 0 at the top to 1, x from 0 to
width / height.
"""

from dataclasses import dataclass
from math import pi

import numpy as np

Colour = tuple[float, float, float]  # 0 to 1

FACES = {"circle": 0, "triangle": 3, "square": 4, "hexagon": 6}
_LIGHT = np.array([-0.6, -0.8])  # where the light comes from
_SHADOW = (0.018, 0.03)  # how far the shadow falls, x and y


@dataclass(frozen=True)
class Body:
    """One shape in one frame; radius reaches from the centre to the middle of a face."""

    shape: str
    colour: Colour
    radius: float
    x: float
    y: float
    turn: float = 0.0  # radians; at 0 a face looks to the right


def reach(shape: str, radius: float) -> float:
    """Return how far the shape's corners are from its centre."""
    faces = FACES[shape]
    return radius / np.cos(pi / faces) if faces else radius


def background(size: tuple[int, int], top: Colour, bottom: Colour) -> np.ndarray:
    """Return float32 [h, w, 3] in 0 to 1: a gradient that darkens towards the corners."""
    height, width = size
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    gradient = np.array(top, np.float32) * (1 - y) + np.array(bottom, np.float32) * y
    return gradient * (1 - 0.12 * (x**2 + (2 * y - 1) ** 2))


def draw(canvas: np.ndarray, body: Body) -> None:
    """Draw a shape and its shadow onto a float32 canvas [h, w, 3]."""
    soft = 0.03
    rows, columns, x, y = _window(canvas, body, reach(body.shape, body.radius) + 2 * soft)
    pixel = 1 / canvas.shape[0]
    part = canvas[rows, columns]
    dark = _distance(body, x - _SHADOW[0], y - _SHADOW[1])
    part *= 1 - 0.35 * np.clip(0.5 - dark / soft, 0, 1)[..., None]
    distance = _distance(body, x, y)
    light = (x * _LIGHT[0] + y * _LIGHT[1]) / body.radius
    rim = np.clip((distance + 0.1 * body.radius) / pixel, 0, 1)
    shade = (1 + 0.16 * np.clip(light, -1.2, 1.2)) * (1 - 0.28 * rim)
    cover = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
    colour = np.clip(np.array(body.colour, np.float32) * shade[..., None], 0, 1)
    part += cover * (colour - part)


def draw_ring(canvas: np.ndarray, x: float, y: float, radius: float, strength: float) -> None:
    """Brighten a thin circle, as of a blow; strength 0 to 1."""
    body = Body("circle", (1.0, 1.0, 1.0), radius, x, y)
    rows, columns, dx, dy = _window(canvas, body, radius + 0.05)
    near = np.exp(-(((np.hypot(dx, dy) - radius) / 0.012) ** 2))[..., None]
    canvas[rows, columns] += strength * near * (1 - canvas[rows, columns])


def to_uint8(canvas: np.ndarray) -> np.ndarray:
    """Round a canvas to pixels."""
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def _window(
    canvas: np.ndarray, body: Body, reach: float
) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Return the part of the canvas around a shape, and x and y from the shape's centre."""
    height, width, _ = canvas.shape
    top, bottom = _span(body.y, reach, height, height)
    left, right = _span(body.x, reach, height, width)
    y = (np.arange(top, bottom, dtype=np.float32) + 0.5) / height - np.float32(body.y)
    x = (np.arange(left, right, dtype=np.float32) + 0.5) / height - np.float32(body.x)
    return slice(top, bottom), slice(left, right), x[None, :], y[:, None]


def _span(centre: float, reach: float, scale: int, most: int) -> tuple[int, int]:
    low, high = int((centre - reach) * scale), int((centre + reach) * scale) + 2
    return min(max(low, 0), most), min(max(high, 0), most)


def _distance(body: Body, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance to the shape's edge, below 0 inside."""
    faces = FACES[body.shape]
    if not faces:
        return np.hypot(x, y) - body.radius
    angles = body.turn + 2 * pi * np.arange(faces) / faces
    sides = [np.float32(np.cos(a)) * x + np.float32(np.sin(a)) * y for a in angles]
    return np.maximum.reduce(sides) - body.radius

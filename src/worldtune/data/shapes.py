"""Small clips of moving shapes with captions: data that every machine has.

Two kinds, so that a mix can be shown: in "normal" clips two shapes pass each other, in
"collision" clips they meet and bounce off.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from worldtune.data import drawing
from worldtune.data.drawing import Body, Colour
from worldtune.data.folder import CAPTIONS, VIDEOS
from worldtune.data.video import write_video

Kind = Literal["normal", "collision"]
KINDS: tuple[Kind, ...] = ("normal", "collision")

COLOURS: dict[str, Colour] = {
    "red": (0.86, 0.20, 0.18),
    "orange": (0.95, 0.55, 0.15),
    "yellow": (0.96, 0.82, 0.25),
    "green": (0.25, 0.68, 0.35),
    "blue": (0.20, 0.42, 0.85),
    "purple": (0.56, 0.32, 0.75),
    "pink": (0.94, 0.50, 0.66),
    "white": (0.93, 0.93, 0.90),
}
# Upper and lower colour, muted so that every shape stands out.
BACKGROUNDS: dict[str, tuple[Colour, Colour]] = {
    "grey": ((0.50, 0.52, 0.55), (0.36, 0.37, 0.40)),
    "dark": ((0.20, 0.22, 0.27), (0.12, 0.13, 0.16)),
    "sand": ((0.74, 0.66, 0.52), (0.60, 0.51, 0.38)),
    "teal": ((0.24, 0.44, 0.46), (0.14, 0.29, 0.32)),
}
_SIZES = {"small": 0.085, "large": 0.13}
_MARGIN = 0.03
_RING_LASTS = 0.22  # of the clip's length


@dataclass(frozen=True)
class Motion:
    """A straight path over the clip's time, 0 to 1; after hit the velocity is another."""

    start: tuple[float, float]
    velocity: tuple[float, float]
    after: tuple[float, float]
    hit: float = 1.0

    def at(self, time: float) -> tuple[float, float]:
        """Return the place at a time."""
        before, rest = min(time, self.hit), max(time - self.hit, 0.0)
        x, y = (
            s + v * before + a * rest
            for s, v, a in zip(self.start, self.velocity, self.after, strict=True)
        )
        return x, y


@dataclass(frozen=True)
class Scene:
    """Everything that a clip shows."""

    kind: Kind
    background: str
    words: tuple[str, str]  # "large red circle"
    bodies: tuple[Body, Body]
    motions: tuple[Motion, Motion]

    def frame(self, canvas: np.ndarray, time: float) -> np.ndarray:
        """Return uint8 [h, w, 3] at a time from 0 to 1, over a drawn background."""
        canvas = canvas.copy()
        for body, motion in zip(self.bodies, self.motions, strict=True):
            x, y = motion.at(time)
            drawing.draw(canvas, replace(body, x=x, y=y))
        since = (time - self.motions[0].hit) / _RING_LASTS
        if self.kind == "collision" and 0 <= since < 1:
            drawing.draw_ring(canvas, *self._contact(), 0.05 + 0.25 * since, 0.8 * (1 - since))
        return drawing.to_uint8(canvas)

    def _contact(self) -> tuple[float, float]:
        (ax, ay), (bx, by) = (motion.at(motion.hit) for motion in self.motions)
        share = self.bodies[0].radius / (self.bodies[0].radius + self.bodies[1].radius)
        return ax + share * (bx - ax), ay + share * (by - ay)

    @property
    def caption(self) -> str:
        """What the clip shows, in a sentence or two."""
        one, other = self.words
        (ax, ay), (bx, by) = self.motions[0].velocity, self.motions[1].velocity
        over = f"over a {self.background} background"
        if self.kind == "collision":
            return (
                f"A {one} coming from the {_side(ax, ay)} and a {other} coming from the "
                f"{_side(bx, by)} collide {over} and bounce apart."
            )
        return (
            f"A {one} moves steadily {_heading(ax, ay)} and a {other} moves steadily "
            f"{_heading(bx, by)} {over}; they do not touch."
        )


def _side(dx: float, dy: float) -> str:
    """Return where something that moves this way comes from."""
    if abs(dx) > abs(dy):
        return "left" if dx > 0 else "right"
    return "top" if dy > 0 else "bottom"


def _heading(dx: float, dy: float) -> str:
    if abs(dx) > abs(dy):
        return "to the right" if dx > 0 else "to the left"
    return "down" if dy > 0 else "up"


def make_scene(kind: Kind, width: float, seed: int) -> Scene:
    """Draw a scene at random; width is that of the picture in units of its height."""
    random = np.random.Generator(np.random.PCG64([seed & (2**64 - 1), KINDS.index(kind)]))
    colours = random.permutation(list(COLOURS))
    words, bodies = [], []
    for colour in colours[:2]:
        size, shape = random.choice(list(_SIZES)), random.choice(list(drawing.FACES))
        # A triangle's corners reach twice as far as its faces.
        radius = _SIZES[size] * (0.75 if shape == "triangle" else 1.0) * min(1.0, width)
        turn = random.uniform(0, 2 * pi)
        words.append(f"{size} {colour} {shape}")
        bodies.append(Body(shape, COLOURS[colour], radius, 0.0, 0.0, turn))
    while True:
        made = (_meeting if kind == "collision" else _passing)(random, width, *bodies)
        if made is not None:
            break
    backdrop = str(random.choice(list(BACKGROUNDS)))
    placed, motions = made
    return Scene(kind, backdrop, (words[0], words[1]), placed, motions)


Made = tuple[tuple[Body, Body], tuple[Motion, Motion]]


def _passing(random: np.random.Generator, width: float, one: Body, other: Body) -> Made | None:
    """Try two straight paths that stay apart."""
    paths = []
    for body in (one, other):
        start, end = (_inside(random, width, body) for _ in range(2))
        velocity = end[0] - start[0], end[1] - start[1]
        if not 0.45 < hypot(*velocity) < 1.1:
            return None
        paths.append(Motion(start, velocity, velocity))
    apart = reach_of(one) + reach_of(other) + _MARGIN
    for time in np.linspace(0, 1, 33):
        (ax, ay), (bx, by) = (path.at(time) for path in paths)
        if hypot(ax - bx, ay - by) < apart:
            return None
    return (one, other), (paths[0], paths[1])


def _meeting(random: np.random.Generator, width: float, one: Body, other: Body) -> Made | None:
    """Try two paths that meet face to face, and what an elastic blow makes of them."""
    angle, hit = random.uniform(0, 2 * pi), random.uniform(0.35, 0.6)
    x, y = random.uniform(0.3, 0.7) * width, random.uniform(0.3, 0.7)
    normal, along = (cos(angle), sin(angle)), (-sin(angle), cos(angle))
    # Slower where the longer side is short, else hardly any draw would fit.
    towards, back = random.uniform(0.5, 1.0, 2) * min(1.0, max(width, 1.0) / 1.7)
    slide = random.uniform(-0.25, 0.25, 2)
    # Equal masses swap what they have along the line between them.
    speeds = ((towards, -back), (-back, towards))
    bodies, motions = [], []
    for body, side, (before, after), drift in zip(
        (one, other), (-1, 1), speeds, slide, strict=True
    ):
        place = x + side * body.radius * normal[0], y + side * body.radius * normal[1]
        velocity = _sum(before, normal, drift, along)
        start = place[0] - velocity[0] * hit, place[1] - velocity[1] * hit
        motion = Motion(start, velocity, _sum(after, normal, drift, along), hit)
        if not all(_fits(motion.at(time), width, body) for time in (0.0, 1.0)):
            return None
        facing = angle if side < 0 else angle + pi
        bodies.append(replace(body, turn=facing))
        motions.append(motion)
    return (bodies[0], bodies[1]), (motions[0], motions[1])


def reach_of(body: Body) -> float:
    """Return how far a body's corners are from its centre."""
    return drawing.reach(body.shape, body.radius)


def _sum(
    a: float, one: tuple[float, float], b: float, other: tuple[float, float]
) -> tuple[float, float]:
    return a * one[0] + b * other[0], a * one[1] + b * other[1]


def _inside(random: np.random.Generator, width: float, body: Body) -> tuple[float, float]:
    room = reach_of(body) + _MARGIN
    return random.uniform(room, width - room), random.uniform(room, 1 - room)


def _fits(place: tuple[float, float], width: float, body: Body) -> bool:
    room = reach_of(body) + _MARGIN / 2
    return bool(room < place[0] < width - room and room < place[1] < 1 - room)


def draw_scene(scene: Scene, size: tuple[int, int], frames: int) -> Iterator[np.ndarray]:
    """Yield the scene's frames, uint8 [h, w, 3]."""
    canvas = drawing.background(size, *BACKGROUNDS[scene.background])
    for number in range(frames):
        yield scene.frame(canvas, number / max(frames - 1, 1))


def write_clips(
    folder: Path,
    count: int,
    *,
    kind: Kind = "normal",
    size: tuple[int, int] = (128, 224),
    frames: int = 33,
    fps: float | int = 16,
    seed: int = 0,
) -> list[Path]:
    """Write clips with captions as a folder that list_clips reads; return the videos.

    size is (height, width), both even. The same arguments give the same pictures, and the same
    files where both sides are multiples of 16 (x264 reads unset memory past other edges).
    """
    height, width = size
    written = []
    for number in range(count):
        scene = make_scene(kind, width / height, seed * 1_000_003 + number)
        video = folder / VIDEOS / f"{kind}_{number:04d}.mp4"
        pictures = np.stack(list(draw_scene(scene, size, frames)))
        write_video(video, torch.from_numpy(pictures), fps, threads=1)
        caption = folder / CAPTIONS / f"{kind}_{number:04d}.txt"
        caption.parent.mkdir(parents=True, exist_ok=True)
        caption.write_text(scene.caption + "\n", encoding="utf-8")
        written.append(video)
    return written

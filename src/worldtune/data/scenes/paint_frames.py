"""A clip's frames: what moves, painted over what stands still."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.paint import SHIFT, pixel_corners
from worldtune.data.scenes.paint_backdrop import TWICE, Backdrop, glow, paint_backdrop, pixel_of
from worldtune.data.scenes.paint_crash import Marks, Scraps
from worldtune.data.scenes.paint_movers import Mover, mover
from worldtune.data.scenes.paint_traffic import Traffic
from worldtune.data.scenes.paint_trees import SIGNAL_HEIGHTS
from worldtune.data.scenes.playback import motion_at
from worldtune.data.scenes.recording import RATE_HZ, Recording
from worldtune.data.scenes.scenery import District, Scenery, furnish
from worldtune.data.scenes.weather import Light

_BLINKS_HZ = 1.5
_LAMP_LIGHT = ((3.2, 0.16, 0.08), (3.2, 1.35, 0.08), (0.16, 2.6, 0.95))  # red, amber, green
_HALO = ((1.0, 0.15, 0.10), (1.0, 0.6, 0.1), (0.2, 1.0, 0.5))
_STREAK_WIDTH = 448  # streaks of rain to the width of a picture, side by side


@dataclass(frozen=True)
class Shot:
    """All that a clip's pictures depend on."""

    recording: Recording
    camera: Camera
    light: Light
    district: District
    seed: int  # of scenery and clothes
    clear: np.ndarray  # float64 [n, 2]: where nothing may block the view
    colours: tuple[str, ...]  # of each body
    start_s: float
    frames: int
    fps: float

    @cached_property
    def times_s(self) -> np.ndarray:
        """The recording's time at each frame."""
        return self.start_s + np.arange(self.frames) / self.fps

    def random(self, purpose: int) -> np.random.Generator:
        """Return a generator of random numbers for one purpose."""
        return np.random.Generator(np.random.PCG64([self.seed, purpose]))

    @cached_property
    def scenery(self) -> Scenery:
        """What stands beside the road."""
        return furnish(self.recording.layout, self.district, self.random(1), self.clear)


def paint_frames(shot: Shot) -> Iterator[np.ndarray]:
    """Yield a shot's frames, uint8 [h, w, 3]."""
    backdrop = paint_backdrop(
        shot.recording.layout, shot.scenery, shot.camera, shot.light, shot.random(2)
    )
    film = _Film(shot, backdrop)
    for number in range(shot.frames):
        yield film.frame(number)


class _Film:
    """Paints frame after frame."""

    def __init__(self, shot: Shot, backdrop: Backdrop) -> None:
        self._shot, self._backdrop = shot, backdrop
        self._camera = shot.camera.scaled(TWICE)
        random = shot.random(3)
        recording = shot.recording
        contact = recording.contact
        movers: list[Mover] = []
        for number, body in enumerate(recording.bodies):
            motion = motion_at(recording, number, shot.times_s)
            seed = int(random.integers(2**31))
            struck = contact if contact and number in contact.bodies else None
            movers.append(
                mover(body, motion, shot.colours[number], seed, shot.fps, struck, shot.times_s)
            )
        self._traffic = Traffic(movers, self._camera, shot.light, backdrop)
        self._marks = Marks(movers) if contact else None
        self._scraps = Scraps(recording, shot.times_s, random) if contact else None
        self._rain = random.uniform(size=(400, 4)) if shot.light.wet else None

    def frame(self, number: int) -> np.ndarray:
        """Paint one frame; frames come in order."""
        backdrop, light = self._backdrop, self._shot.light
        if self._marks:
            self._marks.lay(number, self._shot.fps, self._camera, backdrop)
        canvas = backdrop.lit.copy()
        self._signals(canvas, number)
        stage = self._traffic.stage(number)
        stage.shadows(canvas)
        if light.wet:
            stage.images(canvas)
        if light.dark:
            stage.beams(canvas)
        if self._scraps:
            self._scraps.paint(canvas, number, self._camera, light, backdrop.depth)
        stage.bodies(canvas, blink=int(self._shot.times_s[number] * 2 * _BLINKS_HZ) % 2 == 0)
        picture = cv2.resize(canvas, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        if self._rain is not None:
            _draw_rain(picture, self._rain, number, light)
        return picture

    def _signals(self, canvas: np.ndarray, number: int) -> None:
        """Light the lamps of the traffic lights, where nothing that stands hides them."""
        recording, camera, light = self._shot.recording, self._camera, self._shot.light
        moment = int(self._shot.times_s[number] * RATE_HZ)
        row = recording.signals[min(max(moment, 0), len(recording.signals) - 1)]
        for signal in recording.layout.signals:
            state = int(row[signal.group])
            ahead = np.array([np.cos(signal.heading), np.sin(signal.heading)])
            x, y = np.array(signal.position) - 0.17 * ahead
            if (np.array(camera.position[:2]) - [x, y]) @ ahead >= 0:
                continue
            pixels, depth = camera.project(np.array([x, y, SIGNAL_HEIGHTS[state]]))
            column, line = int(pixels[0]), int(pixels[1])
            inside = 0 <= column < camera.size[1] and 0 <= line < camera.size[0]
            if depth < 3 or not inside or self._backdrop.depth[line, column] < depth - 0.6:
                continue
            # A touch larger than the lens, as film sees a lamp.
            radius = max(camera.focal * 0.15 / float(depth), 1.3)
            colour = pixel_of(light, _LAMP_LIGHT[state], float(depth))
            centre = pixel_corners(pixels)
            cv2.circle(canvas, (int(centre[0]), int(centre[1])), int(radius * (1 << SHIFT)),
                       colour, -1, cv2.LINE_AA, SHIFT)  # fmt: skip
            strength = 0.5 if light.lamps else 0.22
            glow(canvas, pixels, radius * 3.2, _HALO[state], strength)


def _draw_rain(picture: np.ndarray, drops: np.ndarray, number: int, light: Light) -> None:
    """Draw streaks of falling rain, at the clip's own size."""
    height, width = picture.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    count = len(drops) // 4
    chosen = np.roll(drops, number * 37, axis=0)[:count]
    across = ((chosen[:, 0] + 0.6180339 * number) % 1.0) * width
    down = ((chosen[:, 1] + 0.7548777 * number * (1 + chosen[:, 2])) % 1.0) * height
    long = height * (0.035 + 0.055 * chosen[:, 3])
    # A streak that is narrower than a pixel fills only a part of it.
    filled = min(width / _STREAK_WIDTH, 1.0)
    bright = (14 + 22 * chosen[:, 2]) * (0.6 if light.dark else 1.0) * filled
    wide = max(round(width / 640), 1)
    for x, y, reach, value in zip(across, down, long, bright, strict=True):
        start, end = (
            (int(x * 16), int(y * 16)),
            (int((x - reach * 0.12) * 16), int((y + reach) * 16)),
        )
        cv2.line(layer, start, end, (int(value),), wide, cv2.LINE_AA, 4)
    cv2.add(picture, cv2.merge([layer, layer, layer]), dst=picture)

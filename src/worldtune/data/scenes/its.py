"""Which clip of traffic is shown: recording, window, camera, weather, hour and colours.

Everything follows from (kind, number, seed). The two kinds draw alike: whatever is not the event
itself comes from the same numbers, so that nothing but the event tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import atan, atan2, cos, hypot, pi, radians, sin, tan
from pathlib import Path

import numpy as np

from worldtune.data.scenes import library
from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.paint_frames import Shot
from worldtune.data.scenes.paint_movers import boxes
from worldtune.data.scenes.playback import motion_at, poses
from worldtune.data.scenes.recording import Layout, Recording, SceneKind
from worldtune.data.scenes.scenery import DISTRICTS, District
from worldtune.data.scenes.style import choose_colour, choose_vivid
from worldtune.data.scenes.weather import HOURS, WEATHERS, Hour, Light, Weather
from worldtune.errors import DataError

_WEATHER_SHARES = (0.46, 0.24, 0.17, 0.13)
_HOUR_SHARES = (0.27, 0.27, 0.27, 0.19)
_DISTRICT_SHARES = (0.36, 0.24, 0.20, 0.20)

DISTANCE_M = (18.0, 24.0)
_HEIGHT_M = (6.4, 8.8)
_FIELD_OF_VIEW = (46.0, 56.0)
_INSIDE = (0.36, 0.58)  # where in the window the event comes
_SMALLEST = 0.13  # of the frame's width, the pair at the event
_MOST_HIDDEN = 0.06
_TRIES = 48
_MEETING_M = 8.5


@dataclass(frozen=True)
class Event:
    """The moment and the pair that the camera is there for."""

    time_s: float
    place: tuple[float, float]
    bodies: tuple[int, int]


@dataclass(frozen=True)
class ItsScene:
    """One clip, told completely."""

    kind: SceneKind
    number: int
    seed: int
    event: Event
    shot: Shot

    @property
    def name(self) -> str:
        """The clip's name without an ending."""
        return f"{self.kind}_{self.number:05d}"

    @property
    def event_frame(self) -> int:
        """The first frame at or after the event."""
        return int(np.searchsorted(self.shot.times_s, self.event.time_s - 1e-6))


def its_scene(
    kind: SceneKind,
    number: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = (128, 224),
    frames: int = 93,
    fps: float = 16.0,
    recorded: Path = library.RECORDED,
) -> ItsScene:
    """Choose a clip. size is (height, width) in pixels; recorded is a folder of recordings.

    Raises DataError where no recording is as long as the clip.
    """
    # The kind is left out on purpose: both classes meet the same weather, hours and cameras.
    random = np.random.Generator(np.random.PCG64([seed & (2**63 - 1), number, 1]))
    weather: Weather = WEATHERS[int(random.choice(len(WEATHERS), p=_WEATHER_SHARES))]
    hour: Hour = HOURS[int(random.choice(len(HOURS), p=_HOUR_SHARES))]
    district: District = DISTRICTS[int(random.choice(len(DISTRICTS), p=_DISTRICT_SHARES))]
    light = Light(weather, hour, float(random.uniform(-0.6, 0.6)))
    inside, look = float(random.uniform(*_INSIDE)), int(random.integers(2**31))
    found = library.recordings(kind, recorded)
    duration = (frames - 1) / fps
    for attempt in range(len(found)):
        recording = found[_which(kind, number, seed, len(found), attempt)]
        tries = np.random.Generator(np.random.PCG64([seed & (2**63 - 1), number, 2, attempt]))
        event = _event(recording, inside, duration, tries)
        if event is None:
            continue
        camera = _camera(recording, event, size, tries)
        if camera is None:
            continue
        start = min(max(event.time_s - inside * duration, 0.0), recording.duration_s - duration)
        shot = Shot(
            recording, camera, light, district, look, view_wedge(camera, event.place),
            _colours(recording, event, look), start, frames, fps,
        )  # fmt: skip
        return ItsScene(kind, number, seed, event, shot)
    raise DataError(
        f"no recording of {kind} traffic has room for {frames} frames at {fps:g} a second "
        f"({duration:.1f} s); ask for fewer --frames or a higher --fps"
    )


def resized(scene: ItsScene, size: tuple[int, int]) -> ItsScene:
    """Return the same scene at another size."""
    camera = replace(scene.shot.camera, size=size)
    return replace(scene, shot=replace(scene.shot, camera=camera))


def _which(kind: SceneKind, number: int, seed: int, count: int, attempt: int) -> int:
    """Return the number of a recording: each is used once before any comes again."""
    # Normal clips run half a round behind, so that a clip and the accident of its number are not
    # of the same traffic.
    place = number + (count // 2 if kind == "normal" else 0)
    order = _order(seed & (2**63 - 1), place // count, count)
    return int(order[(place + attempt) % count])


@lru_cache(maxsize=64)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, turn, 3])).permutation(count)


def _event(
    recording: Recording, inside: float, duration: float, random: np.random.Generator
) -> Event | None:
    """Return the contact, or in normal traffic a moment when two vehicles pass closely."""
    low, high = 0.22 * duration, recording.duration_s - 0.22 * duration
    if duration > recording.duration_s:
        return None
    if recording.contact is not None:
        contact = recording.contact
        event = Event(contact.time_s, contact.place, contact.bodies)
        return event if low <= event.time_s <= high else None
    earliest = inside * duration
    latest = recording.duration_s - (1 - inside) * duration
    meetings = [m for m in _meetings(recording) if earliest <= m[0].time_s <= latest]
    if not meetings:
        return None
    weights = np.array([weight for _, weight in meetings])
    return meetings[int(random.choice(len(meetings), p=weights / weights.sum()))][0]


def _meetings(recording: Recording) -> list[tuple[Event, float]]:
    """Return moments when two vehicles are near and one passes the other, with weights."""
    times = np.arange(0.5, recording.duration_s - 0.4, 0.25)
    vehicles = [n for n, body in enumerate(recording.bodies) if body.kind != "pedestrian"]
    motions = [motion_at(recording, number, times) for number in vehicles]
    there = np.array([motion.present for motion in motions])
    places = np.array([np.stack([m.x, m.y], axis=1) for m in motions])
    speeds = np.array([motion.velocity for motion in motions])
    centre = np.array(recording.layout.centre)
    found: list[tuple[Event, float]] = []
    for one in range(len(vehicles)):
        for other in range(one + 1, len(vehicles)):
            both = there[one] & there[other]
            away = np.linalg.norm(places[one] - places[other], axis=1)
            closing = np.linalg.norm(speeds[one] - speeds[other], axis=1)
            fastest = np.maximum(*(np.linalg.norm(speeds[k], axis=1) for k in (one, other)))
            middle = (places[one] + places[other]) / 2
            central = np.linalg.norm(middle - centre, axis=1) < 30
            good = both & (away < _MEETING_M) & (closing > 2.0) & (fastest > 3.0) & central
            if not good.any():
                continue
            # One moment for each pair: when they are nearest.
            moment = int(np.argmin(np.where(good, away, np.inf)))
            place = float(middle[moment, 0]), float(middle[moment, 1])
            event = Event(float(times[moment]), place, (vehicles[one], vehicles[other]))
            found.append((event, float(closing[moment])))
    return found


def _camera(
    recording: Recording, event: Event, size: tuple[int, int], random: np.random.Generator
) -> Camera | None:
    """Look for a camera that sees the pair whole, large enough and with nothing before it."""
    for _ in range(_TRIES):
        camera = _some_camera(event.place, size, random)
        if _sees(camera, recording, event):
            return camera
    return None


def _some_camera(
    place: tuple[float, float], size: tuple[int, int], random: np.random.Generator
) -> Camera:
    away, around = random.uniform(*DISTANCE_M), random.uniform(0, 2 * pi)
    height = float(random.uniform(*_HEIGHT_M))
    wide = radians(float(random.uniform(*_FIELD_OF_VIEW)))
    across, down = random.uniform(-0.09, 0.09), random.uniform(0.02, 0.13)
    level = float((away**2 - height**2) ** 0.5)
    x, y = place[0] + level * cos(around), place[1] + level * sin(around)
    # The place is seen a little beside and below the middle, by shares of the picture.
    aside = atan(2 * float(across) * tan(wide / 2))
    below = atan(2 * float(down) * tan(wide / 2) * size[0] / size[1])
    yaw = atan2(place[1] - y, place[0] - x) + aside
    return Camera((x, y, height), yaw, -atan2(height, level) + below, wide, size)


Box = tuple[float, float, float, float]


def _sees(camera: Camera, recording: Recording, event: Event) -> bool:
    height, width = camera.size
    later = min(event.time_s + 0.4, recording.duration_s)
    for time_s in (event.time_s, later):
        around = _boxes_at(camera, recording, time_s)
        pair = [around.get(body) for body in event.bodies]
        union = _union([box for box in pair if box is not None])
        if any(box is None for box in pair) or union is None:
            return False
        if not (0.02 * width < union[0] and union[2] < 0.98 * width):
            return False
        if not (0.02 * height < union[1] and union[3] < 0.98 * height):
            return False
        if union[2] - union[0] < _SMALLEST * width:
            return False
        if _hidden(camera, recording, event, time_s, around, union) > _MOST_HIDDEN:
            return False
        if _behind_pole(camera, recording.layout, event, union):
            return False
    return True


def _boxes_at(camera: Camera, recording: Recording, time_s: float) -> dict[int, Box]:
    """Return the pixels around each body that is before the camera at a moment."""
    found: dict[int, Box] = {}
    for number, (x, y, heading) in _places(recording, time_s).items():
        box = boxes(recording.bodies[number], np.array([[x, y, heading]]), camera)[0]
        if np.isfinite(box).all():
            left, top, right, bottom = box.tolist()
            found[number] = (left, top, right, bottom)
    return found


def _places(recording: Recording, time_s: float) -> dict[int, tuple[float, float, float]]:
    return {pose.body: (pose.x, pose.y, pose.heading) for pose in poses(recording, time_s)}


def _union(around: Sequence[Box]) -> Box | None:
    if not around:
        return None
    left, top, right, bottom = zip(*around, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _hidden(
    camera: Camera,
    recording: Recording,
    event: Event,
    time_s: float,
    around: dict[int, Box],
    union: Box,
) -> float:
    """Return the share of the pair's box that others before it cover, about."""
    eye = np.array(camera.position[:2])
    far = np.linalg.norm(np.array(event.place) - eye)
    covered = 0.0
    for number, (x, y, _) in _places(recording, time_s).items():
        near = np.hypot(x - eye[0], y - eye[1]) < far
        if number in event.bodies or not near or number not in around:
            continue
        box = around[number]
        wide = min(box[2], union[2]) - max(box[0], union[0])
        high = min(box[3], union[3]) - max(box[1], union[1])
        covered += max(wide, 0.0) * max(high, 0.0)
    return covered / ((union[2] - union[0]) * (union[3] - union[1]))


def _behind_pole(camera: Camera, layout: Layout, event: Event, union: Box) -> bool:
    """Whether a traffic light stands before the pair."""
    far = camera.view(np.array([*event.place, 0.0]))[2] + 2.0
    for signal in layout.signals:
        pixels, depth = camera.project(np.array([[*signal.position, z] for z in (0.0, 3.7)]))
        beside = not union[0] < pixels[0, 0] < union[2]
        clear = pixels[0, 1] < union[1] or pixels[1, 1] > union[3]
        if 1.0 < depth[0] < far and not beside and not clear:
            return True
    return False


def view_wedge(camera: Camera, place: tuple[float, float]) -> np.ndarray:
    """Return the ground [4, 2] over which nothing may stand between camera and place."""
    eye = np.array(camera.position[:2])
    ahead = np.array([cos(camera.yaw), sin(camera.yaw)])
    left = np.array([-ahead[1], ahead[0]])
    far = hypot(*(np.array(place) - eye)) + 8.0
    wide = tan(camera.field_of_view / 2) * far * 1.05
    back = eye - 4.0 * ahead
    return np.stack([
        back - 3.5 * left, eye + far * ahead - wide * left,
        eye + far * ahead + wide * left, back + 3.5 * left,
    ])  # fmt: skip


def _colours(recording: Recording, event: Event, look: int) -> tuple[str, ...]:
    """Choose every body's colour; the pair's stand out from the road and from each other."""
    random = np.random.Generator(np.random.PCG64([look, 4]))
    names = [choose_colour(body.kind, random) for body in recording.bodies]
    first, second = event.bodies
    names[first] = choose_vivid("", random)
    names[second] = choose_vivid(names[first], random)
    return tuple(names)

"""Which clip of traffic is shown: recording, window, camera, weather, hour and colours.

Everything follows from (kind, number, seed). The two kinds draw alike: whatever is not the event
itself comes from the same numbers, so that nothing but the event tells them apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import atan, atan2, cos, hypot, pi, radians, sin, tan
from pathlib import Path

import numpy as np

from worldtune.data.scenes import library
from worldtune.data.scenes.camera import Camera
from worldtune.data.scenes.paint_frames import Shot
from worldtune.data.scenes.paint_movers import boxes, size_of
from worldtune.data.scenes.playback import Motion, motion_at, poses
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
_MOST_COVERED = 0.45
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
    for attempt, recording in enumerate(_in_turn(found, kind, number, seed)):
        tries = np.random.Generator(np.random.PCG64([seed & (2**63 - 1), number, 2, attempt]))
        event = _event(recording, inside, duration, tries, recorded)
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


def _in_turn(
    found: Sequence[Recording], kind: SceneKind, number: int, seed: int
) -> Iterator[Recording]:
    """Yield recordings in the order in which a clip tries them.

    Clips go from layout to layout, both classes alike, and use each recording of a layout once
    before any comes again.
    """
    names = sorted({recording.layout.name for recording in found})
    turn, place = divmod(number, len(names))
    first = int(_order(seed, turn, len(names))[place])
    for name in [*names[first:], *names[:first]]:
        pool = [recording for recording in found if recording.layout.name == name]
        # Normal clips run half a round behind, so that a clip and the accident of its number are
        # not of the same traffic.
        start = turn + (len(pool) // 2 if kind == "normal" else 0)
        order = _order(seed, 10**6 + start // len(pool), len(pool))
        for step in range(len(pool)):
            yield pool[int(order[(start + step) % len(pool)])]


@lru_cache(maxsize=256)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    """Return a permutation, the same each time."""
    random = np.random.PCG64([seed & (2**63 - 1), turn, count, 3])
    return np.random.Generator(random).permutation(count)


def _event(
    recording: Recording,
    inside: float,
    duration: float,
    random: np.random.Generator,
    recorded: Path,
) -> Event | None:
    """Return the contact, or in normal traffic a moment when two vehicles pass closely."""
    if duration > recording.duration_s:
        return None
    earliest = inside * duration
    latest = recording.duration_s - (1 - inside) * duration
    if recording.contact is not None:
        contact = recording.contact
        event = Event(contact.time_s, contact.place, contact.bodies)
        return event if earliest <= event.time_s <= latest else None
    found, traits = _meetings(recording)
    contacts = _contacts(recording.layout.name, recorded)
    times = np.array([meeting.time_s for meeting in found])
    allowed = np.flatnonzero((times >= earliest) & (times <= latest)) if found else []
    if not len(allowed) or not len(contacts):
        return None
    # Like an accident of this place in all but the contact: where, how fast, from which sides.
    wanted = contacts[int(random.integers(len(contacts)))]
    unlike = (np.abs(traits[allowed] - wanted) * _WEIGHTS).sum(axis=1)
    return found[int(allowed[int(np.argmin(unlike))])]


# How much each trait of a meeting counts: x, y, the slower's and the faster's speed, the angle.
_WEIGHTS = np.array([0.7, 0.7, 2.0, 1.0, 4.0])


@lru_cache(maxsize=32)
def _contacts(layout: str, recorded: Path) -> np.ndarray:
    """Return the traits of the accidents of a layout just before contact, float64 [n, 5]."""
    rows = []
    for recording in library.recordings("accident", recorded):
        contact = recording.contact
        if contact is not None and recording.layout.name == layout:
            before = np.array([contact.time_s - 0.06])
            one, other = (motion_at(recording, body, before) for body in contact.bodies)
            rows.append([*contact.place, *_traits(one, other)[0]])
    return np.array(rows).reshape(-1, 5)


def _traits(one: Motion, other: Motion) -> np.ndarray:
    """Return two bodies' slower and faster speed and the angle between them, [moments, 3]."""
    speeds = np.stack([np.linalg.norm(motion.velocity, axis=1) for motion in (one, other)])
    angle = np.abs((one.heading - other.heading + pi) % (2 * pi) - pi)
    return np.stack([speeds.min(axis=0), speeds.max(axis=0), angle], axis=1)


def _meetings(recording: Recording) -> tuple[list[Event], np.ndarray]:
    """Return moments when two vehicles are near and one moves, and their traits [n, 5].

    Those that are not quite near count only where no others are.
    """
    times = np.arange(0.5, recording.duration_s - 0.4, 0.25)
    vehicles = [n for n, body in enumerate(recording.bodies) if body.kind != "pedestrian"]
    motions = [motion_at(recording, number, times) for number in vehicles]
    there = np.array([motion.present for motion in motions])
    places = np.array([np.stack([m.x, m.y], axis=1) for m in motions])
    moving = np.array([motion.velocity for motion in motions])
    one, other = np.triu_indices(len(vehicles), 1)
    away = np.linalg.norm(places[one] - places[other], axis=2)
    closing = np.linalg.norm(moving[one] - moving[other], axis=2)
    good = there[one] & there[other]
    for near, faster in ((_MEETING_M, 2.0), (1.6 * _MEETING_M, 0.8)):
        pairs, moments = np.nonzero(good & (away < near) & (closing > faster))
        if len(pairs):
            break
    found, traits = [], []
    for pair, moment in zip(pairs.tolist(), moments.tolist(), strict=True):
        first, second = int(one[pair]), int(other[pair])
        x, y = ((places[first, moment] + places[second, moment]) / 2).tolist()
        found.append(Event(float(times[moment]), (x, y), (vehicles[first], vehicles[second])))
        speeds = sorted(float(np.linalg.norm(moving[body, moment])) for body in (first, second))
        turn = float(motions[first].heading[moment] - motions[second].heading[moment])
        traits.append([x, y, *speeds, abs((turn + pi) % (2 * pi) - pi)])
    return found, np.array(traits).reshape(-1, 5)


@dataclass(frozen=True)
class _Moment:
    """Who is where at one time."""

    bodies: np.ndarray  # int [n], places in the recording
    sizes: np.ndarray  # float64 [n, 3]
    places: np.ndarray  # float64 [n, 3]: x, y, heading


def _moment(recording: Recording, time_s: float) -> _Moment:
    there = poses(recording, min(time_s, recording.duration_s))
    return _Moment(
        np.array([pose.body for pose in there]),
        np.array([size_of(recording.bodies[pose.body]) for pose in there]).reshape(-1, 3),
        np.array([[pose.x, pose.y, pose.heading] for pose in there]).reshape(-1, 3),
    )


def _camera(
    recording: Recording, event: Event, size: tuple[int, int], random: np.random.Generator
) -> Camera | None:
    """Look for a camera that sees the pair whole, large enough and with nothing before it."""
    moments = [_moment(recording, event.time_s + later) for later in (0.0, 0.4)]
    for _ in range(_TRIES):
        camera = _some_camera(event.place, size, random)
        if all(_sees(camera, recording.layout, event, moment) for moment in moments):
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


def _sees(camera: Camera, layout: Layout, event: Event, moment: _Moment) -> bool:
    around = boxes(moment.sizes, moment.places, camera)
    pair = around[np.isin(moment.bodies, event.bodies)]
    if len(pair) < 2 or not np.isfinite(pair).all():
        return False
    union = np.concatenate([pair[:, :2].min(axis=0), pair[:, 2:].max(axis=0)])
    common = np.minimum(pair[0, 2:], pair[1, 2:]) - np.maximum(pair[0, :2], pair[1, :2])
    smaller = (pair[:, 2:] - pair[:, :2]).prod(axis=1).min()
    if np.maximum(common, 0.0).prod() > _MOST_COVERED * smaller:
        return False  # one of the pair stands before the other
    size = np.array([camera.size[1], camera.size[0]])
    if (union[:2] < 0.02 * size).any() or (union[2:] > 0.98 * size).any():
        return False
    if union[2] - union[0] < _SMALLEST * size[0]:
        return False
    hidden = _hidden(camera, event, moment, around, union)
    return hidden <= _MOST_HIDDEN and not _behind_pole(camera, layout, event, union)


def _hidden(
    camera: Camera, event: Event, moment: _Moment, around: np.ndarray, union: np.ndarray
) -> float:
    """Return the share of the pair's box that others before it cover, about."""
    eye = np.array(camera.position[:2])
    far = np.linalg.norm(np.array(event.place) - eye)
    before = np.linalg.norm(moment.places[:, :2] - eye, axis=1) < far
    before &= ~np.isin(moment.bodies, event.bodies) & np.isfinite(around).all(axis=1)
    common = np.minimum(around[before, 2:], union[2:]) - np.maximum(around[before, :2], union[:2])
    return float(np.maximum(common, 0.0).prod(axis=1).sum() / (union[2:] - union[:2]).prod())


def _behind_pole(camera: Camera, layout: Layout, event: Event, union: np.ndarray) -> bool:
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

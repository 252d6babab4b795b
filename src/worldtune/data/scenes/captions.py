"""What a clip shows, in plain words: camera, place, weather, what happens."""

from math import cos, degrees, sin

import numpy as np

from worldtune.data.scenes.its import ItsScene
from worldtune.data.scenes.playback import Motion, motion_at
from worldtune.data.scenes.recording import BodyKind, Cause

_KINDS: dict[BodyKind, str] = {"suv": "SUV", "pickup": "pickup truck"}
_WEATHER = {
    "clear": "in clear weather",
    "overcast": "under an overcast sky",
    "rain": "in the rain, on a wet road",
    "fog": "in light fog",
}
_HOUR = {"morning": "in the morning", "noon": "at noon", "afternoon": "in the afternoon",
         "dusk": "at dusk"}  # fmt: skip
_PLACE = {
    "town": "in a town street with shops",
    "suburb": "among houses and gardens",
    "offices": "between office blocks",
    "park": "beside a park",
}
_CAUSE: dict[Cause, str] = {
    "red_light": "runs a red light and",
    "rear_end": "fails to brake in time and",
    "turning": "turns without giving way and",
    "lane_change": "changes lanes without looking and",
}
_STANDS_MPS = 0.8
_TURNS_DEG = 38.0


def vehicle_words(scene: ItsScene, body: int) -> str:
    """Return a body's colour and kind: "white van"."""
    kind = scene.shot.recording.bodies[body].kind
    return f"{scene.shot.colours[body]} {_KINDS.get(kind, kind)}"


def caption(scene: ItsScene) -> str:
    """Describe a clip in a few sentences."""
    shot = scene.shot
    where = f"A fixed traffic camera looks down on {shot.recording.layout.words}"
    setting = f"{_PLACE[shot.district]} {_HOUR[shot.light.hour]}, {_WEATHER[shot.light.weather]}"
    return f"{where}, {setting}. {_around(scene)} {_event(scene)}"


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _around(scene: ItsScene) -> str:
    """Say what else is there at the event, within sight."""
    shot = scene.shot
    time = np.array([scene.event.time_s])
    counts = {"vehicle": 0, "pedestrian": 0, "cyclist": 0}
    for number, body in enumerate(shot.recording.bodies):
        motion = motion_at(shot.recording, number, time)
        if number in scene.event.bodies or not motion.present[0]:
            continue
        pixels, depth = shot.camera.project(np.array([motion.x[0], motion.y[0], 0.7]))
        height, width = shot.camera.size
        if depth < 2 or not (0 < pixels[0] < width and 0 < pixels[1] < height):
            continue
        word = {"pedestrian": "pedestrian", "bicycle": "cyclist"}.get(body.kind, "vehicle")
        counts[word] += 1
    words = [_count(count, word) for word, count in counts.items() if count]
    if not words:
        return "The road is quiet otherwise."
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    verb = "is" if sum(counts.values()) == 1 else "are"
    return f"{listed[0].upper()}{listed[1:]} {verb} nearby."


def _count(count: int, word: str) -> str:
    numbers = ("no", "one", "two", "three", "four")
    told = numbers[count] if count < len(numbers) else "several"
    more = f"other {word}" if word == "vehicle" else word
    if count == 1:
        return f"one {more}" if word == "vehicle" else _a(word)
    return f"{told} {more}s"


def _event(scene: ItsScene) -> str:
    return _crash(scene) if scene.kind == "accident" else _traffic(scene)


def _crash(scene: ItsScene) -> str:
    contact = scene.shot.recording.contact
    assert contact is not None
    hits, hit = contact.bodies
    one, other = vehicle_words(scene, hits), vehicle_words(scene, hit)
    cause, how = _CAUSE[contact.cause], _how(scene)
    if contact.at_fault == hits:
        told = f"{_a(one)} {cause} {how} {_a(other)}"
    else:
        told = f"{_a(other)} {cause} is hit by {_a(one)}"
        if how != "hits":
            told = f"{_a(other)} {cause} {_a(one)} {how} it"
    after = _after(scene, hit, f"the {other}")
    return f"{told[0].upper()}{told[1:]}; {after}."


def _how(scene: ItsScene) -> str:
    """Say how the first of the pair strikes the second, from their headings."""
    contact = scene.shot.recording.contact
    assert contact is not None
    time = np.array([max(contact.time_s - 0.05, 0.0)])
    one, other = (motion_at(scene.shot.recording, body, time) for body in contact.bodies)
    angle = abs(degrees(_turned(float(one.heading[0]), float(other.heading[0]))))
    if angle > 140:
        return "runs head-on into"
    if angle > 45:
        return "crashes into the side of"
    if contact.cause == "lane_change":
        return "sideswipes"
    return "runs into the back of"


def _turned(one: float, other: float) -> float:
    """Return the angle from one heading to another, -pi to pi."""
    return float(np.arctan2(sin(other - one), cos(other - one)))


def _after(scene: ItsScene, body: int, words: str) -> str:
    contact = scene.shot.recording.contact
    assert contact is not None
    end = float(scene.shot.times_s[-1])
    motion = motion_at(scene.shot.recording, body, np.array([contact.time_s, end]))
    turned = abs(degrees(float(motion.heading[1] - motion.heading[0])))
    moved = float(np.hypot(motion.x[1] - motion.x[0], motion.y[1] - motion.y[0]))
    if turned > 50:
        return f"{words} is spun around and stops"
    if moved > 2.5:
        return f"{words} is pushed along the road and both stop"
    return "both stop where they met"


def _traffic(scene: ItsScene) -> str:
    one, other = scene.event.bodies
    first, second = _does(scene, one), _does(scene, other)
    told = (
        f"{_a(vehicle_words(scene, one))} {first} while {_a(vehicle_words(scene, other))} {second}"
    )
    return f"{told[0].upper()}{told[1:]}; traffic flows without incident."


def _does(scene: ItsScene, body: int) -> str:
    times = scene.shot.times_s
    motion: Motion = motion_at(scene.shot.recording, body, times)
    there = np.flatnonzero(motion.present)
    speed = np.linalg.norm(motion.velocity[there], axis=1)
    turned = degrees(float(motion.heading[there[-1]] - motion.heading[there[0]]))
    if speed.max() < _STANDS_MPS:
        return "waits"
    if abs(turned) > _TURNS_DEG:
        return f"turns {'left' if turned > 0 else 'right'}"
    if speed[-1] < _STANDS_MPS:
        return "slows to a stop"
    if speed[0] < _STANDS_MPS:
        return "moves off"
    return "drives straight on"

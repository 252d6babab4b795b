"""What every recording keeps to; one that breaks a rule is not recorded."""

from dataclasses import dataclass

import numpy as np

from worldtune.data.scenes.outlines import corners, depth, outside_by
from worldtune.data.scenes.playback import motion_at
from worldtune.data.scenes.recording import REGION_M, Layout, Recording

MOMENTS_HZ = 16
_GRAZE_M = 0.04
_TOUCH_M = 0.08
_ROAD_MARGIN_M = 0.6
_SLIDES_OFF_M = 1.8
_CALM_MPS2 = 9.0
_WALK_MPS2 = 6.0
_TURN_RAD_S = 1.6
_SKIDS = 0.5  # of the rear axle, sideways over forward speed
_VEHICLES_SEEN = 4


@dataclass(frozen=True)
class Moments:
    """All bodies at all moments: arrays [bodies, moments]."""

    times: np.ndarray
    present: np.ndarray
    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    boxes: np.ndarray  # [bodies, moments, 4, 2]
    sizes: np.ndarray  # [bodies, 2]


def moments(recording: Recording) -> Moments:
    """Play a recording back at MOMENTS_HZ."""
    times = np.arange(round(recording.duration_s * MOMENTS_HZ) + 1) / MOMENTS_HZ
    found = [motion_at(recording, number, times) for number in range(len(recording.bodies))]
    x, y, heading = (np.stack([getattr(m, key) for m in found]) for key in ("x", "y", "heading"))
    sizes = np.array([(body.length, body.width) for body in recording.bodies])
    boxes = corners(x, y, heading, np.broadcast_to(sizes[:, None], (*x.shape, 2)))
    return Moments(times, np.stack([m.present for m in found]), x, y, heading, boxes, sizes)


def sinks(seen: Moments) -> list[tuple[int, int, np.ndarray]]:
    """Return the pairs that ever sink into each other, and how deep at each moment [m]."""
    reach = np.hypot(seen.sizes[:, 0], seen.sizes[:, 1]) / 2
    found = []
    for one in range(len(reach) - 1):
        gap = np.hypot(seen.x[one] - seen.x[one + 1 :], seen.y[one] - seen.y[one + 1 :])
        near = gap < reach[one] + reach[one + 1 :, None]
        near &= seen.present[one] & seen.present[one + 1 :]
        for other in one + 1 + np.flatnonzero(near.any(1)):
            deep = np.where(
                near[other - one - 1], depth(seen.boxes[one], seen.boxes[other]), -np.inf
            )
            if deep.max() > _GRAZE_M:
                found.append((one, int(other), deep))
    return found


def accelerations(seen: Moments) -> np.ndarray:
    """Return the size of each body's acceleration [bodies, moments - 2], 0 where it is absent."""
    step_x, step_y = np.diff(seen.x, 2, axis=1), np.diff(seen.y, 2, axis=1)
    there = seen.present[:, :-2] & seen.present[:, 1:-1] & seen.present[:, 2:]
    return np.where(there, np.hypot(step_x, step_y) * MOMENTS_HZ**2, 0.0)


def broken_rules(recording: Recording) -> list[str]:
    """Return what is wrong with a recording, in words; nothing where it keeps all rules."""
    seen = moments(recording)
    told = [f"{one} and {other} overlap" for one, other in _overlapping(recording, seen)]
    told += _leaps(recording, seen) + _skids(recording, seen) + _misses(recording, seen)
    told += _pops(recording)
    told += _off_road(recording.layout, recording, seen)
    vehicles = sum(body.kind != "pedestrian" for body in recording.bodies)
    if vehicles < _VEHICLES_SEEN:
        told.append("hardly any traffic")
    return told


def clumsy_people(recording: Recording) -> set[int]:
    """Return the people whom the simulator walked through others, or moved in leaps.

    Of two people who walk through each other, one; of a person and a vehicle, the person.
    """
    seen = moments(recording)
    walks = [body.kind == "pedestrian" for body in recording.bodies]
    told = _leaps(recording, seen) + _pops(recording)
    clumsy = {number for number in map(int, (words.split()[0] for words in told)) if walks[number]}
    for one, other, _ in sinks(seen):
        if one not in clumsy and other not in clumsy:
            clumsy |= {one} if walks[one] else {other} if walks[other] else set()
    return clumsy


def _overlapping(recording: Recording, seen: Moments) -> list[tuple[int, int]]:
    contact = recording.contact
    found = []
    for one, other, deep in sinks(seen):
        if contact is not None and set(contact.bodies) == {one, other}:
            # They touch where they meet; even then bodies are hard.
            before = deep[seen.times < contact.time_s - 1e-6]
            if before.max() < _GRAZE_M and deep.max() < 2 * _GRAZE_M:
                continue
        found.append((one, other))
    return found


def _leaps(recording: Recording, seen: Moments) -> list[str]:
    told = []
    size = accelerations(seen)
    turn = np.where(
        seen.present[:, 1:] & seen.present[:, :-1],
        np.abs(np.diff(seen.heading, axis=1)) * MOMENTS_HZ,
        0,
    )
    pair = recording.contact.bodies if recording.contact else ()
    for number, body in enumerate(recording.bodies):
        upto = len(seen.times)
        if number in pair and recording.contact:
            upto = int(recording.contact.time_s * MOMENTS_HZ) - 1
        walks = body.kind == "pedestrian"
        if size[number, : max(upto - 2, 0)].max(initial=0) > (_WALK_MPS2 if walks else _CALM_MPS2):
            told.append(f"{number} ({body.kind}) leaps")
        if not walks and turn[number, :upto].max(initial=0) > _TURN_RAD_S:
            told.append(f"{number} ({body.kind}) spins")
    return told


def _skids(recording: Recording, seen: Moments) -> list[str]:
    """Return who moves sideways, as wheels do not: seen at the rear axle."""
    ahead, aside = np.cos(seen.heading), np.sin(seen.heading)
    back = 0.35 * seen.sizes[:, :1]
    step_x = np.gradient(seen.x - back * ahead, axis=1) * MOMENTS_HZ
    step_y = np.gradient(seen.y - back * aside, axis=1) * MOMENTS_HZ
    sideways = np.abs(step_y * ahead - step_x * aside)
    forward = np.abs(step_x * ahead + step_y * aside)
    slips = np.where(seen.present, sideways / np.maximum(forward, 1.5), 0)
    # A gradient at the end of a track mixes it with where it is not.
    slips[:, 1:-1] *= seen.present[:, :-2] & seen.present[:, 2:]
    contact = recording.contact
    if contact is not None:
        slips[list(contact.bodies), int(contact.time_s * MOMENTS_HZ) - 1 :] = 0
    return [
        f"{number} ({body.kind}) skids"
        for number, body in enumerate(recording.bodies)
        if body.kind != "pedestrian" and slips[number].max() > _SKIDS
    ]


def _misses(recording: Recording, seen: Moments) -> list[str]:
    contact = recording.contact
    if contact is None:
        return []
    one, other = contact.bodies
    at = round(contact.time_s * MOMENTS_HZ)
    here = slice(at, at + 1)
    deep = float(depth(seen.boxes[one, here], seen.boxes[other, here])[0])
    return [] if deep > -_TOUCH_M else [f"{one} and {other} miss each other by {-deep:.2f} m"]


def _pops(recording: Recording) -> list[str]:
    told = []
    last = len(recording.signals) - 1
    for number, body in enumerate(recording.bodies):
        ends = []
        if body.first > 0:
            ends.append(body.track[0])
        if body.first + len(body.track) - 1 < last:
            ends.append(body.track[-1])
        if any(np.hypot(end[0], end[1]) < REGION_M for end in ends):
            told.append(f"{number} ({body.kind}) pops in or out")
    return told


def _off_road(layout: Layout, recording: Recording, seen: Moments) -> list[str]:
    told = []
    for number, body in enumerate(recording.bodies):
        if body.kind == "pedestrian":
            continue
        points = seen.boxes[number][seen.present[number]][::2]
        out = outside_by(points.reshape(-1, 2), layout.roads).reshape(-1, 4).max(1)
        allowed = np.full(len(out), _ROAD_MARGIN_M)
        contact = recording.contact
        if contact is not None and number in contact.bodies:
            times = seen.times[seen.present[number]][::2]
            allowed[times >= contact.time_s] = _SLIDES_OFF_M
        if (out > allowed).any():
            told.append(f"{number} ({body.kind}) leaves the road by {out.max():.2f} m")
    return told

"""Bad drivers: who, in traffic that goes well, would cause an accident by not paying attention.

One driver is replaced from some moment on by one who keeps going: blind to red lights, to queues,
to who has priority, or to who is in the next lane. Whoever it meets first, it hits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from worldtune.data.scenes.network import StopLine
from worldtune.data.scenes.outlines import corners, depth
from worldtune.data.scenes.record_cut import between
from worldtune.data.scenes.record_rails import Rail, paced
from worldtune.data.scenes.recording import Cause
from worldtune.data.scenes.simulate import STEP_HZ, Track, Traffic

DRIVERS = ("car", "suv", "van", "pickup", "truck", "bus")
_HORIZON_S = 6.0
_EARLIEST_S = 0.9  # from the replacement to the contact
_EVERY = 6  # steps between two tries of one driver
_NEAR_M = 36.0  # of the centre
_HASTE_MPS2 = 1.6
_AWAY_MPS2 = 2.6  # from a stop
_LANE_M = 3.4
_CHANGE_S = 2.5
_CHANGES_OVER_M = 19.0  # at least so fast, over half the horizon: slower, a car would turn much
_STRAIGHT_RAD = 0.15
_DRIFT_M, _DRIFTS_S = 0.55, 3.0  # within the lane, of who does not look
_SEES_LATE = 0.6  # share of the bad drivers who brake at the last moment
_LATE_MPS2 = 6.5
_GAINS_M = 3.0  # on the good driver; with less it is the same driving
_WAITS_MPS = 2.0
_FAR_M = 75.0
_FRACTIONS = 64
_SAME_WAY_RAD = 0.5
_TURNS_RAD = 0.6
_AMBER_S = 1.0  # so long after the change to red, passing it is no longer a slip


@dataclass(frozen=True)
class Mishap:
    """A driver who, from a step on, drives another track, and whom that brings into contact."""

    driver: int  # place in Traffic.tracks
    other: int
    cause: Cause
    replaced_at: int  # the traffic's step
    contact_step: float
    track: Track  # of the bad driver, from the step of its replacement to beyond the contact


def mishaps(traffic: Traffic, first: int, last: int, rng: np.random.Generator) -> Iterator[Mishap]:
    """Yield mishaps whose contact would lie between two steps of the traffic."""
    stage = _Stage(traffic)
    for number, track in enumerate(traffic.tracks):
        if track.kind not in DRIVERS:
            continue
        rail = Rail(track)
        earliest = max(track.first, first - round(_HORIZON_S * STEP_HZ))
        begins = np.arange(earliest + number % _EVERY, min(track.last, last), _EVERY)
        for bad, changes_lane in _bad_tracks(track, rail, begins, rng):
            mishap = _mishap(traffic, stage, number, bad, changes_lane, rng)
            if mishap is not None and first <= mishap.contact_step <= last:
                yield mishap


def _mishap(
    traffic: Traffic,
    stage: "_Stage",
    driver: int,
    bad: Track,
    changes_lane: bool,
    rng: np.random.Generator,
) -> Mishap | None:
    found = stage.first_hit(driver, bad)
    if found is None or traffic.tracks[found[0]].kind not in DRIVERS:
        return None
    other, step = found
    if not changes_lane and rng.random() < _SEES_LATE:
        bad = _brake_late(bad, step - round(rng.uniform(0.2, 0.6) * STEP_HZ))
        found = stage.first_hit(driver, bad)
        if found is None or found[0] != other:
            return None
        step = found[1]
    if step - bad.first < _EARLIEST_S * STEP_HZ:
        return None
    cause = _cause(traffic, driver, bad, traffic.tracks[other], step, changes_lane)
    contact = _meeting(bad, traffic.tracks[other], step) if cause else None
    if cause is None or contact is None:
        return None
    return Mishap(driver, other, cause, bad.first, contact, bad)


def _brake_late(bad: Track, step: int) -> Track:
    """Return a track with full braking from a step on."""
    rail, row = Rail(bad), max(step - bad.first, 1)
    speeds = np.diff(rail.driven, append=rail.driven[-1:]) * STEP_HZ
    slower = speeds[row - 1] - _LATE_MPS2 * np.arange(1, len(speeds) - row + 1) / STEP_HZ
    speeds[row:] = np.minimum(speeds[row:], np.maximum(slower, 0))
    driven = np.concatenate([[0.0], np.cumsum(speeds[:-1]) / STEP_HZ])
    return paced(bad, rail, driven)


def _bad_tracks(
    track: Track, rail: Rail, begins: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Track, bool]]:
    """Yield tracks that start at steps, as a bad driver would drive on; does it change lanes."""
    if not len(begins):
        return
    count = round(_HORIZON_S * STEP_HZ) + 1
    ahead = count // 2
    for begin, driven in zip(begins, _hurry(track, rail, begins, count), strict=True):
        place = begin - track.first
        driven = driven[driven <= rail.driven[-1]]
        rows = rail.at(driven)
        if np.hypot(rows[0, 0], rows[0, 1]) > _FAR_M or len(driven) <= ahead:
            continue
        as_was = rail.driven[min(place + ahead, len(rail.driven) - 1)]
        if driven[ahead] - as_was > _GAINS_M:
            drifts = _aside(rows, float(rng.uniform(-_DRIFT_M, _DRIFT_M)), _DRIFTS_S)
            yield _drive(track, int(begin), drifts), False
        own = rail.at(rail.driven[place : place + count])
        if as_was - driven[0] > _CHANGES_OVER_M and np.ptp(own[:, 2]) < _STRAIGHT_RAD:
            side = _LANE_M if rng.random() < 0.5 else -_LANE_M
            yield _drive(track, int(begin), _aside(own, side, _CHANGE_S)), True


def _hurry(track: Track, rail: Rail, begins: np.ndarray, count: int) -> np.ndarray:
    """Return how far a driver gets who stops for nobody, [begins, count] in metres."""
    ways, fastest = rail.fastest()
    place = begins - track.first
    driven = np.empty((len(begins), count))
    driven[:, 0] = rail.driven[place]
    speed = np.append(np.diff(rail.driven), 0.0)[place] * STEP_HZ
    waits = speed < _WAITS_MPS
    gain, cruise = np.where(waits, _AWAY_MPS2, _HASTE_MPS2), np.where(waits, 9.0, 11.5)
    cruise = np.maximum(speed, cruise)
    for step in range(1, count):
        speed = np.minimum(speed + gain / STEP_HZ, cruise)
        speed = np.minimum(speed, np.interp(driven[:, step - 1], ways, fastest))
        driven[:, step] = driven[:, step - 1] + speed / STEP_HZ
    return driven


def _aside(rows: np.ndarray, left_m: float, over_s: float) -> np.ndarray:
    """Return rows [n, 3] that move over to the left, smoothly in some seconds."""
    share = np.clip(np.arange(len(rows)) / (over_s * STEP_HZ), 0, 1)
    over = left_m * share**3 * (10 - 15 * share + 6 * share**2)
    normal = np.stack([-np.sin(rows[:, 2]), np.cos(rows[:, 2])], 1)
    middle = rows[:, :2] + over[:, None] * normal
    steps = np.linalg.norm(np.gradient(rows[:, :2], axis=0), axis=1)
    lean = np.arctan2(np.gradient(over), np.maximum(steps, 0.05))
    return np.column_stack([middle, rows[:, 2] + lean])


def _drive(track: Track, begin: int, rows: np.ndarray) -> Track:
    place = np.clip(begin - track.first + np.arange(len(rows)), 0, len(track.x) - 1)
    return replace(
        track,
        first=begin,
        x=rows[:, 0],
        y=rows[:, 1],
        heading=rows[:, 2],
        blinkers=track.blinkers[place],
    )


class _Stage:
    """Everyone's places at all times, to be looked up by step."""

    def __init__(self, traffic: Traffic) -> None:
        shape = (len(traffic.tracks), traffic.steps)
        self.tracks = traffic.tracks
        self.x, self.y = np.full(shape, np.nan), np.full(shape, np.nan)
        self.heading = np.zeros(shape)
        for number, track in enumerate(traffic.tracks):
            there = slice(track.first, track.last + 1)
            self.x[number, there], self.y[number, there] = track.x, track.y
            self.heading[number, there] = track.heading
        self.sizes = np.array([(t.length, t.width) for t in traffic.tracks])
        self.reach = np.hypot(self.sizes[:, 0], self.sizes[:, 1]) / 2

    def first_hit(self, driver: int, bad: Track) -> tuple[int, int] | None:
        """Return whom a bad driver's track meets first, and the first step on which it does."""
        steps = slice(bad.first, min(bad.last + 1, self.x.shape[1]))
        count = steps.stop - steps.start
        gap = np.hypot(self.x[:, steps] - bad.x[:count], self.y[:, steps] - bad.y[:count])
        near = gap < self.reach[:, None] + self.reach[driver]
        near[driver] = False
        others, moments = np.nonzero(near)
        if not len(others):
            return None
        at = moments + steps.start
        theirs = corners(
            self.x[others, at], self.y[others, at], self.heading[others, at], self.sizes[others]
        )
        size = self.sizes[driver]
        ours = corners(bad.x[moments], bad.y[moments], bad.heading[moments], size)
        hits = np.flatnonzero(depth(ours, theirs) > 0)
        if not len(hits):
            return None
        hit = hits[moments[hits].argmin()]
        other, step = int(others[hit]), int(at[hit])
        if step - bad.first < 2 or np.hypot(self.x[other, step], self.y[other, step]) > _NEAR_M:
            return None
        return other, step


def _meeting(one: Track, other: Track, step: int) -> float | None:
    """Return the last moment before a step at which two tracks are still apart."""
    moments = step - 1 + np.arange(_FRACTIONS) / _FRACTIONS
    boxes = []
    for track in (one, other):
        rows = between(track, moments)
        size = np.array([track.length, track.width])
        boxes.append(corners(rows[:, 0], rows[:, 1], rows[:, 2], size))
    apart = depth(boxes[0], boxes[1]) < 0
    return float(moments[np.flatnonzero(apart)[-1]]) if apart.any() else None


def _cause(
    traffic: Traffic, driver: int, bad: Track, other: Track, step: int, changes_lane: bool
) -> Cause | None:
    """Return why two meet on a step; None where it is none of the four."""
    row = step - bad.first
    at = bad.heading[row]
    theirs = other.heading[np.clip(step - other.first, 0, len(other.x) - 1)]
    apart = abs((at - theirs + np.pi) % (2 * np.pi) - np.pi)
    same_way = apart < _SAME_WAY_RAD
    if changes_lane:
        # A change that is over long before is a rear end.
        soon = row < _CHANGE_S * STEP_HZ * 1.1
        return "lane_change" if same_way and soon else None
    if same_way and _is_ahead(bad, row, other, step):
        return "rear_end"
    red = _passed_red(traffic, bad, row)
    if red:
        return "red_light"
    turns = np.abs(traffic.tracks[driver].heading - bad.heading[0]).max() > _TURNS_RAD
    return "turning" if turns and red is not None else None


def _is_ahead(bad: Track, row: int, other: Track, step: int) -> bool:
    """Tell whether another is in front of a driver's bumper."""
    at = int(np.clip(step - other.first, 0, len(other.x) - 1))
    away = (other.x[at] - bad.x[row]) * np.cos(bad.heading[row])
    away += (other.y[at] - bad.y[row]) * np.sin(bad.heading[row])
    return bool(away > bad.length / 2)


def _passed_red(traffic: Traffic, bad: Track, row: int) -> bool | None:
    """Tell whether a track crossed a stop line on red; None where it came too close to amber."""
    for line in traffic.network.stop_lines:
        if line.group < 0:
            continue
        crossed = _crosses(line, bad, row)
        if crossed is None:
            continue
        step = bad.first + crossed
        shown = traffic.signals[max(step - round(_AMBER_S * STEP_HZ), 0) : step + 1, line.group]
        return True if (shown == 0).all() else False if (shown == 2).all() else None
    return False


def _crosses(line: StopLine, track: Track, upto: int) -> int | None:
    ahead = np.array([np.cos(line.heading), np.sin(line.heading)])
    front = np.stack([track.x, track.y], 1)[: upto + 1]
    facing = np.stack([np.cos(track.heading), np.sin(track.heading)], 1)[: upto + 1]
    offset = front + facing * track.length / 2 - np.array(line.point)
    past = offset @ ahead > 0
    aside = np.abs(offset @ np.array([-ahead[1], ahead[0]])) < line.half_width
    same = facing @ ahead > 0.8
    rows = np.flatnonzero(past[1:] & ~past[:-1] & aside[1:] & same[1:])
    return int(rows[0]) + 1 if len(rows) else None

"""An accident, and the same traffic with a good driver."""

from dataclasses import dataclass, replace
from math import cos, sin

import numpy as np

from worldtune.data.scenes import crash
from worldtune.data.scenes.crash import Moving, Touch
from worldtune.data.scenes.record_cut import between, cut
from worldtune.data.scenes.record_drivers import Mishap
from worldtune.data.scenes.record_followers import CannotStopError, stop_followers
from worldtune.data.scenes.record_rules import broken_rules, clumsy_people
from worldtune.data.scenes.recording import RATE_HZ, Contact, Recording
from worldtune.data.scenes.simulate import MODELS, STEP_HZ, Track, Traffic

BEFORE_S, AFTER_S = 6.5, 6.0
_SAMPLES = round((BEFORE_S + AFTER_S) * RATE_HZ) + 1
_CONTACT_STEP = round(BEFORE_S * STEP_HZ)
_BRAKES_MPS2 = (2.2, 5.0)  # of shaken drivers
# Less cannot be seen from a traffic camera; more looks like a cannon.
_WEAKEST_MPS, _STRONGEST_MPS = 4.6, 11.5


@dataclass(frozen=True)
class Pair:
    """Two recordings of the same seconds."""

    normal: Recording
    accident: Recording


def record_pair(
    traffic: Traffic, mishap: Mishap, name: str, rng: np.random.Generator
) -> Pair | str:
    """Return both recordings around a mishap, or why it makes no good ones."""
    start = mishap.contact_step - _CONTACT_STEP
    if start < 0 or start + 2 * _SAMPLES > traffic.steps - 1:
        return "too near an end of the simulation"
    numbers, tracks = _shifted(traffic, start)
    one, other = numbers.index(mishap.driver), numbers.index(mishap.other)
    bad = _at_steps(mishap.track, start, mishap.replaced_at, mishap.contact_step)
    good = tracks[one]
    switch = max(bad.first, good.first)
    driven = _joined(good, bad, switch)
    if driven is None:
        return "the driver is not yet there"
    hit = _impact(driven, tracks[other], rng)
    if isinstance(hit, str):
        return hit
    bad_tracks = list(tracks)
    bad_tracks[one], bad_tracks[other] = _after(driven, tracks[other], hit)
    try:
        bad_tracks = stop_followers(bad_tracks, (one, other), _CONTACT_STEP)
    except CannotStopError:
        return "someone cannot stop"
    mine, theirs = (_is_front(body, hit.at) for body in hit.before)
    striker, struck = (one, other) if mine or not theirs else (other, one)
    changes = {one: hit.changes[0], other: hit.changes[1]}
    contact = Contact(
        BEFORE_S,
        (round(hit.at.point[0], 2), round(hit.at.point[1], 2)),
        (striker, struck),
        one,
        mishap.cause,
        (round(changes[striker], 2), round(changes[struck], 2)),
    )
    return _recorded(traffic, start, (tracks, bad_tracks), contact, name)


def _recorded(
    traffic: Traffic,
    start: float,
    both: tuple[list[Track], list[Track]],
    contact: Contact,
    name: str,
) -> Pair | str:
    """Cut both recordings, without the people who are clumsy in either."""
    away: set[int] = set()
    shifted = _Shifted(traffic, start)
    for tracks, found in zip(both, (None, contact), strict=True):
        recording, places = shifted.cut(tracks, name, found)
        away |= {places[number] for number in clumsy_people(recording)}
    recordings = []
    for tracks, found in zip(both, (None, contact), strict=True):
        kept = [number for number in range(len(tracks)) if number not in away]
        if found is not None:
            bodies = (kept.index(found.bodies[0]), kept.index(found.bodies[1]))
            found = replace(found, bodies=bodies, at_fault=kept.index(found.at_fault))
        recording, _ = shifted.cut([tracks[number] for number in kept], name, found)
        broken = broken_rules(recording)
        if broken:
            return f"{recording.kind}: {broken[0]}"
        recordings.append(recording)
    return Pair(*recordings)


@dataclass(frozen=True)
class _Shifted:
    """Traffic whose steps are counted from a recording's start."""

    traffic: Traffic
    start: float

    def cut(
        self, tracks: list[Track], name: str, contact: Contact | None
    ) -> tuple[Recording, list[int]]:
        kind = "normal" if contact is None else "accident"
        rows = np.round(self.start + np.arange(2 * _SAMPLES)).astype(int)
        seen = replace(self.traffic, steps=len(rows), signals=self.traffic.signals[rows])
        return cut(seen, tracks, f"{name}_{kind}", kind, 0.0, _SAMPLES, contact)


def _shifted(traffic: Traffic, start: float) -> tuple[list[int], list[Track]]:
    """Return the tracks of a recording's time, on steps that count from its start."""
    numbers, tracks = [], []
    for number, track in enumerate(traffic.tracks):
        shifted = _at_steps(track, start, track.first, float(track.last))
        if len(shifted.x) > 2:
            numbers.append(number)
            tracks.append(shifted)
    return numbers, tracks


def _at_steps(track: Track, start: float, first: int, last: float) -> Track:
    """Return the part of a track between two steps of the traffic, on a recording's steps."""
    low = max(int(np.ceil(first - start - 1e-6)), 0)
    high = min(int(np.floor(last - start + 1e-6)), 2 * _SAMPLES - 2)
    steps = np.arange(low, high + 1)
    rows = between(track, start + steps)
    near = np.clip(np.round(start + steps - track.first).astype(int), 0, len(track.x) - 1)
    return replace(
        track,
        first=low,
        x=rows[:, 0],
        y=rows[:, 1],
        heading=rows[:, 2],
        blinkers=track.blinkers[near],
    )


def _joined(good: Track, bad: Track, switch: int) -> Track | None:
    """Return the good track up to a step, and the bad one from there."""
    upto = switch - good.first
    if upto < 0 or len(bad.x) < 4:
        return None
    skipped = switch - bad.first
    join = {
        key: np.concatenate([getattr(good, key)[:upto], getattr(bad, key)[skipped:]])
        for key in ("x", "y", "blinkers")
    }
    heading = np.concatenate([good.heading[:upto], bad.heading[skipped:]])
    return replace(good, heading=np.unwrap(heading), **join)


@dataclass(frozen=True)
class _Hit:
    before: tuple[Moving, Moving]
    after: tuple[Moving, Moving]
    at: Touch
    changes: tuple[float, float]


def _impact(one: Track, other: Track, rng: np.random.Generator) -> _Hit | str:
    row = _CONTACT_STEP - one.first
    if row != len(one.x) - 1:
        return "the contact is off its step"
    before = (
        _moving(one, row, float(rng.uniform(*_BRAKES_MPS2))),
        _moving(other, _CONTACT_STEP - other.first, float(rng.uniform(*_BRAKES_MPS2))),
    )
    at = crash.touch(*before)
    if at is None:
        return "no touch"
    after = crash.collide(*before, at)
    changes = tuple(crash.speed_change(b, a) for b, a in zip(before, after, strict=True))
    if max(changes) < _WEAKEST_MPS:
        return "too weak"
    if max(changes) > _STRONGEST_MPS:
        return "too strong"
    return _Hit(before, after, at, (changes[0], changes[1]))


def _moving(track: Track, row: int, brakes: float) -> Moving:
    """Return a body's state at a row, with the velocity that it had up to there."""
    here, last, older = row, row - 1, row - 2

    def rate(values: np.ndarray) -> float:
        return float(1.5 * values[here] - 2 * values[last] + 0.5 * values[older]) * STEP_HZ

    return Moving(
        float(track.x[row]),
        float(track.y[row]),
        float(track.heading[row]),
        rate(track.x),
        rate(track.y),
        rate(track.heading),
        track.length,
        track.width,
        MODELS[track.kind].mass_kg,
        brakes,
    )


def _after(one: Track, other: Track, hit: _Hit) -> tuple[Track, Track]:
    slid = crash.slide(*hit.after, AFTER_S + 0.5, STEP_HZ)
    return _thrown(one, slid[0]), _thrown(other, slid[1])


def _thrown(track: Track, rows: np.ndarray) -> Track:
    upto = _CONTACT_STEP - track.first
    blinkers = np.concatenate([track.blinkers[:upto], np.zeros(len(rows), np.uint8)])
    return replace(
        track,
        x=np.concatenate([track.x[:upto], rows[:, 0]]),
        y=np.concatenate([track.y[:upto], rows[:, 1]]),
        heading=np.concatenate([track.heading[:upto], rows[:, 2]]),
        blinkers=blinkers,
    )


def _is_front(body: Moving, at: Touch) -> bool:
    """Tell whether a touch is at a body's front."""
    dx, dy = at.point[0] - body.x, at.point[1] - body.y
    ahead = dx * cos(body.heading) + dy * sin(body.heading)
    return ahead > body.length / 2 - 0.35

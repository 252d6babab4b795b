"""Where everything is at any moment of a recording.

Between samples a body follows a cubic through both with the velocities there (Hermite). Where
two bodies meet, velocity breaks: each side of that sample has its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldtune.data.scenes.recording import (
    RATE_HZ,
    SIGNAL_STATES,
    Body,
    Pose,
    Recording,
    SignalState,
)


@dataclass(frozen=True)
class Motion:
    """One body at several moments; what is said of those when it is absent means nothing."""

    present: np.ndarray  # bool [m]
    x: np.ndarray  # float64 [m]
    y: np.ndarray
    heading: np.ndarray
    velocity: np.ndarray  # float64 [m, 2], metres a second
    lights: np.ndarray  # uint8 [m]


def poses(recording: Recording, time_s: float) -> list[Pose]:
    """Return who is there at a moment, from 0 to the recording's duration."""
    return poses_at(recording, [time_s])[0]


def poses_at(recording: Recording, times_s: Sequence[float] | np.ndarray) -> list[list[Pose]]:
    """Return who is there at each of several moments; quicker than one by one."""
    times = np.asarray(times_s, dtype=np.float64)
    there: list[list[Pose]] = [[] for _ in times]
    for number in range(len(recording.bodies)):
        motion = motion_at(recording, number, times)
        speeds = np.linalg.norm(motion.velocity, axis=1)
        for moment in np.flatnonzero(motion.present):
            there[moment].append(
                Pose(
                    number,
                    float(motion.x[moment]),
                    float(motion.y[moment]),
                    float(motion.heading[moment]),
                    float(speeds[moment]),
                    int(motion.lights[moment]),
                )
            )
    return there


def motion_at(recording: Recording, body: int, times_s: np.ndarray) -> Motion:
    """Return what one body does at several moments [m]."""
    contact = recording.contact
    breaks = contact is not None and body in contact.bodies
    sample = round(contact.time_s * RATE_HZ) if contact is not None and breaks else None
    return _follow(recording.bodies[body], times_s, sample)


def signal_states(recording: Recording, time_s: float) -> tuple[SignalState, ...]:
    """Return what each group of traffic lights shows at a moment."""
    row = min(max(int(time_s * RATE_HZ), 0), len(recording.signals) - 1)
    return tuple(SIGNAL_STATES[code] for code in recording.signals[row])


def _follow(body: Body, times_s: np.ndarray, break_at: int | None) -> Motion:
    track = body.track.astype(np.float64)
    last = len(track) - 1
    place = times_s * RATE_HZ - body.first
    # Times are rarely whole in binary: a moment at either end counts as inside.
    present = (place >= -1e-6) & (place <= last + 1e-6)
    place = np.clip(place, 0, last)
    row = np.minimum(place.astype(int), max(last - 1, 0))
    after = np.minimum(row + 1, last)
    leaving, arriving = _slopes(track, None if break_at is None else break_at - body.first)
    u = (place - row)[:, None]
    start, end, out, into = track[row], track[after], leaving[row], arriving[after]
    where = (
        start * (1 + 2 * u) * (1 - u) ** 2
        + out * u * (1 - u) ** 2
        + end * u**2 * (3 - 2 * u)
        + into * u**2 * (u - 1)
    )
    change = (end - start) * 6 * u * (1 - u) + out * (1 - u) * (1 - 3 * u) + into * u * (3 * u - 2)
    return Motion(
        present,
        where[:, 0],
        where[:, 1],
        where[:, 2],
        change[:, :2] * RATE_HZ,
        body.lights[np.minimum(np.floor(place + 1e-6).astype(int), last)],
    )


def _slopes(track: np.ndarray, break_at: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the change per sample [n, 3] with which each sample is left, and reached."""
    if len(track) == 1:
        return np.zeros_like(track), np.zeros_like(track)
    if break_at is None or not 0 < break_at < len(track) - 1:
        slopes = _smooth_slopes(track)
        return slopes, slopes
    before = _smooth_slopes(track[: break_at + 1])
    after = _smooth_slopes(track[break_at:])
    return np.vstack([before[:-1], after]), np.vstack([before, after[1:]])


def _smooth_slopes(track: np.ndarray) -> np.ndarray:
    steps = np.diff(track, axis=0)
    if len(steps) == 1:
        return np.repeat(steps, 2, axis=0)
    slopes = np.empty_like(track)
    slopes[1:-1] = (steps[:-1] + steps[1:]) / 2
    # A body that comes to rest must not swing over the place where it stops.
    still = (steps[:-1] == 0) | (steps[1:] == 0)
    slopes[1:-1][still] = 0
    slopes[0] = 1.5 * steps[0] - 0.5 * slopes[1]
    slopes[-1] = 1.5 * steps[-1] - 0.5 * slopes[-2]
    return slopes

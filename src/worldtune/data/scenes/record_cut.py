"""Recordings cut out of simulated traffic."""

from collections.abc import Sequence

import numpy as np

from worldtune.data.scenes.library import quantise, restore
from worldtune.data.scenes.recording import (
    BRAKE,
    RATE_HZ,
    REGION_M,
    Body,
    Contact,
    Recording,
    SceneKind,
)
from worldtune.data.scenes.simulate import STEP_HZ, Track, Traffic

# Tracks end this far outside the region: further than a vehicle drives between two samples.
_BEYOND_M = 6.0
_BRAKES_AT_MPS2 = -0.9
_STANDS_MPS = 0.3


def cut(
    traffic: Traffic,
    tracks: Sequence[Track],
    name: str,
    kind: SceneKind,
    start_step: float,
    samples: int,
    contact: Contact | None = None,
) -> tuple[Recording, list[int]]:
    """Return a recording that starts at a step of the traffic, which need not be whole.

    With it comes, for each of its bodies, the place of the track that it was cut from.

    The contact names tracks by their places, and the times of the recording. Tracks that never
    come near are left out.
    """
    steps = start_step + np.arange(samples) * (STEP_HZ / RATE_HZ)
    bodies, places = [], {}
    for number, track in enumerate(tracks):
        body = _cut_body(track, steps)
        if body is not None:
            places[number] = len(bodies)
            bodies.append(body)
    rows = np.clip(np.round(steps).astype(int), 0, traffic.steps - 1)
    if contact is not None:
        one, other = (places[number] for number in contact.bodies)
        contact = Contact(
            contact.time_s,
            contact.place,
            (one, other),
            places[contact.at_fault],
            contact.cause,
            contact.speed_change_mps,
        )
    layout = traffic.network.layout
    cut_out = Recording(name, kind, layout, tuple(bodies), traffic.signals[rows], contact)
    return cut_out, list(places)


def _cut_body(track: Track, steps: np.ndarray) -> Body | None:
    there = (steps >= track.first) & (steps <= track.last)
    if not there.any():
        return None
    rows = between(track, steps[there])
    near = np.flatnonzero(np.hypot(rows[:, 0], rows[:, 1]) < REGION_M + _BEYOND_M)
    if len(near) < 2:
        return None
    first = int(np.flatnonzero(there)[near[0]])
    kept = rows[near[0] : near[-1] + 1]
    # Whole turns are left out, so that milliradians fit.
    kept[:, 2] -= 2 * np.pi * np.round(kept[0, 2] / (2 * np.pi))
    at = np.round(steps[there][near[0] : near[-1] + 1] - track.first).astype(int)
    lights = track.blinkers[np.clip(at, 0, len(track.x) - 1)] | _brakes(kept)
    if track.kind in ("bicycle", "pedestrian"):
        lights = np.zeros_like(lights)
    return Body(
        track.kind,
        round(track.length, 2),
        round(track.width, 2),
        round(track.height, 2),
        first,
        restore(quantise(kept)),
        lights.astype(np.uint8),
    )


def between(track: Track, steps: np.ndarray) -> np.ndarray:
    """Return rows [m, 3] of x, y, heading at steps, by cubics through the samples around."""
    rows = np.stack([track.x, track.y, track.heading], 1)
    place = np.clip(steps - track.first, 0, len(rows) - 1)
    row = np.minimum(place.astype(int), max(len(rows) - 2, 0))
    slopes = np.gradient(rows, axis=0) if len(rows) > 1 else np.zeros_like(rows)
    u = (place - row)[:, None]
    after = np.minimum(row + 1, len(rows) - 1)
    return (
        rows[row] * (1 + 2 * u) * (1 - u) ** 2
        + slopes[row] * u * (1 - u) ** 2
        + rows[after] * u**2 * (3 - 2 * u)
        + slopes[after] * u**2 * (u - 1)
    )


def _brakes(rows: np.ndarray) -> np.ndarray:
    """Return the brake light at each sample: slowing down, or standing."""
    speed = np.linalg.norm(np.gradient(rows[:, :2], axis=0), axis=1) * RATE_HZ
    slows = np.gradient(speed) * RATE_HZ < _BRAKES_AT_MPS2
    lit = slows | (speed < _STANDS_MPS)
    # A light that flickers for one sample tells nothing.
    lit[1:-1] = (lit[:-2].astype(int) + lit[1:-1] + lit[2:]) >= 2
    return np.where(lit, BRAKE, 0)

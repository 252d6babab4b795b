"""Tracks driven at another pace: a rail is where a body goes, without when."""

from dataclasses import replace

import numpy as np

from worldtune.data.scenes.outlines import corners
from worldtune.data.scenes.simulate import STEP_HZ, Track

_SIDE_MPS2 = 4.6  # what a driver bears in a bend
_SLOWS_MPS2 = 4.0
_SHORTEST_M = 1e-3


class Rail:
    """The places that a track passes, by the way driven from its first row on, in metres."""

    def __init__(self, track: Track) -> None:
        """Lay the rail along a track."""
        rows = np.stack([track.x, track.y, track.heading], 1)
        steps = np.linalg.norm(np.diff(rows[:, :2], axis=0), axis=1)
        self.driven = np.concatenate([[0.0], np.cumsum(steps)])  # at each of the track's rows
        moves = np.concatenate([[True], steps > _SHORTEST_M])
        self._way, self._rows = self.driven[moves], rows[moves]
        if len(self._way) > 2:
            self._slopes = np.gradient(self._rows, self._way, axis=0)
        else:
            self._slopes = np.zeros_like(self._rows)
        self.size = (track.length, track.width)

    def at(self, way: np.ndarray) -> np.ndarray:
        """Return x, y, heading [..., 3] at ways from 0 to the rail's length."""
        if len(self._way) < 2:
            return np.broadcast_to(self._rows[0], (*way.shape, 3)).copy()
        way = np.clip(way, 0, self._way[-1])
        row = np.clip(np.searchsorted(self._way, way, "right") - 1, 0, len(self._way) - 2)
        span = self._way[row + 1] - self._way[row]
        u = ((way - self._way[row]) / span)[..., None]
        out, into = (self._slopes[at] * span[..., None] for at in (row, row + 1))
        return (
            self._rows[row] * (1 + 2 * u) * (1 - u) ** 2
            + out * u * (1 - u) ** 2
            + self._rows[row + 1] * u**2 * (3 - 2 * u)
            + into * u**2 * (u - 1)
        )

    def boxes(self, way: np.ndarray, longer: float = 0.0) -> np.ndarray:
        """Return corners [..., 4, 2] at ways, of a body that is longer in front."""
        rows = self.at(way)
        x = rows[..., 0] + np.cos(rows[..., 2]) * longer / 2
        y = rows[..., 1] + np.sin(rows[..., 2]) * longer / 2
        size = np.array([self.size[0] + longer, self.size[1]])
        return corners(x, y, rows[..., 2], size)

    def fastest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ways, and the speed with which a hasty driver may pass each."""
        ways = np.arange(0.0, self.driven[-1] + 1.0, 1.0)
        headings = self.at(ways)[:, 2]
        bend = np.abs(np.gradient(headings)) if len(ways) > 1 else np.zeros(1)
        speed = np.sqrt(_SIDE_MPS2 / np.maximum(bend, 1e-3))
        for place in range(len(ways) - 2, -1, -1):
            speed[place] = min(speed[place], np.sqrt(speed[place + 1] ** 2 + 2 * _SLOWS_MPS2))
        return ways, speed


def stop_by(track: Track, rail: Rail, begin: int, way: float, hardest: float) -> Track | None:
    """Return a track that stops at a way at the latest, braking from a row on.

    None where that would take harder braking. Until it stops it is never faster than it was.
    """
    driven = rail.driven.copy()
    speeds = np.diff(driven, append=driven[-1:]) * STEP_HZ
    room = way - driven[begin]
    if room <= 0:
        return None if speeds[begin] > 0.2 else hold(track, rail, begin)
    braking = speeds[begin] ** 2 / (2 * room)
    if braking > hardest:
        return None
    braking = max(braking * 1.02, 2.4)
    place = driven[begin]
    for row in range(begin, len(driven) - 1):
        speed = min(speeds[row], np.sqrt(2 * braking * max(way - place, 0.0)))
        place = min(place + speed / STEP_HZ, way)
        driven[row + 1] = min(driven[row + 1], place)
    return paced(track, rail, driven)


def hold(track: Track, rail: Rail, begin: int) -> Track:
    """Return a track that stands still from a row on."""
    driven = rail.driven.copy()
    driven[begin:] = driven[begin]
    return paced(track, rail, driven)


def paced(track: Track, rail: Rail, driven: np.ndarray) -> Track:
    """Return a track that has driven so far at each row [n]."""
    rows = rail.at(driven)
    as_was = np.clip(np.searchsorted(rail.driven, driven), 0, len(track.blinkers) - 1)
    return replace(
        track,
        x=rows[:, 0],
        y=rows[:, 1],
        heading=rows[:, 2],
        blinkers=track.blinkers[as_was],
    )

"""What everyone else does after a crash: who would run into it brakes and stops."""

from collections.abc import Sequence

import numpy as np

from worldtune.data.scenes.outlines import corners, depth
from worldtune.data.scenes.record_rails import Rail, stop_by
from worldtune.data.scenes.simulate import STEP_HZ, Track

_HARDEST_MPS2 = {"pedestrian": 3.0}
_HARDEST_DRIVER_MPS2 = 7.5
_KEEPS_AWAY_M = 1.6  # in front, when stopped
_TOO_NEAR_M = 0.25
_NOTICES_S = 0.45
_ROUNDS = 120


def stop_followers(tracks: Sequence[Track], pair: tuple[int, int], contact: int) -> list[Track]:
    """Return the tracks with everyone stopped who would run into the pair, or into one stopped.

    All tracks share one time; contact is its step. Raises CannotStopError where someone could not
    brake in time.
    """
    return _Stopping(tracks, pair, contact).run()


class CannotStopError(Exception):
    """Someone is too near and too fast."""


class _Stopping:
    def __init__(self, tracks: Sequence[Track], pair: tuple[int, int], contact: int) -> None:
        self.as_was, self.tracks = list(tracks), list(tracks)
        self.pair, self.contact = pair, contact
        self.steps = max(track.last for track in tracks) + 1 - contact
        self.stops: dict[int, float] = {}
        self.rails: dict[int, Rail] = {}
        self.boxes = np.stack([self._boxes(number) for number in range(len(tracks))])
        self.reach = np.array([np.hypot(t.length, t.width) / 2 for t in tracks])

    def run(self) -> list[Track]:
        ahead = list(self.pair)
        for _ in range(_ROUNDS):
            if not ahead:
                return self.tracks
            fixed = ahead.pop(0)
            met = self._meets(fixed)
            if met is None:
                continue
            other, step = met
            ahead += [self._stop_one(fixed, other, step), fixed]
        raise CannotStopError

    def _meets(self, fixed: int) -> tuple[int, int] | None:
        """Return whom a body meets first after the contact, and when."""
        near = np.linalg.norm(self.boxes.mean(2) - self.boxes[fixed].mean(1), axis=2)
        near = near < self.reach[:, None] + self.reach[fixed] + _TOO_NEAR_M
        near[fixed] = False
        if fixed in self.pair:
            near[list(self.pair)] = False
        found: tuple[int, int] | None = None
        for other in np.flatnonzero(near.any(1)).tolist():
            deep = depth(self.boxes[fixed][near[other]], self.boxes[other][near[other]])
            hits = np.flatnonzero(near[other])[deep > -_TOO_NEAR_M]
            if len(hits) and not self._both_as_they_were(fixed, other):
                step = int(hits[0])
                if found is None or step < found[1]:
                    found = (other, step)
        return found

    def _both_as_they_were(self, one: int, other: int) -> bool:
        """Tell whether neither does other than in the simulation; those may pass closely."""
        return all(n not in self.pair and n not in self.stops for n in (one, other))

    def _stop_one(self, fixed: int, other: int, step: int) -> int:
        """Stop one of two before they meet; return which."""
        order = [n for n in (other, fixed) if n not in self.pair]
        # The one that has its way blocked is in front of nothing: it is tried first.
        order.sort(key=lambda n: not self._runs_into(n, other if n == fixed else fixed, step))
        for number in order:
            obstacle = other if number == fixed else fixed
            if self._stop(number, obstacle, step):
                return number
        raise CannotStopError

    def _runs_into(self, number: int, obstacle: int, step: int) -> bool:
        track, row = self.tracks[number], self._row(number, step)
        middle = self.boxes[obstacle][step].mean(0)
        away = middle - np.array([track.x[row], track.y[row]])
        heading = track.heading[row]
        return bool(away @ np.array([np.cos(heading), np.sin(heading)]) > 0)

    def _row(self, number: int, step: int) -> int:
        track = self.tracks[number]
        return int(np.clip(self.contact + step - track.first, 0, len(track.x) - 1))

    def _stop(self, number: int, obstacle: int, step: int) -> bool:
        track = self.as_was[number]
        rail = self.rails.setdefault(number, Rail(track))
        pause = round(_NOTICES_S * STEP_HZ) + number % 4
        begin = max(self.contact + pause - track.first, 0)
        if begin >= len(track.x):
            return False
        row = self._row(number, step)
        start = rail.driven[min(max(self.contact - track.first, 0), len(track.x) - 1)]
        end = min(rail.driven[row], self.stops.get(number, np.inf)) + 0.01
        ways = np.arange(start, end + 0.1, 0.1)
        later = self.boxes[obstacle][max(step - 1, 0) :]
        later = later[:: max(len(later) // 12, 1)]
        longer = 0.5 if track.kind == "pedestrian" else _KEEPS_AWAY_M
        # Where little room is left, little distance has to do.
        for gap in (longer, longer / 2, _TOO_NEAR_M + 0.1):
            deep = depth(rail.boxes(ways, gap)[:, None], later[None]).max(1)
            blocked = np.flatnonzero(deep > -0.1)
            if not len(blocked):
                way = float(ways[-1])
            elif blocked[0] == 0:
                continue
            else:
                way = float(ways[blocked[0] - 1])
            hardest = _HARDEST_MPS2.get(track.kind, _HARDEST_DRIVER_MPS2)
            way = min(way, self.stops.get(number, np.inf))
            changed = stop_by(track, rail, min(begin, len(track.x) - 1), way, hardest)
            if changed is not None:
                self.stops[number] = way - (1e-3 if self.stops.get(number) == way else 0)
                self.tracks[number] = changed
                self.boxes[number] = self._boxes(number)
                return True
        return False

    def _boxes(self, number: int) -> np.ndarray:
        """Return corners [steps, 4, 2] from the contact on; far away where it is absent."""
        track = self.tracks[number]
        boxes = np.full((self.steps, 4, 2), 1e4 + 50.0 * number)
        rows = np.arange(self.contact, self.contact + self.steps) - track.first
        there = (rows >= 0) & (rows < len(track.x))
        rows = rows[there]
        size = np.array([track.length, track.width])
        boxes[there] = corners(track.x[rows], track.y[rows], track.heading[rows], size)
        return boxes

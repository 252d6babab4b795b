"""What holds for every recording in the package, at every sixteenth of a second."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from worldtune.data.scenes.library import layouts, recordings
from worldtune.data.scenes.outlines import outside_by
from worldtune.data.scenes.playback import motion_at
from worldtune.data.scenes.recording import REGION_M, Recording

HZ = 16
WALKS = "pedestrian"


@dataclass(frozen=True)
class Played:
    """A recording with everyone's places: arrays [bodies, moments]."""

    recording: Recording
    times: np.ndarray
    present: np.ndarray
    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray

    @property
    def accelerations(self) -> np.ndarray:
        there = self.present[:, 2:] & self.present[:, :-2]
        size = np.hypot(np.diff(self.x, 2, axis=1), np.diff(self.y, 2, axis=1)) * HZ**2
        return np.where(there, size, 0)

    def corners(self) -> np.ndarray:
        """[bodies, moments, 4, 2]"""
        signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
        sizes = np.array([(b.length, b.width) for b in self.recording.bodies])
        local = sizes[:, None, None] * signs
        cos, sin = np.cos(self.heading)[..., None], np.sin(self.heading)[..., None]
        x = self.x[..., None] + cos * local[..., 0] - sin * local[..., 1]
        y = self.y[..., None] + sin * local[..., 0] + cos * local[..., 1]
        return np.stack([x, y], -1)


def play(recording: Recording) -> Played:
    times = np.arange(round(recording.duration_s * HZ) + 1) / HZ
    seen = [motion_at(recording, number, times) for number in range(len(recording.bodies))]
    stacked = [
        np.stack([getattr(m, key) for m in seen]) for key in ("present", "x", "y", "heading")
    ]
    return Played(recording, times, *stacked)


@pytest.fixture(scope="module")
def everything() -> tuple[Played, ...]:
    return tuple(play(r) for kind in ("normal", "accident") for r in recordings(kind))


def overlaps(played: Played) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield pairs, the moments when they may overlap, and how deep they are in each other then.

    Two convex shapes overlap unless a line along one of their sides keeps them apart.
    """
    sizes = np.array([(b.length, b.width) for b in played.recording.bodies])
    reach = np.hypot(*sizes.T) / 2
    boxes = played.corners()
    for one in range(len(sizes)):
        gap = np.hypot(played.x[one] - played.x[one + 1 :], played.y[one] - played.y[one + 1 :])
        near = (gap < reach[one] + reach[one + 1 :, None]) & played.present[one + 1 :]
        others, moments = np.nonzero(near & played.present[one])
        if not len(others):
            continue
        others += one + 1
        least = np.full(len(others), np.inf)
        for turn in (played.heading[one, moments], played.heading[others, moments]):
            for axis in (
                np.stack([np.cos(turn), np.sin(turn)], -1),
                np.stack([-np.sin(turn), np.cos(turn)], -1),
            ):
                mine = np.einsum("nkd,nd->nk", boxes[one, moments], axis)
                theirs = np.einsum("nkd,nd->nk", boxes[others, moments], axis)
                room = np.minimum(mine.max(1), theirs.max(1)) - np.maximum(
                    mine.min(1), theirs.min(1)
                )
                least = np.minimum(least, room)
        for other in np.unique(others):
            rows = others == other
            yield one, int(other), moments[rows], least[rows]


def test_no_two_bodies_overlap_but_those_that_collide_and_they_never_sink_in(
    everything: tuple[Played, ...],
):
    """Five centimetres are what rounding and the way between two samples can make."""
    for played in everything:
        contact = played.recording.contact
        for one, other, moments, deep in overlaps(played):
            pair = contact is not None and {one, other} == set(contact.bodies)
            assert deep.max() < (0.09 if pair else 0.05), (played.recording.name, one, other)
            if pair and contact:
                before = played.times[moments] < contact.time_s - 1e-6
                assert deep[before].max(initial=0) < 0.05, played.recording.name


def test_those_who_collide_touch_at_the_contact_and_where_it_says(
    everything: tuple[Played, ...],
):
    for played in everything:
        contact = played.recording.contact
        if contact is None:
            continue
        at = round(contact.time_s * HZ)
        assert played.times[at] == contact.time_s
        boxes = played.corners()[list(contact.bodies), at]
        for box in boxes:
            away = outside_by(np.array([contact.place]), (box,))
            assert away[0] < 0.15, played.recording.name
        assert contact.at_fault in contact.bodies


def test_whoever_strikes_does_it_with_its_front_or_is_at_fault(everything: tuple[Played, ...]):
    fronts = 0
    accidents = [p for p in everything if p.recording.contact]
    for played in accidents:
        contact = played.recording.contact
        assert contact is not None
        striker, at = contact.bodies[0], round(contact.time_s * HZ)
        away = np.array(contact.place) - [played.x[striker, at], played.y[striker, at]]
        turn = played.heading[striker, at]
        ahead = away @ [np.cos(turn), np.sin(turn)]
        front = ahead > played.recording.bodies[striker].length / 2 - 0.6
        fronts += front
        assert front or striker == contact.at_fault, played.recording.name
    assert fronts > 0.9 * len(accidents)


def test_the_largest_acceleration_tells_accidents_from_normal_traffic(
    everything: tuple[Played, ...],
):
    for played in everything:
        largest = played.accelerations.max()
        if played.recording.contact is None:
            assert largest <= 14, played.recording.name
        else:
            assert largest >= 20, played.recording.name


def test_an_accident_shows_however_frames_fall_beside_it():
    for recording in recordings("accident"):
        contact = recording.contact
        assert contact is not None
        for offset in (0.02, 0.031, 0.05):
            times = contact.time_s + np.arange(-4, 5) / HZ + offset
            pair = [motion_at(recording, number, times) for number in contact.bodies]
            sizes = [np.hypot(np.diff(m.x, 2), np.diff(m.y, 2)).max() * HZ**2 for m in pair]
            assert max(sizes) >= 20, recording.name


def test_nobody_jumps(everything: tuple[Played, ...]):
    """Up to the contact nobody does what a vehicle or a person cannot; after it no speed grows."""
    for played in everything:
        contact, recording = played.recording.contact, played.recording
        both = played.present[:, 1:] & played.present[:, :-1]
        speed = np.where(both, np.hypot(np.diff(played.x), np.diff(played.y)) * HZ, 0)
        turn = np.where(both, np.abs(np.diff(played.heading)) * HZ, 0)
        assert speed.max() < 22, recording.name
        for number, body in enumerate(recording.bodies):
            hit = contact is not None and number in contact.bodies
            upto = round(contact.time_s * HZ) if contact and hit else len(played.times)
            assert played.accelerations[number, : upto - 1].max(initial=0) <= 14
            assert turn[number, :upto].max(initial=0) < (5.0 if body.kind == WALKS else 1.8)
            if body.kind == WALKS:
                assert speed[number].max() < 2.6, recording.name
            if hit:
                assert turn[number].max() < 9, recording.name
                assert speed[number, -1] < 1.0, recording.name


def test_nobody_appears_or_vanishes_within_the_region(everything: tuple[Played, ...]):
    for played in everything:
        last = len(played.recording.signals) - 1
        for body in played.recording.bodies:
            comes, goes = body.first > 0, body.first + len(body.track) - 1 < last
            for end in ([body.track[0]] if comes else []) + ([body.track[-1]] if goes else []):
                assert np.hypot(end[0], end[1]) >= REGION_M, played.recording.name


def test_vehicles_keep_to_the_roads(everything: tuple[Played, ...]):
    """A wheel may touch the kerb; who collided may slide two metres onto the verge."""
    for played in everything:
        contact, recording = played.recording.contact, played.recording
        kept = [n for n, b in enumerate(recording.bodies) if b.kind != WALKS]
        moments = slice(None, None, 8)
        points = played.corners()[kept, moments]
        away = outside_by(points.reshape(-1, 2), recording.layout.roads)
        away = away.reshape(points.shape[:-1]).max(-1)
        away[~played.present[kept, moments]] = 0
        allowed = np.full(away.shape, 0.7)
        if contact is not None:
            rows = [kept.index(number) for number in contact.bodies]
            allowed[rows] = np.where(played.times[moments] < contact.time_s, 0.7, 2.0)
        assert (away <= allowed).all(), recording.name


def test_windows_of_93_frames_can_be_chosen_freely():
    for recording in recordings("normal"):
        assert recording.duration_s >= 10
    for recording in recordings("accident"):
        assert recording.contact is not None
        assert recording.contact.time_s >= 4
        assert recording.duration_s - recording.contact.time_s >= 4


def test_both_kinds_are_the_same_traffic():
    """Every accident is a normal recording in which one driver was replaced, none added."""
    normal = {r.name.removesuffix("_normal"): r for r in recordings("normal")}
    accident = {r.name.removesuffix("_accident"): r for r in recordings("accident")}

    assert normal.keys() == accident.keys()
    counts: list[tuple[int, int]] = []
    kinds: list[Counter[str]] = [Counter(), Counter()]
    for name, good in normal.items():
        bad = accident[name]
        assert good.layout.name == bad.layout.name
        np.testing.assert_array_equal(good.signals, bad.signals)
        counts.append((len(good.bodies), len(bad.bodies)))
        for told, recording in zip(kinds, (good, bad), strict=True):
            told.update(body.kind for body in recording.bodies)
    fewer = np.array(counts)
    assert np.abs(fewer[:, 0] - fewer[:, 1]).max() <= 3
    assert abs(fewer[:, 0].mean() - fewer[:, 1].mean()) < 0.5
    for kind, count in kinds[0].items():
        assert abs(count - kinds[1][kind]) <= max(0.02 * count, 4), kind


def test_all_kinds_of_bodies_take_part_and_several_kinds_collide():
    seen = Counter(body.kind for r in recordings("normal") for body in r.bodies)
    hit = Counter(
        r.bodies[n].kind for r in recordings("accident") if r.contact for n in r.contact.bodies
    )

    assert len(seen) == 9
    assert min(seen.values()) >= 40
    assert len(hit) >= 5
    assert not hit.keys() & {"pedestrian", "bicycle", "motorcycle"}


def test_signals_go_green_amber_red_and_work_in_most_recordings():
    for recording in recordings("normal"):
        codes = recording.signals.astype(int)
        for before, after in zip(codes[:-1].ravel(), codes[1:].ravel(), strict=True):
            assert (before, after) in {(0, 0), (1, 1), (2, 2), (0, 2), (2, 1), (1, 0)}
        assert recording.signals.shape[1] == len(recording.layout.signals)


def test_a_red_light_that_caused_an_accident_is_red_when_it_is_passed(
    everything: tuple[Played, ...],
):
    for played in everything:
        contact, layout = played.recording.contact, played.recording.layout
        if contact is None or contact.cause != "red_light":
            continue
        number, upto = contact.at_fault, round(contact.time_s * HZ) + 1
        body = played.recording.bodies[number]
        turn = played.heading[number, :upto]
        ways = np.stack([np.cos(turn), np.sin(turn)], -1)
        front = np.stack([played.x[number, :upto], played.y[number, :upto]], -1)
        front = front + ways * body.length / 2
        passed = False
        for signal in layout.signals:
            way = np.array([np.cos(signal.heading), np.sin(signal.heading)])
            offset = front - np.array(signal.position)
            left = offset @ np.array([-way[1], way[0]])
            beyond = (offset @ way > 0) & (ways @ way > 0.8) & (left > 0) & (left < 8)
            crossed = np.flatnonzero(beyond[1:] & (offset @ way <= 0)[:-1])
            if len(crossed):
                row = int(played.times[crossed[0]] * 8)
                assert played.recording.signals[row, signal.group] == 0, played.recording.name
                passed = True
        assert passed, played.recording.name


def test_every_layout_has_roads_walks_and_markings_that_lie_on_them():
    assert len(layouts()) >= 4
    for layout in layouts():
        assert layout.words
        assert layout.walkways
        assert layout.crossings
        for marking in layout.markings:
            assert outside_by(marking.line, layout.roads).max() < 0.3, layout.name
        for lane in layout.lanes:
            if lane.kind == "drive":
                assert outside_by(lane.centre, layout.roads).max() < 0.3, layout.name
        groups = {signal.group for signal in layout.signals}
        assert groups == set(range(len(groups)))

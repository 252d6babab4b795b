"""Recorded traffic: a road layout, and what moved on it.

Metres, seconds and radians; x points east, y north, z up; headings turn counter-clockwise from
east. A body's position is the centre of its outline on the ground.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

BodyKind = Literal[
    "car", "suv", "van", "pickup", "bus", "truck", "motorcycle", "bicycle", "pedestrian"
]
MarkingKind = Literal["edge", "divider", "centre", "stop"]
Cause = Literal["red_light", "rear_end", "turning", "lane_change"]
CAUSES: tuple[Cause, ...] = ("red_light", "rear_end", "turning", "lane_change")
SceneKind = Literal["normal", "accident"]
SignalState = Literal["red", "amber", "green"]
SIGNAL_STATES: tuple[SignalState, ...] = ("red", "amber", "green")  # the codes 0, 1, 2

# Bits of a body's lights.
BRAKE, LEFT, RIGHT = 1, 2, 4

RATE_HZ = 8
# Bodies come and go at least this far from the layout's centre, along the roads.
REGION_M = 70.0


@dataclass(frozen=True)
class Lane:
    """One lane, in the direction of travel."""

    centre: np.ndarray  # float32 [n, 2]
    width: float
    kind: Literal["drive", "walk"]


@dataclass(frozen=True)
class Marking:
    """A painted line; dividers are dashed."""

    line: np.ndarray  # float32 [n, 2]
    kind: MarkingKind


@dataclass(frozen=True)
class Crossing:
    """A zebra crossing: its middle line from kerb to kerb, and its width."""

    line: np.ndarray  # float32 [2, 2]
    width: float


@dataclass(frozen=True)
class Signal:
    """A traffic light beside a stop line; all of one group show the same."""

    position: tuple[float, float]  # of the pole
    heading: float  # of the traffic that it stops
    group: int


@dataclass(frozen=True)
class Layout:
    """A place: everything that does not move."""

    name: str
    words: str  # "a four-way junction with two lanes each way"
    centre: tuple[float, float]  # what a camera looks at
    roads: tuple[np.ndarray, ...]  # polygons, float32 [n, 2]: all that vehicles drive on
    walkways: tuple[np.ndarray, ...]  # polygons
    lanes: tuple[Lane, ...]
    markings: tuple[Marking, ...]
    crossings: tuple[Crossing, ...]
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class Body:
    """A vehicle or a person, from its first sample to its last."""

    kind: BodyKind
    length: float
    width: float
    height: float
    first: int  # number of the recording's sample that track[0] is
    track: np.ndarray  # float32 [n, 3]: x, y, heading (continuous: no jumps of 2 pi)
    lights: np.ndarray  # uint8 [n]


@dataclass(frozen=True)
class Contact:
    """Where and when two bodies first touch, and what it did to them."""

    time_s: float  # falls on a sample
    place: tuple[float, float]
    bodies: tuple[int, int]  # places in Recording.bodies: whose front it is, who is hit
    at_fault: int  # the one of the two whose driver did wrong
    cause: Cause
    speed_change_mps: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """A body at one moment."""

    body: int  # its place in Recording.bodies
    x: float
    y: float
    heading: float
    speed_mps: float
    lights: int


@dataclass(frozen=True)
class Recording:
    """Some seconds of one place, sampled at RATE_HZ."""

    name: str
    kind: SceneKind
    layout: Layout
    bodies: tuple[Body, ...]
    signals: np.ndarray  # uint8 [samples, groups]: codes of SIGNAL_STATES
    contact: Contact | None

    @cached_property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return (len(self.signals) - 1) / RATE_HZ

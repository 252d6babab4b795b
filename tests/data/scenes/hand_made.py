"""Small recordings made by hand, for tests."""

import numpy as np

from worldtune.data.scenes.recording import (
    RATE_HZ,
    Body,
    BodyKind,
    Contact,
    Crossing,
    Lane,
    Layout,
    Marking,
    Recording,
    Signal,
)

SIZES = {"car": (4.4, 1.8, 1.5), "bus": (10.8, 2.5, 3.1), "pedestrian": (0.5, 0.5, 1.7)}


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float32)


def layout() -> Layout:
    """A straight road along x, with a pavement, a crossing and a traffic light."""
    return Layout(
        name="street",
        words="a straight street",
        centre=(0.0, 0.0),
        roads=(line((-100, -4), (100, -4), (100, 4), (-100, 4)),),
        walkways=(line((-100, 4), (100, 4), (100, 6.5), (-100, 6.5)),),
        lanes=(
            Lane(line((-100, -2), (100, -2)), 3.5, "drive"),
            Lane(line((-100, 5.2), (100, 5.2)), 2.5, "walk"),
        ),
        markings=(Marking(line((-100, 0), (100, 0)), "centre"),),
        crossings=(Crossing(line((10, -4), (10, 4)), 3.0),),
        signals=(Signal((8.0, -4.5), 0.0, 0),),
    )


def body(kind: BodyKind, track: np.ndarray, first: int = 0, lights: int = 0) -> Body:
    length, width, height = SIZES[kind]
    codes = np.full(len(track), lights, np.uint8)
    return Body(kind, length, width, height, first, track.astype(np.float32), codes)


def drive(start: float, speed: float, samples: int, y: float = -2.0) -> np.ndarray:
    """A track along x with one speed."""
    x = start + speed * np.arange(samples) / RATE_HZ
    return np.column_stack([x, np.full(samples, y), np.zeros(samples)])


def recording(*bodies: Body, samples: int = 81, contact: Contact | None = None) -> Recording:
    signals = np.zeros((samples, 1), np.uint8)
    signals[samples // 2 :] = 2
    kind = "normal" if contact is None else "accident"
    return Recording(f"street_000_{kind}", kind, layout(), bodies, signals, contact)


def rear_end() -> Recording:
    """A car drives into one that stands, at 2.5 s; both go on together, slower."""
    before, after = drive(-35.0, 12.0, 21), drive(-5.0, 5.0, 61)
    struck = np.vstack([drive(-0.6, 0.0, 20), drive(-0.6, 5.0, 61)])
    contact = Contact(2.5, (-2.8, -2.0), (0, 1), 0, "rear_end", (7.0, 5.0))
    return recording(
        body("car", np.vstack([before[:-1], after])), body("car", struck), contact=contact
    )

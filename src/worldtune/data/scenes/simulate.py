"""Traffic of a road network, by SUMO: where every vehicle and person is, at all times."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as Xml

import numpy as np

from worldtune.data.scenes.network import INSTALL_SUMO, Network
from worldtune.data.scenes.network_plans import ARM_M
from worldtune.data.scenes.recording import LEFT, REGION_M, RIGHT, BodyKind
from worldtune.errors import DataError

STEP_HZ = 16
# Long enough for the first vehicles and people to have crossed the region.
WARM_UP_S = 110
_SMOOTHED_S = 0.22
_WALK_SMOOTHED_S = 0.5  # SUMO's people step aside at once
_PERSON_M = 0.5


@dataclass(frozen=True)
class Model:
    """A kind of body: its size, how it drives, its share of the traffic."""

    length: float
    width: float
    height: float
    share: float
    sumo_class: str
    accel: float = 2.4
    max_speed: float = 20.0
    mass_kg: float = 1500.0
    aside_m: float = 0.0  # how far to the right of its lane's middle it keeps


MODELS: dict[BodyKind, Model] = {
    "car": Model(4.4, 1.8, 1.48, 0.42, "passenger", 2.6, mass_kg=1400.0),
    "suv": Model(4.7, 1.92, 1.74, 0.17, "passenger", 2.6, mass_kg=1900.0),
    "van": Model(5.4, 2.0, 2.3, 0.09, "delivery", 2.1, mass_kg=2300.0),
    "pickup": Model(5.4, 1.95, 1.85, 0.09, "passenger", 2.3, mass_kg=2200.0),
    "bus": Model(10.8, 2.5, 3.1, 0.04, "bus", 1.4, mass_kg=11000.0),
    "truck": Model(7.6, 2.4, 3.1, 0.06, "truck", 1.4, mass_kg=8000.0),
    "motorcycle": Model(2.15, 0.8, 1.6, 0.07, "motorcycle", 3.0, mass_kg=280.0, aside_m=0.4),
    "bicycle": Model(1.8, 0.6, 1.75, 0.06, "bicycle", 1.2, 5.5, mass_kg=90.0, aside_m=0.9),
    "pedestrian": Model(_PERSON_M, _PERSON_M, 1.74, 0.0, "pedestrian", 1.5, 1.4, mass_kg=75.0),
}
_SIZES = (0.95, 1.0, 1.05)


@dataclass(frozen=True)
class Track:
    """What one body did, sampled at STEP_HZ."""

    kind: BodyKind
    length: float
    width: float
    height: float
    first: int  # the traffic's step that row 0 is of
    x: np.ndarray  # float64 [n], of the middle
    y: np.ndarray
    heading: np.ndarray  # continuous
    blinkers: np.ndarray  # uint8 [n]

    @property
    def last(self) -> int:
        """The traffic's step that the last row is of."""
        return self.first + len(self.x) - 1


@dataclass(frozen=True)
class Traffic:
    """All that happened on a network in some minutes."""

    network: Network
    steps: int
    tracks: tuple[Track, ...]
    signals: np.ndarray  # uint8 [steps, groups]: codes of SIGNAL_STATES


def simulate(network: Network, seconds: float, seed: int, demand_per_min: float) -> Traffic:
    """Run the traffic of a network for some seconds after warming up.

    demand_per_min counts vehicles on all approaches together. Raises DataError where libsumo is
    not installed.
    """
    sumo = _libsumo()
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    routes = network.file.with_name(f"{network.layout.name}.rou.xml")
    _write_demand(network, WARM_UP_S + seconds, rng, demand_per_min, routes)
    words = ["sumo", "-n", str(network.file), "-r", str(routes), "--seed", str(seed)]
    words += ["--step-length", f"{1 / STEP_HZ}", "--lanechange.duration", "2.5"]
    words += ["--collision.action", "none", "--time-to-teleport", "-1", "--no-warnings"]
    words += ["--no-step-log", "--xml-validation", "never", "--duration-log.disable"]
    sumo.start(words)
    try:
        return _watch(sumo, network, round(seconds * STEP_HZ))
    finally:
        sumo.close()


def _libsumo() -> ModuleType:
    try:
        return import_module("libsumo")
    except ImportError as error:
        raise DataError(
            f"libsumo, the traffic simulator, is not installed ({error}); install it: "
            f"{INSTALL_SUMO}. Recorded traffic comes with the package and needs no simulator"
        ) from error


def _write_demand(
    network: Network, seconds: float, rng: np.random.Generator, per_minute: float, path: Path
) -> None:
    root = Xml.Element("routes")
    for kind, model in MODELS.items():
        for number, size in enumerate(_SIZES):
            _write_type(root, f"{kind}_{number}", model, size)
    demand: list[tuple[float, Xml.Element]] = []
    kinds = list(MODELS)
    shares = np.array([model.share for model in MODELS.values()])
    # Main roads carry more than side roads do.
    weights = np.array(network.source_lanes, dtype=float) ** 1.3
    for number in range(rng.poisson(per_minute * seconds / 60)):
        start = network.sources[rng.choice(len(weights), p=weights / weights.sum())]
        back = "-".join(reversed(start.split("-")))
        ends = [sink for sink in network.sinks if sink != back]
        time = rng.uniform(0, seconds)
        trip = Xml.Element("trip", {"id": f"v{number}", "depart": f"{time:.2f}"})
        trip.set(
            "type", f"{kinds[rng.choice(len(kinds), p=shares / shares.sum())]}_{rng.integers(3)}"
        )
        trip.attrib |= {"from": start, "to": ends[rng.integers(len(ends))]}
        trip.attrib |= {"departLane": "best", "departSpeed": "max"}
        demand.append((time, trip))
    paths = network.sources + network.sinks
    for number in range(rng.poisson(0.16 * seconds)):
        start, end = (paths[place] for place in rng.choice(len(paths), 2, replace=False))
        time = rng.uniform(0, seconds)
        person = Xml.Element("person", {"id": f"p{number}", "depart": f"{time:.2f}"})
        # Far out on their road, wherever its edge starts.
        reach = rng.uniform(1, ARM_M - REGION_M - 20)
        person.set("departPos", f"{reach:.1f}" if start in network.sources else f"{-reach:.1f}")
        person.set("type", f"pedestrian_{rng.integers(3)}")
        Xml.SubElement(person, "walk", {"from": start, "to": end})
        demand.append((time, person))
    # SUMO drops entries that do not stand in the order of their departure, without a word.
    root.extend(element for _, element in sorted(demand, key=lambda pair: pair[0]))
    Xml.ElementTree(root).write(path)


def _write_type(root: Xml.Element, name: str, model: Model, size: float) -> None:
    written = {
        "id": name,
        "vClass": model.sumo_class,
        "length": f"{model.length * size:.2f}",
        "width": f"{model.width * size:.2f}",
        "height": f"{model.height * size:.2f}",
        "maxSpeed": f"{model.max_speed * size:.2f}",
        "accel": f"{model.accel}",
        "decel": "4",
        "minGap": "2.2",
        "speedFactor": "normc(1.0,0.08,0.8,1.15)",
    }
    if model.sumo_class != "pedestrian":
        written |= {"carFollowModel": "IDM", "sigma": "0"}
    Xml.SubElement(root, "vType", written)


def _watch(sumo: ModuleType, network: Network, steps: int) -> Traffic:
    """Step through the simulation, and note where everything is."""
    for _ in range(WARM_UP_S * STEP_HZ):
        sumo.simulationStep()
    seen: dict[str, list[tuple[float, ...]]] = {}
    kinds: dict[str, str] = {}
    firsts: dict[str, int] = {}
    signals = np.zeros((steps, len(network.signal_links)), dtype=np.uint8)
    for step in range(steps):
        sumo.simulationStep()
        for group, (light, place) in enumerate(network.signal_links):
            letter = sumo.trafficlight.getRedYellowGreenState(light)[place]
            signals[step, group] = {"r": 0, "u": 0, "y": 1}.get(letter, 2)
        for room in (sumo.vehicle, sumo.person):
            for name in room.getIDList():
                if name not in kinds:
                    kinds[name], firsts[name], seen[name] = room.getTypeID(name), step, []
                blinkers = room.getSignals(name) if room is sumo.vehicle else 0
                seen[name].append((*room.getPosition(name), room.getAngle(name), blinkers))
    tracks = [_track(kinds[name], firsts[name], np.array(rows)) for name, rows in seen.items()]
    return Traffic(network, steps, tuple(tracks), signals)


def _track(type_name: str, first: int, rows: np.ndarray) -> Track:
    """Make a smooth track of rows of front x, front y, angle in degrees and signals."""
    word, number = type_name.split("_")
    kind: BodyKind = next(kind for kind in MODELS if kind == word)
    model, size = MODELS[kind], _SIZES[int(number)]
    front = rows[:, :2]
    heading = np.unwrap(np.radians(90.0 - rows[:, 2]))
    signals = rows[:, 3].astype(int)
    blinkers = (signals & 1) * RIGHT + (signals >> 1 & 1) * LEFT
    if kind == "pedestrian":
        middle = smooth(front, _WALK_SMOOTHED_S)
        heading = _walked(middle, smooth(heading[:, None], _WALK_SMOOTHED_S)[:, 0])
        length = width = _PERSON_M
    else:
        length, width = model.length * size, model.width * size
        forward = np.stack([np.cos(heading), np.sin(heading)], 1)
        # Both ends run on the lanes; smoothing them keeps a body's middle between them.
        head, tail = smooth(front), smooth(front - forward * length)
        axle = head - tail
        heading = np.unwrap(np.arctan2(axle[:, 1], axle[:, 0]))
        right = np.stack([np.sin(heading), -np.cos(heading)], 1)
        middle = (head + tail) / 2 + right * model.aside_m
    return Track(
        kind,
        length,
        width,
        model.height * size,
        first,
        middle[:, 0],
        middle[:, 1],
        heading,
        blinkers.astype(np.uint8),
    )


def smooth(rows: np.ndarray, over_s: float = _SMOOTHED_S) -> np.ndarray:
    """Return rows [n, k] at STEP_HZ, averaged over time with a bell of this deviation."""
    reach = round(3 * over_s * STEP_HZ)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (over_s * STEP_HZ)) ** 2)
    weights /= weights.sum()
    # Both ends go on straight, so that smoothing does not hold them back.
    steps = np.arange(1, reach + 1)[:, None]
    ends = (rows[:1], rows[-1:])
    speeds = (rows[1:2] - rows[:1], rows[-1:] - rows[-2:-1]) if len(rows) > 1 else (0.0, 0.0)
    padded = np.vstack([ends[0] - steps[::-1] * speeds[0], rows, ends[1] + steps * speeds[1]])
    return np.stack([np.convolve(column, weights, "valid") for column in padded.T], 1)


def _walked(middle: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """Return where a person faces: the way they walk, held where they stand."""
    velocity = np.gradient(middle, axis=0) * STEP_HZ if len(middle) > 1 else middle * 0
    speed = np.linalg.norm(velocity, axis=1)
    way = np.arctan2(velocity[:, 1], velocity[:, 0])
    walks = speed > 0.4
    if not walks.any():
        return heading
    known = np.flatnonzero(walks)
    nearest = known[np.clip(np.searchsorted(known, np.arange(len(way))), 0, len(known) - 1)]
    return smooth(np.unwrap(way[nearest])[:, None], _WALK_SMOOTHED_S)[:, 0]

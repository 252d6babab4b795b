"""The layouts as they are written down: nodes and roads."""

from dataclasses import dataclass
from math import cos, pi, sin

ARM_M = 190.0  # of every arm, so that traffic comes from beyond what is recorded
LANE_M = 3.4
RING_M, RING_LANE_M = 25.0, 5.0


@dataclass(frozen=True)
class Road:
    """A road of two directions between two nodes; a count of 0 leaves a direction out."""

    start: str
    end: str
    lanes: tuple[int, int]  # from start to end, and back
    speed_mps: float = 13.9
    priority: int = 2
    bend: tuple[tuple[float, float], ...] = ()  # points on the way, from start to end
    lane_m: float = LANE_M


@dataclass(frozen=True)
class Plan:
    """A layout as it is written down."""

    name: str
    words: str
    nodes: dict[str, tuple[float, float, str]]  # x, y, SUMO's type of node
    roads: tuple[Road, ...]
    ring: tuple[str, ...] = ()  # nodes of a roundabout, in order
    radius_m: float = 9.0  # of the kerbs at corners


def _arms(**ends: tuple[float, float]) -> dict[str, tuple[float, float, str]]:
    return {name: (x, y, "dead_end") for name, (x, y) in ends.items()}


def _roundabout() -> Plan:
    ring = ("ring_e", "ring_n", "ring_w", "ring_s")
    nodes = _arms(east=(ARM_M, 0.0), north=(0.0, ARM_M), west=(-ARM_M, 0.0), south=(0.0, -ARM_M))
    roads = []
    for number, name in enumerate(ring):
        angle = number * pi / 2
        nodes[name] = (RING_M * cos(angle), RING_M * sin(angle), "priority")
        steps = [angle + pi / 2 * k / 10 for k in range(1, 10)]
        bend = tuple((RING_M * cos(a), RING_M * sin(a)) for a in steps)
        roads.append(Road(name, ring[(number + 1) % 4], (1, 0), 8.5, 4, bend, RING_LANE_M))
    arms = ("east", "north", "west", "south")
    roads += [Road(arm, node, (1, 1), 12.5, 1) for arm, node in zip(arms, ring, strict=True)]
    return Plan("roundabout", "a roundabout with four arms", nodes, tuple(roads), ring, 6.0)


def plans() -> tuple[Plan, ...]:
    """Return the descriptions of all layouts."""
    four = _arms(east=(ARM_M, 0.0), north=(0.0, ARM_M), west=(-ARM_M, 0.0), south=(0.0, -ARM_M))
    signals = (0.0, 0.0, "traffic_light")
    return (
        Plan(
            "four_way",
            "a four-way junction with traffic lights and two lanes each way",
            {"middle": signals, **four},
            tuple(Road(arm, "middle", (2, 2)) for arm in four),
        ),
        Plan(
            "t_junction",
            "a T junction with traffic lights",
            {
                "middle": signals,
                **_arms(east=(ARM_M, 0.0), west=(-ARM_M, 0.0), south=(-30.0, -ARM_M)),
            },
            (
                Road("east", "middle", (2, 2)),
                Road("west", "middle", (2, 2)),
                Road("south", "middle", (1, 1), bend=((0.0, -70.0),)),
            ),
        ),
        Plan(
            "avenue",
            "a wide avenue with three lanes each way and two side roads",
            {
                "left": (-75.0, 0.0, "priority"),
                "right": (0.0, 0.0, "priority"),
                **_arms(
                    east=(ARM_M, 0.0), west=(-ARM_M, 0.0), north=(0.0, ARM_M), south=(-75.0, -ARM_M)
                ),
            },
            (
                Road("west", "left", (3, 3), 15.3, 5),
                Road("left", "right", (3, 3), 15.3, 5),
                Road("right", "east", (3, 3), 15.3, 5),
                Road("north", "right", (1, 1), 11.0, 1),
                Road("south", "left", (1, 1), 11.0, 1),
            ),
        ),
        Plan(
            "crossroads",
            "a crossroads without traffic lights, where a side street meets a main street",
            {
                "middle": (0.0, 0.0, "priority"),
                **_arms(
                    east=(ARM_M, 25.0),
                    north=(0.0, ARM_M),
                    west=(-ARM_M, -25.0),
                    south=(20.0, -ARM_M),
                ),
            },
            (
                Road("east", "middle", (1, 1), 13.0, 5, bend=((60.0, 0.0),)),
                Road("west", "middle", (1, 1), 13.0, 5, bend=((-60.0, 0.0),)),
                Road("north", "middle", (1, 1), 11.0, 1),
                Road("south", "middle", (1, 1), 11.0, 1, bend=((0.0, -60.0),)),
            ),
            radius_m=7.0,
        ),
        _roundabout(),
    )

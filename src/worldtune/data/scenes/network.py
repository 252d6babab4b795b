"""Road networks of the layouts: plain descriptions in, a SUMO network and a Layout out."""

import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from math import pi
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from worldtune.data.scenes.network_plans import RING_LANE_M, RING_M, Plan, Road
from worldtune.data.scenes.outlines import offset_line, strip
from worldtune.data.scenes.recording import Crossing, Lane, Layout, Marking, Signal
from worldtune.errors import DataError

INSTALL_SUMO = 'pip install "worldtune[sumo]"'
_SIDEWALK_M = 2.6
# Beside the kerb, on the pavement.
_POLE_FROM_LANE_M = 0.7
_STOP_LINE_BACK_M = 0.4


@dataclass(frozen=True)
class StopLine:
    """Where an approach ends: what a driver may not pass on red."""

    point: tuple[float, float]
    heading: float
    half_width: float
    group: int  # of the signal; -1 where there is none


@dataclass(frozen=True)
class Network:
    """A layout with what the simulator needs to run it."""

    layout: Layout
    file: Path
    sources: tuple[str, ...]  # edges on which vehicles start, by name
    source_lanes: tuple[int, ...]
    sinks: tuple[str, ...]
    stop_lines: tuple[StopLine, ...]
    signal_links: tuple[tuple[str, int], ...]  # of each group: traffic light, place of its letter


def build_network(plan: Plan, folder: Path) -> Network:
    """Make a plan's SUMO network in a folder, and read it back.

    Raises DataError where netconvert is not installed.
    """
    nodes, edges = Xml.Element("nodes"), Xml.Element("edges")
    for name, (x, y, kind) in plan.nodes.items():
        written = {"id": name, "x": f"{x:.2f}", "y": f"{y:.2f}", "type": kind}
        Xml.SubElement(nodes, "node", written | {"radius": f"{plan.radius_m}"})
    for road in plan.roads:
        for back, lanes in enumerate(road.lanes):
            if lanes:
                _write_edge(edges, plan, road, bool(back))
    if plan.ring:
        pairs = zip(plan.ring, plan.ring[1:] + plan.ring[:1], strict=True)
        names = " ".join(f"{a}-{b}" for a, b in pairs)
        Xml.SubElement(edges, "roundabout", {"nodes": " ".join(plan.ring), "edges": names})
    paths = [folder / f"{plan.name}.{kind}.xml" for kind in ("nod", "edg", "net")]
    for root, path in zip((nodes, edges), paths, strict=False):
        Xml.ElementTree(root).write(path)
    _convert(*paths)
    return read_network(plan, paths[2])


def _write_edge(edges: Xml.Element, plan: Plan, road: Road, back: bool) -> None:
    start, end = (road.end, road.start) if back else (road.start, road.end)
    points = [plan.nodes[start][:2], *road.bend[:: -1 if back else 1], plan.nodes[end][:2]]
    written = {
        "id": f"{start}-{end}",
        "from": start,
        "to": end,
        "numLanes": str(road.lanes[back]),
        "speed": f"{road.speed_mps}",
        "priority": str(road.priority),
        "width": f"{road.lane_m}",
        "shape": " ".join(f"{x:.2f},{y:.2f}" for x, y in points),
    }
    written["sidewalkWidth"] = f"{_SIDEWALK_M}"
    if not road.lanes[not back]:
        written["spreadType"] = "center"
    Xml.SubElement(edges, "edge", written)


def _convert(nodes: Path, edges: Path, net: Path) -> None:
    beside = Path(sysconfig.get_path("scripts")) / "netconvert"
    command = str(beside) if beside.exists() else shutil.which("netconvert")
    if command is None:
        raise DataError(
            f"netconvert, which makes road networks, is not installed; install it: {INSTALL_SUMO}"
        )
    words = [command, "-n", str(nodes), "-e", str(edges), "-o", str(net), "--crossings.guess"]
    words += ["--offset.disable-normalization", "--no-turnarounds", "--no-warnings"]
    words += ["--junctions.corner-detail", "12", "--junctions.limit-turn-speed", "4.0"]
    words += ["--junctions.internal-link-detail", "24", "--default.crossing-width", "3.4"]
    words += ["--tls.default-type", "static", "--tls.yellow.time", "3", "--tls.allred.time", "2"]
    words += ["--tls.green.time", "18", "--rectangular-lane-cut"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise DataError(
            f"netconvert could not make {net.name}: {ran.stderr.strip()[:500]}; "
            f"reinstall it: {INSTALL_SUMO}"
        )


def read_network(plan: Plan, file: Path) -> Network:
    """Read the network that netconvert made of a plan."""
    root = Xml.parse(file).getroot()
    edges = {edge.attrib["id"]: edge for edge in root.iter("edge")}
    plain = [edge for edge in edges.values() if "function" not in edge.attrib]
    crossings, walkways, lanes = [], [], []
    roads = [_shape(j) for j in root.iter("junction") if j.get("type") not in _NO_ROAD]
    for edge in edges.values():
        function = edge.get("function", "road")
        for lane in edge.iter("lane"):
            line, width = _shape(lane), _width(lane)
            if function == "crossing":
                crossings.append(Crossing(_float32(line[[0, -1]]), width))
            elif function == "walkingarea":
                walkways.append(_float32(line))
            else:
                kind = "walk" if _is_walk(lane) else "drive"
                lanes.append(Lane(_float32(line), width, kind))
                if kind == "walk":
                    walkways.append(_float32(strip(line, width / 2, width / 2)))
        if function == "road":
            drive = _drive_lanes(edge)
            lane_m = _width(drive[0])
            left = offset_line(_shape(drive[-1]), -lane_m / 2)
            roads.append(strip(left, 0.0, lane_m * len(drive)))
    roads += _ring_quarters() if plan.ring else []
    markings, signals, stop_lines, links = _approaches(root, plain)
    layout = Layout(
        name=plan.name,
        words=plan.words,
        centre=(0.0, 0.0),
        roads=tuple(_float32(road) for road in roads),
        walkways=tuple(walkways),
        lanes=tuple(lanes),
        markings=tuple(markings + _lines(plain, edges)),
        crossings=tuple(crossings),
        signals=tuple(signals),
    )
    ends = [name for name, node in plan.nodes.items() if node[2] == "dead_end"]
    starts = [edge for edge in plain if edge.get("from") in ends]
    return Network(
        layout,
        file,
        sources=tuple(edge.attrib["id"] for edge in starts),
        source_lanes=tuple(len(_drive_lanes(edge)) for edge in starts),
        sinks=tuple(edge.attrib["id"] for edge in plain if edge.get("to") in ends),
        stop_lines=tuple(stop_lines),
        signal_links=tuple(links),
    )


_NO_ROAD = ("internal", "dead_end")


def _ring_quarters() -> list[np.ndarray]:
    """Return a ring's roadway: between its edges and its nodes SUMO leaves wedges out."""
    angles = np.linspace(0, pi / 2, 16)
    quarters = []
    for quarter in range(4):
        turned = angles + quarter * pi / 2
        arc = RING_M * np.stack([np.cos(turned), np.sin(turned)], 1)
        quarters.append(strip(arc, RING_LANE_M / 2, RING_LANE_M / 2))
    return quarters


def _float32(line: np.ndarray) -> np.ndarray:
    return np.round(line, 2).astype(np.float32)


def _shape(element: Xml.Element) -> np.ndarray:
    points = [pair.split(",")[:2] for pair in element.get("shape", "").split()]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _is_walk(lane: Xml.Element) -> bool:
    return lane.get("allow") == "pedestrian"


def _width(lane: Xml.Element) -> float:
    return float(lane.get("width", "3.2"))


def _drive_lanes(edge: Xml.Element) -> list[Xml.Element]:
    """Return the lanes that vehicles use, from the kerb to the middle of the road."""
    return [lane for lane in edge.iter("lane") if not _is_walk(lane)]


def _approaches(
    root: Xml.Element, plain: list[Xml.Element]
) -> tuple[list[Marking], list[Signal], list[StopLine], list[tuple[str, int]]]:
    """Return stop lines, traffic lights and where their state is read."""
    markings, signals, stop_lines, links = [], [], [], []
    for edge in plain:
        name = edge.attrib["id"]
        out = [c for c in root.iter("connection") if c.get("from") == name]
        out = [c for c in out if not c.get("to", "").startswith(":")]
        if not out:
            continue
        lights = [c for c in out if c.get("tl")]
        if not lights and any(c.get("state") == "M" for c in out):
            continue
        drive = _drive_lanes(edge)
        outer = _shape(drive[0])
        direction = outer[-1] - outer[-2]
        direction /= np.linalg.norm(direction)
        right = np.array([direction[1], -direction[0]])
        lane_m = _width(drive[0])
        kerb = outer[-1] + right * lane_m / 2 - direction * _STOP_LINE_BACK_M
        middle = kerb - right * lane_m * len(drive)
        heading = float(np.arctan2(direction[1], direction[0]))
        group = len(links) if lights else -1
        markings.append(Marking(_float32(np.stack([kerb, middle])), "stop"))
        point = (kerb + middle) / 2
        half = lane_m * len(drive) / 2
        stop_lines.append(StopLine((float(point[0]), float(point[1])), heading, half, group))
        if lights:
            pole = kerb + right * _POLE_FROM_LANE_M
            signals.append(Signal((float(pole[0]), float(pole[1])), heading, group))
            # The way straight on tells best what the approach may do; a T has none on its stem.
            told = sorted(lights, key=lambda c: (c.get("dir") != "s", int(c.get("linkIndex", 0))))
            links.append((told[0].get("tl", ""), int(told[0].get("linkIndex", 0))))
    return markings, signals, stop_lines, links


def _lines(plain: list[Xml.Element], edges: dict[str, Xml.Element]) -> list[Marking]:
    """Return the lines along the roads."""
    found = []
    for edge in plain:
        drive = _drive_lanes(edge)
        back = edges.get(f"{edge.get('to')}-{edge.get('from')}")
        lane_m = _width(drive[0])
        kerb = offset_line(_shape(drive[0]), lane_m / 2 - 0.25)
        found.append(Marking(_float32(kerb), "edge"))
        for lane in drive[:-1]:
            found.append(Marking(_float32(offset_line(_shape(lane), -lane_m / 2)), "divider"))
        inner = _shape(drive[-1])
        if back is None:
            found.append(Marking(_float32(offset_line(inner, 0.25 - lane_m / 2)), "edge"))
        elif edge.attrib["id"] < back.attrib["id"]:
            found.append(Marking(_float32(offset_line(inner, -lane_m / 2)), "centre"))
    return found

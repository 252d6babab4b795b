"""The recordings that come with the package, and the files that hold them.

FOLDER/layouts.xz     the layouts, as JSON in centimetres
FOLDER/normal.xz      recordings: a line of JSON, then the bytes of all tracks
FOLDER/accident.xz

Tracks are int16, centimetres from the layout's centre and milliradians. Their second differences
are kept, which are small: low bytes first, then high bytes, then lights and signals.
"""

import json
import lzma
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldtune.data.scenes.recording import (
    Body,
    Contact,
    Crossing,
    Lane,
    Layout,
    Marking,
    Recording,
    SceneKind,
    Signal,
)
from worldtune.errors import DataError

RECORDED = Path(__file__).with_name("recorded")
_UNITS = np.array([0.01, 0.01, 0.001])  # metres, metres, radians
_MAKE_NEW = "record them anew: worldtune scenes record OUT"


def layouts(folder: Path = RECORDED) -> tuple[Layout, ...]:
    """Return the layouts of a library, the package's own unless told another."""
    return _layouts(folder)


def recordings(kind: SceneKind, folder: Path = RECORDED) -> tuple[Recording, ...]:
    """Return the recordings of one kind, the package's own unless told other ones.

    Raises DataError where the files are missing or damaged.
    """
    return _recordings(kind, folder)


def write_files(
    folder: Path, places: Sequence[Layout], recorded: dict[SceneKind, Sequence[Recording]]
) -> None:
    """Write a library's three files."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "layouts.xz", _dump([_pack_layout(layout) for layout in places]))
    for kind, found in recorded.items():
        _write(folder / f"{kind}.xz", pack(found))


def pack(found: Sequence[Recording]) -> bytes:
    """Return recordings as a line of JSON and bytes."""
    columns, codes = [], []
    for recording in found:
        for body in recording.bodies:
            columns.append(_differences(quantise(body.track)).ravel(order="F"))
            codes.append(_steps(body.lights))
        codes.append(_steps(recording.signals).ravel(order="F"))
    words = np.concatenate([*columns, np.zeros(0, np.int16)]).view(np.uint8).reshape(-1, 2)
    planes = np.ascontiguousarray(words.T).tobytes()
    codes_bytes = np.concatenate([*codes, np.zeros(0, np.uint8)]).tobytes()
    return _dump([_pack_recording(r) for r in found]) + b"\n" + planes + codes_bytes


def quantise(track: np.ndarray) -> np.ndarray:
    """Return a track in whole centimetres and milliradians, int16 [n, 3]."""
    return np.round(track / _UNITS).astype(np.int16)


def restore(whole: np.ndarray) -> np.ndarray:
    """Return a track, float32 [n, 3], from centimetres and milliradians."""
    return (whole * _UNITS).astype(np.float32)


@lru_cache(maxsize=4)
def _layouts(folder: Path) -> tuple[Layout, ...]:
    path = folder / "layouts.xz"
    raw = _read(path)
    try:
        return tuple(_unpack_layout(written) for written in json.loads(raw))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


@lru_cache(maxsize=4)
def _recordings(kind: SceneKind, folder: Path) -> tuple[Recording, ...]:
    path = folder / f"{kind}.xz"
    places = {layout.name: layout for layout in _layouts(folder)}
    raw = _read(path)
    try:
        return tuple(_unpack(raw, kind, places))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> bytes:
    try:
        return lzma.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is not there, which holds recorded traffic; name a folder that holds "
            f"layouts.xz, normal.xz and accident.xz, or {_MAKE_NEW}"
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({error}); install the package again, or {_MAKE_NEW}")


def _write(path: Path, raw: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    beside.replace(path)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _differences(whole: np.ndarray) -> np.ndarray:
    """Return the first row, the first step, then by how much each step differs from the last.

    Overflow of int16 wraps, and back again.
    """
    start = np.zeros((1, whole.shape[1]), np.int16)
    steps = np.diff(whole, axis=0, prepend=start)
    steps[2:] = np.diff(steps[1:], axis=0)
    return steps


def _sums(differences: np.ndarray) -> np.ndarray:
    steps = differences.copy()
    steps[1:] = np.cumsum(differences[1:], axis=0, dtype=np.int16)
    return np.cumsum(steps, axis=0, dtype=np.int16)


def _steps(codes: np.ndarray) -> np.ndarray:
    return np.diff(codes, axis=0, prepend=np.zeros_like(codes[:1]))


def _pack_recording(recording: Recording) -> dict[str, object]:
    contact = recording.contact
    return {
        "name": recording.name,
        "layout": recording.layout.name,
        "signals": recording.signals.shape,
        "bodies": [
            [
                body.kind,
                *_whole([body.length, body.width, body.height]),
                body.first,
                len(body.track),
            ]
            for body in recording.bodies
        ],
        "contact": contact and {**contact.__dict__, "place": _rounded(contact.place)},
    }


def _unpack(raw: bytes, kind: SceneKind, places: dict[str, Layout]) -> Iterable[Recording]:
    line, _, rest = raw.partition(b"\n")
    written = json.loads(line)
    rows = sum(body[5] for entry in written for body in entry["bodies"])
    planes = np.frombuffer(rest, np.uint8, 6 * rows).reshape(2, -1)
    words = np.ascontiguousarray(planes.T).view(np.int16).ravel()
    codes = np.frombuffer(rest, np.uint8, offset=6 * rows)
    for entry in written:
        bodies = []
        for name, *size, first, count in entry["bodies"]:
            track = restore(_sums(words[: 3 * count].reshape(count, 3, order="F")))
            lights = np.cumsum(codes[:count], dtype=np.uint8)
            # All who ask share them.
            track.setflags(write=False)
            lights.setflags(write=False)
            length, width, height = (cm / 100 for cm in size)
            bodies.append(Body(name, length, width, height, first, track, lights))
            words, codes = words[3 * count :], codes[count:]
        samples, groups = entry["signals"]
        steps = codes[: samples * groups].reshape(samples, groups, order="F")
        codes = codes[samples * groups :]
        yield Recording(
            name=entry["name"],
            kind=kind,
            layout=places[entry["layout"]],
            bodies=tuple(bodies),
            signals=np.cumsum(steps, axis=0, dtype=np.uint8),
            contact=_unpack_contact(entry["contact"]),
        )


def _unpack_contact(written: dict[str, Any] | None) -> Contact | None:
    if written is None:
        return None
    (x, y), (one, other) = written["place"], written["bodies"]
    own, theirs = written["speed_change_mps"]
    return Contact(
        time_s=written["time_s"],
        place=(x, y),
        bodies=(one, other),
        at_fault=written["at_fault"],
        cause=written["cause"],
        speed_change_mps=(own, theirs),
    )


def _whole(numbers: Iterable[float]) -> list[int]:
    return [round(number * 100) for number in numbers]


def _rounded(numbers: Iterable[float]) -> list[float]:
    return [round(number, 2) for number in numbers]


def _line(points: np.ndarray) -> list[int]:
    return _whole(points.ravel().tolist())


def _points(written: list[int]) -> np.ndarray:
    return (np.array(written, dtype=np.float64).reshape(-1, 2) / 100).astype(np.float32)


def _pack_layout(layout: Layout) -> dict[str, object]:
    return {
        "name": layout.name,
        "words": layout.words,
        "centre": _rounded(layout.centre),
        "roads": [_line(polygon) for polygon in layout.roads],
        "walkways": [_line(polygon) for polygon in layout.walkways],
        "lanes": [[_line(lane.centre), lane.width, lane.kind] for lane in layout.lanes],
        "markings": [[_line(marking.line), marking.kind] for marking in layout.markings],
        "crossings": [[_line(crossing.line), crossing.width] for crossing in layout.crossings],
        "signals": [
            [_rounded(signal.position), round(signal.heading, 4), signal.group]
            for signal in layout.signals
        ],
    }


def _unpack_layout(written: dict[str, Any]) -> Layout:
    return Layout(
        name=written["name"],
        words=written["words"],
        centre=tuple(written["centre"]),
        roads=tuple(_points(polygon) for polygon in written["roads"]),
        walkways=tuple(_points(polygon) for polygon in written["walkways"]),
        lanes=tuple(Lane(_points(line), width, kind) for line, width, kind in written["lanes"]),
        markings=tuple(Marking(_points(line), kind) for line, kind in written["markings"]),
        crossings=tuple(Crossing(_points(line), width) for line, width in written["crossings"]),
        signals=tuple(
            Signal(tuple(position), heading, group)
            for position, heading, group in written["signals"]
        ),
    )

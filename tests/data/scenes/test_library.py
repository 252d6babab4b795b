import json
import lzma
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tests.data.scenes.hand_made import body, layout, rear_end, recording
from worldtune.data.scenes.library import RECORDED, layouts, pack, recordings, write_files
from worldtune.data.scenes.recording import CAUSES
from worldtune.errors import DataError


def wild_track() -> np.ndarray:
    """Starts and steps of all sizes that int16 can hold, so that differences overflow."""
    random = np.random.Generator(np.random.PCG64([5]))
    return random.integers(-32768, 32767, (50, 3)) * np.array([0.01, 0.01, 0.001])


def test_recordings_come_back_as_they_were_written(tmp_path: Path):
    calm = recording(body("bus", wild_track(), first=7, lights=5), body("car", wild_track()))
    write_files(tmp_path, [layout()], {"normal": [calm, calm], "accident": [rear_end()]})

    (one, other), (crash,) = recordings("normal", tmp_path), recordings("accident", tmp_path)

    for read, written in ((one, calm), (other, calm), (crash, rear_end())):
        assert (read.name, read.kind, read.contact) == (written.name, written.kind, written.contact)
        np.testing.assert_array_equal(read.signals, written.signals)
        for a, b in zip(read.bodies, written.bodies, strict=True):
            assert (a.kind, a.length, a.width, a.height) == (b.kind, b.length, b.width, b.height)
            assert a.first == b.first
            np.testing.assert_allclose(a.track, b.track, atol=0.0051)
            np.testing.assert_array_equal(a.lights, b.lights)


def test_a_layout_comes_back_as_it_was_written(tmp_path: Path):
    write_files(tmp_path, [layout()], {"normal": [], "accident": []})

    (read,) = layouts(tmp_path)

    assert repr(read) == repr(layout())
    assert [f.name for f in fields(read)] == [f.name for f in fields(layout())]


def test_the_package_holds_sixty_of_each_kind_over_four_layouts():
    normal, accident = recordings("normal"), recordings("accident")

    assert min(len(normal), len(accident)) >= 60
    for found in (normal, accident):
        assert len({r.layout.name for r in found}) >= 4
        assert len({r.name for r in found}) == len(found)
    assert {r.kind for r in normal} == {"normal"}
    assert {r.kind for r in accident} == {"accident"}


def test_the_package_holds_at_most_a_mebibyte_and_nothing_that_runs():
    files = sorted(RECORDED.iterdir())

    assert [path.name for path in files] == ["accident.xz", "layouts.xz", "normal.xz"]
    assert sum(path.stat().st_size for path in files) <= 2**20
    for path in files:
        first_line = lzma.decompress(path.read_bytes()).partition(b"\n")[0]
        assert isinstance(json.loads(first_line), list)


def test_every_cause_stands_behind_eight_accidents():
    causes = Counter(r.contact.cause for r in recordings("accident") if r.contact)

    assert set(causes) == set(CAUSES)
    assert min(causes.values()) >= 8


def test_packing_what_was_read_gives_the_same_bytes():
    for kind in ("normal", "accident"):
        kept = lzma.decompress((RECORDED / f"{kind}.xz").read_bytes())

        assert pack(recordings(kind)) == kept


def test_a_folder_without_recordings_is_told_with_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match=r"layouts\.xz is not there.*worldtune scenes record OUT"):
        recordings("normal", tmp_path)


@pytest.mark.parametrize("damage", ["cut", "garbage", "swapped"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str):
    write_files(tmp_path, [layout()], {"normal": [rear_end()], "accident": []})
    path = tmp_path / "normal.xz"
    whole = path.read_bytes()
    inner = lzma.decompress(whole)
    path.write_bytes(
        {
            "cut": whole[:-9],
            "garbage": b"not a library",
            "swapped": lzma.compress(inner[: len(inner) // 2]),
        }[damage]
    )

    with pytest.raises(DataError, match=r"normal\.xz is damaged"):
        recordings("normal", tmp_path)

import sys
from pathlib import Path

import numpy as np
import pytest

from worldtune.data.scenes import network
from worldtune.data.scenes.library import layouts, pack, recordings
from worldtune.data.scenes.network import build_network
from worldtune.data.scenes.network_plans import plans
from worldtune.data.scenes.record import record
from worldtune.data.scenes.record_rules import broken_rules
from worldtune.data.scenes.simulate import simulate, smooth
from worldtune.errors import DataError


def test_without_netconvert_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DataError, match=r'netconvert.*not installed.*"worldtune\[sumo\]"'):
        build_network(plans()[0], tmp_path)


def test_without_libsumo_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "libsumo", None)
    (place,) = (layout for layout in layouts() if layout.name == "four_way")
    empty = network.Network(place, tmp_path / "four_way.net.xml", (), (), (), (), ())

    with pytest.raises(DataError, match=r'libsumo.*not installed.*"worldtune\[sumo\]"'):
        simulate(empty, 10.0, seed=0, demand_per_min=20.0)


def test_nothing_is_written_where_the_simulator_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DataError):
        record(tmp_path / "out", normal=1, accident=1, seed=0)

    assert not (tmp_path / "out").exists()


def test_smoothing_leaves_a_steady_drive_as_it_is():
    drive = np.column_stack([np.arange(50) * 0.7, np.full(50, 3.0)])

    np.testing.assert_allclose(smooth(drive), drive, atol=1e-9)


def test_the_layouts_in_the_package_are_those_that_are_planned():
    assert [plan.name for plan in plans()] == [layout.name for layout in layouts()]
    assert [plan.words for plan in plans()] == [layout.words for layout in layouts()]


@pytest.mark.slow
def test_new_traffic_keeps_all_rules_and_is_the_same_for_a_seed(tmp_path: Path):
    """The first recording of a seed is the same however many follow."""
    pytest.importorskip("libsumo", reason='needs pip install "worldtune[sumo]"')
    told: list[tuple[int, int]] = []
    more, fewer = tmp_path / "more", tmp_path / "fewer"
    record(
        more, normal=5, accident=4, seed=3, progress=lambda done, all_: told.append((done, all_))
    )
    record(fewer, normal=1, accident=1, seed=3)

    assert sorted(path.name for path in more.iterdir()) == [
        "accident.xz",
        "layouts.xz",
        "normal.xz",
    ]
    assert told == [(done, 5) for done in range(1, 6)]
    normal, accident = recordings("normal", more), recordings("accident", more)
    assert (len(normal), len(accident)) == (5, 4)
    assert len({recording.layout.name for recording in normal}) == 5
    for recording in (*normal, *accident):
        assert broken_rules(recording) == []
    assert (more / "layouts.xz").read_bytes() == (fewer / "layouts.xz").read_bytes()
    assert pack(recordings("normal", fewer)) == pack(normal[:1])
    assert pack(recordings("accident", fewer)) == pack(accident[:1])

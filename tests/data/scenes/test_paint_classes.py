"""The classes differ in what happens and in nothing else; clips cost what was promised."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scenes import accuracy, measure_classes, measure_time
from worldtune.data.scenes.write import write_its


def test_the_classifier_finds_what_is_there_and_nothing_else():
    random = np.random.Generator(np.random.PCG64(1))
    accident = np.arange(200) % 2 == 1
    noise = random.standard_normal((200, 3))
    told = noise.copy()
    told[:, 1] += 4 * accident

    assert accuracy(told, accident) > 0.95
    assert accuracy(noise, accident) < 0.60
    assert accuracy(random.standard_normal((200, 400)), accident, 16) < 0.60


@pytest.mark.slow
def test_only_the_event_tells_the_classes_apart(tmp_path: Path):
    write_its(tmp_path / "traffic", normal=100, accident=100, workers=2)

    told = measure_classes(tmp_path / "traffic")

    assert told.pop("largest acceleration") >= 0.95
    assert max(told.values()) <= 0.60, told


@pytest.mark.slow
@pytest.mark.parametrize(("size", "seconds"), [((128, 224), 1.0), ((704, 1280), 5.0)])
def test_a_clip_costs_what_was_promised(size: tuple[int, int], seconds: float):
    # Checks of types and a busy machine take their share: 1.5 times is allowed here.
    assert measure_time(4, size) <= 1.5 * seconds

"""A run that was broken off goes on as if nothing had happened."""

from pathlib import Path

import pytest

from tests.train.tiny import (
    WITHOUT_VALIDATION,
    Tiny,
    differences,
    forget_after,
    log_of,
    metrics,
    state_of,
)

BFLOAT16 = "model.config.precision=bfloat16"
WORKERS = "dataloader_train.num_workers=2"
ACCUMULATED = "trainer.grad_accum_iter=2"


def equal_runs(one: Path, other: Path, iteration: int = 4) -> None:
    """Every bit of the last state, every number of the metrics, every byte of the weights file."""
    (sections, info), (others, other_info) = (state_of(run, iteration) for run in (one, other))
    assert differences(sections, others) == []
    assert info["progress"] == other_info["progress"]
    assert info["optimizer_steps"] == other_info["optimizer_steps"]
    assert metrics(one) == metrics(other)
    name = f"checkpoints/model/iter_{iteration:09d}.pt"
    assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(runs: Tiny, whole: Path):
    """Weights, masters, moments, average, random states, order of clips, every metric."""
    broken = forget_after(runs.copied(whole, "broken"), 2)
    resumed = runs.run("broken")

    assert resumed == broken
    assert "Resuming from iteration 2" in log_of(resumed)
    assert set(state_of(whole, 4)[0]) == {"masters", "average", "exp_avg", "exp_avg_sq", "random"}
    equal_runs(resumed, whole)


def unbroken_and_resumed(runs: Tiny, *words: str) -> tuple[Path, Path]:
    """The run in one go, and the same run broken off after its first save."""
    unbroken = runs.run("unbroken", *WITHOUT_VALIDATION, *words)
    forget_after(runs.copied(unbroken, "resumed"), 2)
    return unbroken, runs.run("resumed", *WITHOUT_VALIDATION, *words)


def test_that_holds_in_bfloat16_with_accumulated_gradients(runs: Tiny):
    unbroken, resumed = unbroken_and_resumed(runs, BFLOAT16, ACCUMULATED)

    assert state_of(resumed, 4)[1]["progress"]["next_index"] == 8
    equal_runs(resumed, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("accumulated", [1, 3])
def test_that_holds_with_worker_processes(runs: Tiny, dtype: str, accumulated: int):
    words = (f"model.config.precision={dtype}", f"trainer.grad_accum_iter={accumulated}", WORKERS)
    unbroken, resumed = unbroken_and_resumed(runs, *words)
    equal_runs(resumed, unbroken)
    equal_runs(resumed, runs.run("without", *WITHOUT_VALIDATION, *words[:2]))


@pytest.mark.slow
def test_the_number_of_the_state_decides_and_not_how_often_a_run_was_broken(
    runs: Tiny, plain: Path
):
    for last in (1, 2, 3, 4):
        runs.run("often", *WITHOUT_VALIDATION, f"trainer.max_iter={last}", "checkpoint.save_iter=2")
    # What was planned then is in the lines, and nothing else.
    often = runs.folder / "often"
    assert differences(state_of(often, 4)[0], state_of(plain, 4)[0]) == []
    assert metrics(often) == metrics(plain)

"""What one optimiser step is made of: accumulation, clipping, and what is not finite."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.tiny import WITHOUT_VALIDATION, Tiny, differences, log_of, metrics, state_of
from worldtune.data.batch import Batch
from worldtune.errors import RunError
from worldtune.objectives.clip import total_norm
from worldtune.objectives.loss import LossSums
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.optimizer import MasterAdamW

AT_ONCE = "scheduler.warm_up_steps=[0]"
EVERY_STEP = (*WITHOUT_VALIDATION, "checkpoint.save_iter=1", "checkpoint.native=none", AT_ONCE)


def test_accumulated_steps_of_one_clip_equal_one_step_of_as_many(runs: Tiny):
    """Sums in another order, in float32: 1e-6 of each number, and of the weights.

    AdamW's eps is large here: with the usual one it divides a gradient that is zero but for
    rounding by its own size.
    """
    words = (*EVERY_STEP, "trainer.max_iter=3", "optimizer.eps=1.0", "optimizer.lr=0.1")
    parts = runs.run("parts", *words, "trainer.grad_accum_iter=4")
    batch = runs.run("batch", *words, "dataloader_train.batch_size=4")

    for one, other in zip(metrics(parts), metrics(batch), strict=True):
        assert one["clips"] == other["clips"] == 4
        for name in ("loss", "printed_loss", "gradient_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-6), name
    ones, others = (state_of(run, 3)[0] for run in (parts, batch))
    for section in ("masters", "average"):
        for name, tensor in others[section].items():
            largest = tensor.abs().max().item()
            assert (ones[section][name] - tensor).abs().max().item() <= 1e-6 * largest, name
    moved = (
        ones["masters"]["blocks.0.mlp.layer1.weight"]
        - state_of(parts, 1)[0]["masters"]["blocks.0.mlp.layer1.weight"]
    )
    assert moved.abs().max() > 1e-3, "else there was nothing to compare"


def poisoned(monkeypatch: pytest.MonkeyPatch, how: str, places: range) -> None:
    """Make the loss or only its gradient not finite, of the clips at these places."""
    original = ClipLoss.__call__

    def spoilt(clip_loss: ClipLoss, batch: Batch) -> LossSums:
        sums = original(clip_loss, batch)
        if not set(batch.index.tolist()) & set(places):
            return sums
        if how == "gradient":
            sums.total.register_hook(lambda gradient: gradient * math.inf)
            return sums
        return replace(sums, total=sums.total * math.nan, weighted=sums.weighted * math.nan)

    monkeypatch.setattr(ClipLoss, "__call__", spoilt)


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch, how: str
):
    poisoned(monkeypatch, how, range(1, 2))
    run = runs.run("skips", *EVERY_STEP, "trainer.max_iter=3")

    (before, told_before), (after, told) = state_of(run, 1), state_of(run, 2)
    assert differences(before, after) == [], "weights, moments or average have moved"
    assert told["optimizer_steps"] == told_before["optimizer_steps"] == 1
    assert told["progress"] == {
        "iteration": 2,
        "schedule_step": 2,
        "next_index": 2,
        "skipped": 1,
        "skipped_in_a_row": 1,
    }
    last = state_of(run, 3)
    assert differences(after, last[0]) != []
    assert last[1]["progress"]["skipped_in_a_row"] == 0
    assert last[1]["progress"]["skipped"] == 1
    lines = metrics(run)
    assert [line["skipped"] for line in lines] == [False, True, False]
    assert (lines[1]["loss"] is None) == (how == "loss"), "null, so that the line stays JSON"
    assert lines[1]["gradient_norm"] is None
    told = log_of(run)
    assert "[WARNING] Iteration 2: the loss (" in told
    assert "is not finite; the step is skipped (1 so far)" in told


def test_one_bad_part_of_an_accumulated_step_skips_the_whole_step(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    poisoned(monkeypatch, "loss", range(3, 4))
    run = runs.run("skips", *EVERY_STEP, "trainer.max_iter=2", "trainer.grad_accum_iter=3")

    assert differences(state_of(run, 1)[0], state_of(run, 2)[0]) == []


def test_ten_skipped_steps_in_a_row_end_the_run_and_a_resume_counts_on(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    poisoned(monkeypatch, "loss", range(3, 10_000))
    words = (*WITHOUT_VALIDATION, "trainer.max_iter=30", "checkpoint.save_iter=8", AT_ONCE)
    message = (
        "the last 10 steps, up to iteration 13, had a loss or gradient that is not finite; the "
        "weights have not moved since. Lower optimizer.lr, check the clips, or resume from an "
        "earlier state"
    )
    for _ in range(2):
        with pytest.raises(RunError) as ended:
            runs.run("bad", *words)
        assert str(ended.value) == message
    run = runs.folder / "bad"

    assert state_of(run, 8)[1]["progress"]["skipped_in_a_row"] == 5
    assert metrics(run)[-1]["skipped_in_all"] == 10
    assert [line["iteration"] for line in metrics(run)] == list(range(1, 14))


@pytest.mark.slow
def test_nine_skipped_steps_in_a_row_do_not_end_the_run(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    poisoned(monkeypatch, "loss", range(1, 10))
    run = runs.run("bad", *EVERY_STEP, "trainer.max_iter=11", "checkpoint.save_iter=100")

    assert state_of(run, 11)[1]["optimizer_steps"] == 2


def test_gradients_are_clipped_and_their_norm_before_is_told(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    taken: list[float] = []
    step = MasterAdamW.step

    def spied(optimizer: MasterAdamW, learning_rate: float) -> None:
        taken.append(total_norm(list(optimizer.gradients().values())).item())
        step(optimizer, learning_rate)

    monkeypatch.setattr(MasterAdamW, "step", spied)
    words = (*EVERY_STEP, "trainer.max_iter=1")
    clip = "trainer.callbacks.grad_clip"
    short = runs.run("short", *words, f"{clip}.clip_norm=0.25")
    long = runs.run("long", *words, f"{clip}.clip_norm=1e6")
    none = runs.run("none", *words, f"{clip}=null")

    found = metrics(long)[0]["gradient_norm"]
    assert found > 1, "else there was nothing to clip"
    assert metrics(short)[0]["gradient_norm"] == metrics(none)[0]["gradient_norm"] == found
    assert taken == pytest.approx([0.25, found, found], rel=1e-5)


def test_the_rate_of_each_step_is_that_of_the_schedule(runs: Tiny):
    words = (*WITHOUT_VALIDATION, "optimizer.lr=0.01", "scheduler.f_start=[0.1]")
    run = runs.run("rates", *words, "scheduler.warm_up_steps=[2]", "scheduler.f_max=[0.6]")

    rates = [line["learning_rate"] for line in metrics(run)]
    assert rates[:3] == pytest.approx([0.01 * 0.1, 0.01 * 0.35, 0.01 * 0.6])


@pytest.mark.slow
def test_every_clip_is_seen_once_before_any_is_seen_again(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch, clips: Path
):
    seen: list[str] = []
    original = ClipLoss.__call__

    def spied(clip_loss: ClipLoss, batch: Batch) -> LossSums:
        seen.extend(batch.names)
        return original(clip_loss, batch)

    monkeypatch.setattr(ClipLoss, "__call__", spied)
    for last in (7, 10):
        runs.run("order", *WITHOUT_VALIDATION, f"trainer.max_iter={last}", "checkpoint.native=none")

    assert len(set(seen[:5])) == len(set(seen[5:])) == 5
    assert seen[:5] != seen[5:]

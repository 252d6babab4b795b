"""What a run says and writes: log lines, metrics, TensorBoard, the curve, the bar."""

import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.tiny import (
    EXPERIMENT,
    STEPS_ONLY,
    Tiny,
    forget_after,
    log_of,
    metrics,
    states,
)
from worldtune.config.compose import compose
from worldtune.config.files import read_config
from worldtune.config.predict2 import Predict2Recipe
from worldtune.parallel.layout import Layout
from worldtune.recipes.predict2 import PREDICT2
from worldtune.train import logs
from worldtune.train.curve import LossCurve
from worldtune.train.logs import LogLine, ProgressBar, log_lines, read_metrics
from worldtune.train.monitors import DeviceMonitor
from worldtune.train.report import StepReport
from worldtune.train.start import STATES
from worldtune.train.together import launch_lines

LINES = """\
[INFO] Starting training on single node with 1 CPU process...
[INFO] Context parallel size: 1, Data parallel size: 1
[INFO] Clips: 5 clips; 12 frames; 32x48; 16 fps
[INFO] Held-out clips: 3 clips; 9 frames; 32x48; 16 fps
[INFO] Starting from random weights (model.config.fresh_weights)
[INFO] A save takes SIZE; SIZE are free in FOLDER
[INFO] Validation at iteration 0, held-out loss: network N.NNNN
[INFO] Iteration 2/4, Loss: N.NNN, Speed: RATE it/s
[INFO] Memory: peak SIZE; waiting for data: SHARE% of the time
[INFO] Validation at iteration 2, held-out loss: network N.NNNN, average N.NNNN
[INFO] Checkpoint saved: FOLDER/checkpoints/model/iter_000000002.pt
[INFO] Iteration 4/4, Loss: N.NNN, Speed: RATE it/s
[INFO] Memory: peak SIZE; waiting for data: SHARE% of the time
[INFO] Validation at iteration 4, held-out loss: network N.NNNN, average N.NNNN
[INFO] Checkpoint saved: FOLDER/checkpoints/model/iter_000000004.pt
[INFO] Done with training.
"""
NUMBERS = {
    "SIZE": r"[\d,.]+ (bytes|MiB|GiB)",
    "N.NNNN": r"\d+\.\d{4}",
    "N.NNN": r"\d+\.\d{3}",
    "RATE": r"\d+\.\d{1,3}",
    "SHARE": r"\d+\.\d",
}


def step(iteration: int, **values: float | bool) -> StepReport:
    """A report of one step, as the loop makes it."""
    given = {
        "max_iter": 2000,
        "loss": 0.0245,
        "printed_loss": 0.245,
        "gradient_norm": 1.5,
        "learning_rate": 1e-4,
        "step_s": 1 / 2.3,
        "wait_s": 0.0,
        "clips": 1,
        "memory_gib": 1.25,
        "skipped": False,
        "skipped_in_all": 0,
        **values,
    }
    return StepReport(iteration=iteration, **given)  # pyright: ignore[reportArgumentType]


def test_a_run_says_this_and_nothing_else(whole: Path):
    pattern = re.escape(LINES.replace("FOLDER", str(whole)))
    for word, number in NUMBERS.items():
        pattern = pattern.replace(re.escape(word), number)

    assert re.fullmatch(pattern, log_of(whole)), log_of(whole)


def test_the_line_of_a_step_is_the_documents_letter_by_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = LogLine(500)
    with log_lines(tmp_path / "stdout.log"):
        for iteration in range(1, 1001):
            line.after_step(step(iteration))
    expected = (
        "[INFO] Iteration 500/2000, Loss: 0.245, Speed: 2.3 it/s\n"
        "[INFO] Iteration 1000/2000, Loss: 0.245, Speed: 2.3 it/s\n"
    )

    assert (tmp_path / "stdout.log").read_text() == expected
    assert capsys.readouterr().out == expected


def test_a_slow_step_keeps_three_digits_of_its_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = LogLine(1)
    with log_lines(tmp_path / "stdout.log"):
        line.after_step(step(1, step_s=8.0))
    assert capsys.readouterr().out.endswith("Speed: 0.125 it/s\n")


def test_the_start_is_told_as_in_the_documents(monkeypatch: pytest.MonkeyPatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    recipe = Layout(world=8, context=2, shard=8)
    assert launch_lines(recipe, gpu)[:2] == [
        "Starting training on single node with 8 GPUs...",
        "Context parallel size: 2, Data parallel size: 4",
    ]
    assert launch_lines(Layout(), cpu)[0].endswith("on single node with 1 CPU process...")
    assert launch_lines(Layout(), gpu)[0].endswith("on single node with 1 GPU...")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    two = Layout(world=8, tensor=2, shard=2, sequence=True)
    assert launch_lines(two, cpu) == [
        "Starting training on 2 nodes with 8 CPU processes...",
        "Context parallel size: 1, Data parallel size: 4, Tensor parallel size: 2 with sequence "
        "parallelism",
        "Using FSDP with shard size 2 | device mesh: 2 x 2 x 2 (replicate x shard x tensor)",
    ]


def test_the_last_step_has_a_line_whatever_the_interval(runs: Tiny):
    told = log_of(runs.run("odd", *STEPS_ONLY, "trainer.logging_iter=3"))
    assert re.findall(r"Iteration (\d/\d), Loss", told) == ["3/4", "4/4"]


def test_hit_thres_sets_the_interval_of_the_lines(runs: Tiny):
    word = "trainer.callbacks.iter_speed.hit_thres=1"
    told = log_of(runs.run("often", *STEPS_ONLY, word))
    assert re.findall(r"Iteration (\d)/4, Loss", told) == ["1", "2", "3", "4"]
    assert (
        "[INFO] Notice: trainer.callbacks.iter_speed.hit_thres=1 gives a log line every 1 steps; "
        "trainer.logging_iter=2 gives way to it\n" in told
    )


def test_the_published_recipe_reports_speed_every_ten_steps():
    name = "predict2_video2world_lora_training_2b_its"
    callbacks = compose(PREDICT2, name, [], environment={}).recipe.trainer.callbacks
    assert callbacks.iter_speed.hit_thres == 10


def test_the_loss_of_the_lines_is_times_loss_scale(runs: Tiny, plain: Path):
    run = runs.run("scaled", *STEPS_ONLY, "model.config.loss_scale=1000.0")

    for ten, thousand in zip(metrics(plain)[:1], metrics(run)[:1], strict=True):
        assert ten["printed_loss"] == pytest.approx(10 * ten["loss"], rel=1e-6)
        assert thousand["printed_loss"] == pytest.approx(1000 * thousand["loss"], rel=1e-6)
        assert ten["loss"] == thousand["loss"]
    printed = [f"{line['printed_loss']:.3f}" for line in metrics(plain)]
    assert re.findall(r"Loss: (\S+),", log_of(plain)) == [printed[1], printed[3]]


def test_config_yaml_reads_back_as_the_recipe(whole: Path, clips: Path):
    from tests.train.tiny import tiny

    assert read_config(whole / "config.yaml", Predict2Recipe) == tiny(clips).recipe


def test_the_log_is_added_to_and_starts_with_the_notices(runs: Tiny, plain: Path):
    run = runs.copied(plain, "again")
    before = log_of(run)
    runs.run("again", *STEPS_ONLY, "trainer.max_iter=3")

    told = log_of(run)
    assert told.startswith(before)
    assert told[len(before) :].startswith("[INFO] Notice: the whole run is warm-up")


# --- metrics ---


def test_metrics_have_a_line_for_each_step(whole: Path):
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]

    assert [line["iteration"] for line in steps] == [1, 2, 3, 4]
    for line in steps:
        assert set(line) == {
            *("kind", "iteration", "loss", "printed_loss", "gradient_norm", "learning_rate"),
            *("step_s", "wait_s", "clips", "clips_per_s", "memory_gib"),
            *("skipped", "skipped_in_all"),
        }
        assert 0 <= line["wait_s"] <= line["step_s"]
        assert line["clips_per_s"] == pytest.approx(1 / line["step_s"])
        assert 0.05 < line["memory_gib"] < 64


def once_each(run: Path) -> bool:
    counts = Counter((line["kind"], line["iteration"]) for line in metrics(run))
    return set(counts.values()) == {1}


def killed_before_its_first_save(runs: Tiny, whole: Path, name: str) -> Path:
    """Lines of all steps are there, and no state."""
    run = runs.copied(whole, name)
    shutil.rmtree(run / "checkpoints")
    return run


@pytest.mark.slow
def test_a_run_that_starts_anew_has_each_line_once(runs: Tiny, whole: Path):
    run = killed_before_its_first_save(runs, whole, "killed")
    runs.run("killed")

    assert once_each(run)
    assert metrics(run) == metrics(whole)


def test_a_line_that_a_kill_cut_short_is_dropped(runs: Tiny, whole: Path):
    run = forget_after(runs.copied(whole, "killed"), 2)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "iteration": 5, "lo')
    assert len(read_metrics(run / "metrics.jsonl")) == len(metrics(whole))
    runs.run("killed")

    assert once_each(run)
    assert metrics(run) == metrics(whole)


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_same_numbers_and_each_once_after_a_kill(runs: Tiny, whole: Path):
    resumed = forget_after(runs.copied(whole, "resumed"), 2)
    runs.run("resumed")
    anew = killed_before_its_first_save(runs, whole, "anew")
    runs.run("anew")

    for run in (whole, resumed, anew):
        read = events(run)
        for line in metrics(run):
            for name, value in line.items():
                if name not in ("kind", "iteration"):
                    points = dict(read[f"{line['kind']}/{name}"])
                    assert points[line["iteration"]] == pytest.approx(float(value), rel=1e-6)
        assert [step for step, _ in read["step/loss"]] == [1, 2, 3, 4]
        assert [step for step, _ in read["validation/network"]] == [0, 2, 4]


# --- the picture ---


def picture(curve: LossCurve) -> tuple[int, int]:
    with Image.open(curve.path) as image:
        return image.size


def write_lines(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(iteration: int, loss: float | None) -> dict[str, object]:
    return {"kind": "step", "iteration": iteration, "loss": loss}


def test_the_curve_is_there_after_a_run(whole: Path):
    assert picture(LossCurve(whole, whole / "metrics.jsonl", 1)) == (960, 540)


def test_the_curve_is_renewed_while_a_run_goes_on(tmp_path: Path):
    path = write_lines(tmp_path / "metrics.jsonl", line(1, 1.0))
    curve = LossCurve(tmp_path, path, every=2)
    curve.start(0)
    curve.after_step(step(1))
    assert not curve.path.exists()
    curve.after_step(step(2))
    first = curve.path.read_bytes()
    measured = {"kind": "validation", "iteration": 3, "network": 0.7, "average": None}
    write_lines(path, line(1, 1.0), line(2, None), line(3, 0.5), measured)
    curve.end()

    assert curve.path.read_bytes() != first
    assert picture(curve) == (960, 540)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loss.png", "metrics.jsonl"]


def test_without_a_step_there_is_no_curve(tmp_path: Path):
    curve = LossCurve(tmp_path, tmp_path / "metrics.jsonl", every=1)
    curve.end()
    assert not curve.path.exists()


def test_the_picture_does_not_change_training(runs: Tiny, plain: Path):
    """`plain` was drawn; this one is not."""
    assert metrics(runs.run("bare", *STEPS_ONLY)) == metrics(plain)


# --- the machine, the bar ---


def test_the_share_of_waiting_is_that_since_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monitor = DeviceMonitor(2)
    with log_lines(tmp_path / "stdout.log"):
        for iteration, wait_s in enumerate((0.1, 0.2, 0.0, 0.0), 1):
            monitor.after_step(step(iteration, step_s=1.0, wait_s=wait_s))
    assert capsys.readouterr().out == (
        "[INFO] Memory: peak 1.25 GiB; waiting for data: 15.0% of the time\n"
        "[INFO] Memory: peak 1.25 GiB; waiting for data: 0.0% of the time\n"
    )


@pytest.mark.slow
def test_callbacks_that_are_nothing_are_off(runs: Tiny):
    off = [f"trainer.callbacks.{name}=null" for name in ("iter_speed", "device_monitor")]
    told = log_of(runs.run("quiet", *STEPS_ONLY, *off))

    assert "Iteration" not in told
    assert "Memory" not in told


def test_garbage_collection_is_given_back(whole: Path):
    import gc

    assert gc.isenabled()


def test_a_bar_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, whole: Path):
    assert "training" not in log_of(whole).replace("Starting training", "").replace(
        "Done with training", ""
    )
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(logs, "CONSOLE", Console(file=terminal, force_terminal=True, width=100))
    bar = ProgressBar(2000)
    bar.start(499)
    bar.after_step(step(500))
    bar.end()

    assert "500/2000, loss 0.245" in terminal.getvalue()


def test_the_run_lies_where_the_documents_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from worldtune.config.files import run_folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGINAIRE_OUTPUT_ROOT", raising=False)
    composed = compose(PREDICT2, EXPERIMENT, [], environment={})
    folder = run_folder(composed.recipe.job, {})

    assert str(folder) == "checkpoints/posttraining/video2world/tiny"
    assert str(STATES) == "checkpoints/state"
    assert states(folder) == folder / STATES

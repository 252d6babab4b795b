"""Where a run begins: its own state, published files, another's state, a file of weights."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.train.test_resume import equal_runs
from tests.train.tiny import (
    STEPS_ONLY,
    WITHOUT_VALIDATION,
    Tiny,
    differences,
    forget_after,
    log_of,
    metrics,
    state_of,
    states,
    tiny,
)
from worldtune.checkpoint.native import find_native
from worldtune.checkpoint.state_folder import list_states
from worldtune.data.shapes import write_clips
from worldtune.errors import CheckpointError, DataError, ExitStatus, RecipeError
from worldtune.train.run import run_training

LONGER = (*STEPS_ONLY, "trainer.max_iter=6")
SHARD = "shard_00000_of_00001.safetensors"


def spoil(state: Path) -> None:
    """Turn one bit of a state's last tensor."""
    content = bytearray((state / SHARD).read_bytes())
    content[-1] ^= 1
    (state / SHARD).write_bytes(content)


# --- the run's own states ---


def test_a_finished_run_says_that_there_is_nothing_to_do(runs: Tiny, plain: Path):
    before = runs.copied(plain, "done") / "metrics.jsonl"
    content = before.read_bytes()
    run = runs.run("done", *WITHOUT_VALIDATION)

    assert "[INFO] Nothing to do: iteration 4 of 4 is done." in log_of(run)
    assert before.read_bytes() == content


def test_a_damaged_state_is_told_and_the_one_before_it_used(runs: Tiny, plain: Path):
    run = runs.copied(plain, "damaged")
    spoil(states(run) / "iter_000000004")
    runs.run("damaged", *WITHOUT_VALIDATION)

    told = log_of(run)
    assert "[WARNING] iter_000000004 is passed over:" in told
    assert "[WARNING] iter_000000002 is whole and is used: iteration 2." in told
    assert "Resuming from iteration 2" in told
    equal_runs(run, plain)


def test_a_run_whose_states_are_all_damaged_does_not_begin_anew(runs: Tiny, plain: Path):
    run = runs.copied(plain, "damaged")
    for state in list_states(states(run)):
        spoil(state)
    with pytest.raises(CheckpointError) as refused:
        runs.run("damaged", *WITHOUT_VALIDATION)

    assert str(refused.value) == (
        f"no state in {states(run)} is whole, so this run cannot go on. Remove the folder to "
        "start it anew, or give the run another job.name"
    )
    assert "the manifest says" in log_of(run), "the damage is told as well"


def test_published_files_that_a_kill_prevented_are_written_on_the_resume(runs: Tiny, whole: Path):
    """A kill between the last state and the files made from it."""
    words = "checkpoint.native=all"
    unbroken = runs.run("unbroken", words)
    for iteration in (4,):
        run = forget_after(runs.copied(unbroken, f"killed{iteration}"), iteration)
        expected = {}
        for kind in ("model", "optim", "scheduler", "trainer"):
            path = run / "checkpoints" / kind / f"iter_{iteration:09d}.pt"
            expected[path] = path.read_bytes()
            path.unlink()
        runs.run(run.name, words)

        assert {path: path.read_bytes() for path in expected} == expected
        equal_runs(run, unbroken)


@pytest.mark.slow
def test_old_states_go_but_for_the_last_ones(runs: Tiny):
    words = (*WITHOUT_VALIDATION, "checkpoint.save_iter=1", "checkpoint.keep_last=2")
    run = runs.run("few", *words)

    kept = ["iter_000000003", "iter_000000004"]
    assert [path.name for path in list_states(states(run))] == kept
    assert sorted(p.stem for p in (run / "checkpoints/model").iterdir()) == kept


def test_a_second_process_on_one_run_is_told(runs: Tiny, monkeypatch: pytest.MonkeyPatch):
    """flock holds between two handles of one process as it does between two processes."""
    words = (*WITHOUT_VALIDATION, "trainer.max_iter=1")
    from worldtune.train import run as module

    go = module._go

    def again(*things: object) -> None:
        monkeypatch.setattr(module, "_go", go)
        with pytest.raises(CheckpointError, match="is being written by another process"):
            runs.run("one", *words)
        go(*things)

    monkeypatch.setattr(module, "_go", again)
    run = runs.run("one", *words)

    assert state_of(run, 1)[1]["progress"]["iteration"] == 1


# --- what must be the same ---


def test_changed_clips_are_refused_by_name(runs: Tiny, plain: Path):
    runs.copied(plain, "changed")
    other = runs.folder / "clips"
    shutil.copytree(runs.clips, other)
    (other / "train/videos/normal_0001.mp4").unlink()
    (other / "train/metas/normal_0001.txt").unlink()
    (other / "train/metas/normal_0002.txt").write_text("Something else.")
    write_clips(other / "train", 1, kind="collision", size=(32, 48), frames=12)

    with pytest.raises(DataError) as refused:
        run_training(tiny(other, *LONGER), runs.folder / "changed")

    assert str(refused.value) == (
        "the clips are not those that this run was trained on so far:\n"
        "  1 clips are gone: normal_0001\n"
        "  1 clips are new: collision_0000\n"
        "  1 clips are changed: normal_0002\n"
        "Bring them back, or go on with the new list, from its start, by "
        "checkpoint.keys_not_to_resume=[clips]"
    )


def test_changed_clips_are_gone_on_with_when_asked_and_only_once_from_their_start(
    runs: Tiny, plain: Path
):
    run = runs.copied(plain, "changed")
    other = runs.folder / "clips"
    shutil.copytree(runs.clips, other)
    (other / "train/metas/normal_0002.txt").write_text("Something else.")
    words = (*LONGER, "checkpoint.keys_not_to_resume=[clips]", "checkpoint.save_iter=1")
    run_training(tiny(other, *words), run)

    assert (
        state_of(run, 6)[1]["progress"] | {"iteration": 6, "next_index": 2}
        == (state_of(run, 6)[1]["progress"])
    )
    assert "[INFO] Notice: going on with other clips, from the start of their list:" in log_of(run)
    expected = state_of(run, 6)[0]
    # Broken off and started again by the same command, it keeps its place.
    forget_after(run, 5)
    run_training(tiny(other, *words), run)
    assert differences(state_of(run, 6)[0], expected) == []


def test_made_up_clips_are_not_those_of_a_folder(runs: Tiny, plain: Path):
    runs.copied(plain, "changed")
    made_up = ("dataloader_train.dataset.kind=mock_video", "dataloader_train.dataset.dataset_dir=")
    with pytest.raises(DataError, match="they were those of a folder and are made up"):
        runs.run("changed", *LONGER, *made_up)

    runs.run("mock", *STEPS_ONLY, *made_up)
    with pytest.raises(DataError, match="they were made up and are those of a folder"):
        runs.run("mock", *LONGER)


@pytest.mark.slow
def test_a_run_on_made_up_clips_resumes_in_bits(runs: Tiny):
    words = (*WITHOUT_VALIDATION, "dataloader_train.dataset.kind=mock_video")
    unbroken = runs.run("unbroken", *words)
    forget_after(runs.copied(unbroken, "resumed"), 2)
    equal_runs(runs.run("resumed", *words), unbroken)


def test_another_text_encoder_is_refused(runs: Tiny, plain: Path):
    runs.copied(plain, "other")
    text = "model.config.pipe_config.text_encoder.builtin.num_tokens=16"
    with pytest.raises(CheckpointError, match="was trained with the text encoder 'builtin") as no:
        runs.run("other", *LONGER, text)
    assert "Give the run another job.name, or go back to the former" in str(no.value)


def test_another_tokenizer_is_refused(runs: Tiny, plain: Path, monkeypatch: pytest.MonkeyPatch):
    from worldtune.models.builtin_tokenizer import BuiltinTokenizer

    runs.copied(plain, "other")
    monkeypatch.setattr(BuiltinTokenizer, "fingerprint", lambda tokenizer: "another")
    with pytest.raises(CheckpointError, match=r"with the tokenizer 'builtin.*\(another\)"):
        runs.run("other", *LONGER)


def test_another_network_is_refused(runs: Tiny, plain: Path):
    runs.copied(plain, "other")
    with pytest.raises(CheckpointError, match="the saved masters do not belong to this network"):
        runs.run("other", *LONGER, "model.config.pipe_config.net.num_blocks=2")


# --- parts that are not taken over ---


def left_out(runs: Tiny, plain: Path, *keys: str) -> Path:
    runs.copied(plain, "-".join(keys))
    word = f"checkpoint.keys_not_to_resume=[{','.join(keys)}]"
    return runs.run("-".join(keys), *LONGER, word, "checkpoint.save_iter=1")


def test_the_optimizer_can_start_anew(runs: Tiny, plain: Path):
    run = left_out(runs, plain, "optim")

    assert state_of(run, 5)[1]["optimizer_steps"] == 1
    assert state_of(run, 5)[1]["progress"]["schedule_step"] == 5
    assert metrics(run)[-1]["learning_rate"] == pytest.approx(2e-3)


@pytest.mark.slow
def test_the_schedule_can_start_anew(runs: Tiny, plain: Path):
    run = left_out(runs, plain, "scheduler")

    assert state_of(run, 5)[1]["progress"]["schedule_step"] == 1
    assert state_of(run, 5)[1]["optimizer_steps"] == 5
    assert metrics(run)[4]["learning_rate"] == pytest.approx(2e-3 * 1e-6)


def test_the_count_of_steps_can_start_anew_and_does_so_once(runs: Tiny, plain: Path):
    """A scheduler that restarts the command must not begin from 0 for ever."""
    run = left_out(runs, plain, "trainer")
    told = log_of(run)
    assert "Resuming from iteration 0" in told
    assert state_of(run, 6)[1]["optimizer_steps"] == 4 + 6

    forget_after(run, 5)
    word = "checkpoint.keys_not_to_resume=[trainer]"
    runs.run("trainer", *LONGER, word, "checkpoint.save_iter=1")
    told = log_of(run)
    assert "Resuming from iteration 5" in told
    assert (
        "[INFO] Notice: checkpoint.keys_not_to_resume=[trainer] was followed when this run began; "
        "its own state is taken whole" in told
    )


def test_a_part_that_is_none_is_refused(runs: Tiny, plain: Path):
    runs.copied(plain, "unknown")
    with pytest.raises(RecipeError) as refused:
        runs.run("unknown", *LONGER, "checkpoint.keys_not_to_resume=[optimizer,model]")
    assert str(refused.value) == (
        "checkpoint.keys_not_to_resume names optimizer, model; the parts of a state are optim, "
        "scheduler, trainer, clips"
    )


@pytest.mark.slow
def test_an_average_that_is_asked_for_later_starts_from_the_weights(runs: Tiny):
    off = "model.config.pipe_config.ema.enabled=False"
    run = runs.run("later", *STEPS_ONLY, off)
    assert "average" not in state_of(run, 4)[0]
    runs.run("later", *LONGER)

    assert "[WARNING] The state holds no average; it starts anew from the state's" in log_of(run)
    assert "average" in state_of(run, 6)[0]


# --- another's state, or a file of weights ---


def borrowed(runs: Tiny, path: Path, *words: str) -> Path:
    """A new run of one step at load_path, at a rate that moves nothing."""
    still = ("trainer.max_iter=1", "optimizer.lr=1e-30", "checkpoint.native=none")
    load = f"checkpoint.load_path={path}"
    return runs.run("borrowed", *WITHOUT_VALIDATION, *still, load, *words)


def section(run: Path, iteration: int, name: str) -> dict[str, dict[str, torch.Tensor]]:
    return {"": dict(state_of(run, iteration)[0][name])}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "part",
    [
        "",
        pytest.param("checkpoints/state", marks=SLOW),
        pytest.param("checkpoints/state/iter_000000004", marks=SLOW),
    ],
)
def test_load_path_takes_the_weights_of_a_run(runs: Tiny, plain: Path, part: str):
    run = borrowed(runs, plain / part)

    assert differences(section(run, 1, "masters"), section(plain, 4, "masters")) == []
    assert state_of(run, 1)[1]["progress"]["next_index"] == 1
    assert state_of(run, 1)[1]["optimizer_steps"] == 1
    assert f"Starting on the weights of {plain / part}" in log_of(run)


def test_load_ema_to_reg_takes_the_average(runs: Tiny, plain: Path):
    run = borrowed(runs, plain, "checkpoint.load_ema_to_reg=True")

    assert differences(section(run, 1, "masters"), section(plain, 4, "average")) == []


def test_load_path_takes_a_published_file(runs: Tiny, trained: Path):
    run = borrowed(runs, trained)

    weights = torch.load(trained, weights_only=True)
    for name, tensor in section(run, 1, "masters")[""].items():
        assert torch.equal(tensor, weights[f"net.{name}"].float()), name
    assert "[INFO] Weights: " in log_of(run)
    assert f"[INFO] Training from scratch, on the weights of {trained}" in log_of(run)


@pytest.mark.slow
def test_load_ema_to_reg_takes_the_average_of_a_published_file(runs: Tiny, trained: Path):
    run = borrowed(runs, trained, "checkpoint.load_ema_to_reg=True")

    weights = torch.load(trained, weights_only=True)
    for name, tensor in section(run, 1, "masters")[""].items():
        assert torch.equal(tensor, weights[f"net_ema.{name}"]), name


def test_load_training_state_goes_on_where_the_other_run_was(runs: Tiny, plain: Path):
    words = (f"checkpoint.load_path={plain}", "checkpoint.load_training_state=True")
    other = runs.run("other", *LONGER, *words)

    assert f"Taking over iteration 4 of {plain}" in log_of(other)
    runs.copied(plain, "longer")
    longer = runs.run("longer", *LONGER)
    assert differences(state_of(other, 6)[0], state_of(longer, 6)[0]) == []


@pytest.mark.slow
def test_load_training_state_can_go_on_from_the_average(runs: Tiny, plain: Path):
    words = ("checkpoint.load_training_state=True", "checkpoint.load_ema_to_reg=True")
    run = borrowed(runs, plain, *words, "trainer.max_iter=5")

    assert differences(section(run, 5, "masters"), section(plain, 4, "average")) == []
    assert state_of(run, 5)[1]["optimizer_steps"] == 5


def test_only_load_scheduler_state_takes_the_schedules_place(runs: Tiny, plain: Path):
    run = borrowed(runs, plain, "checkpoint.only_load_scheduler_state=True")

    told = state_of(run, 1)[1]
    assert told["progress"]["schedule_step"] == 5
    assert told["progress"]["iteration"] == told["optimizer_steps"] == 1


def test_an_average_that_is_not_there_is_told(runs: Tiny):
    off = "model.config.pipe_config.ema.enabled=False"
    run = runs.run("without", *STEPS_ONLY, off)
    with pytest.raises(CheckpointError, match="asks for the average, and the state holds none"):
        borrowed(runs, run, "checkpoint.load_ema_to_reg=True")


def test_a_load_path_that_is_not_there_is_told(runs: Tiny):
    with pytest.raises(CheckpointError, match=r"load_path is .*nowhere, which does not exist"):
        borrowed(runs, runs.folder / "nowhere")


def test_a_load_path_without_a_state_is_told(runs: Tiny):
    with pytest.raises(CheckpointError, match="a folder that holds no training state; expected a"):
        borrowed(runs, runs.clips)


@pytest.mark.parametrize("key", ["load_training_state", "only_load_scheduler_state"])
def test_a_training_state_is_not_expected_of_a_file_of_weights(runs: Tiny, plain: Path, key: str):
    file = plain / "checkpoints/model/iter_000000004.pt"
    with pytest.raises(CheckpointError) as refused:
        borrowed(runs, file, f"checkpoint.{key}=True")
    assert str(refused.value) == (
        f"checkpoint.{key} is True and checkpoint.load_path is {file}, a file of weights; expected "
        f"the folder of a run or of a state of it, or checkpoint.{key}=False to take the weights "
        "alone"
    )


def test_weights_that_are_not_there_are_told_before_clips_are_read(runs: Tiny):
    words = (
        "model.config.fresh_weights=False",
        "model.config.model_manager_config.dit_path=checkpoints/nvidia/Some-Model/model.pt",
        "dataloader_train.dataset.dataset_dir=nowhere",
    )
    with pytest.raises(CheckpointError, match=r"hf download nvidia/Some-Model model\.pt") as told:
        runs.run("missing", *words)
    assert told.value.exit_status == ExitStatus.MISTAKE


# --- published files ---


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """All four files of iterations 2 and 4, and no state of ours."""
    runs = Tiny(tmp_path_factory.mktemp("theirs"), clips)
    run = runs.run("theirs", *WITHOUT_VALIDATION, "checkpoint.native=all")
    shutil.rmtree(states(run))
    (run / "stdout.log").unlink()
    return run


def test_a_run_of_the_publishers_trainer_goes_on_with_a_notice(runs: Tiny, theirs: Path):
    run = runs.copied(theirs, "theirs")
    runs.run("theirs", *LONGER, "optimizer.lr=1e-30")

    told = log_of(run)
    file = run / "checkpoints/model/iter_000000004.pt"
    assert (
        f"[INFO] Notice: resuming from iteration 4 of {file}, which does not carry: float32 "
        "masters (weights were rounded to bfloat16 when they were saved); random states and the "
        "data position" in told
    )
    assert state_of(run, 6)[1]["progress"] == {
        "iteration": 6,
        "schedule_step": 6,
        "next_index": 6,
        "skipped": 0,
        "skipped_in_a_row": 0,
    }
    found = find_native(theirs / "checkpoints")
    assert found is not None
    weights = torch.load(found.model, weights_only=True)
    for name, tensor in section(run, 6, "masters")[""].items():
        assert torch.equal(tensor, weights[f"net.{name}"].float()), name


def test_the_average_goes_on_from_the_published_file(runs: Tiny, theirs: Path):
    run = runs.copied(theirs, "theirs")
    weights = torch.load(run / "checkpoints/model/iter_000000004.pt", weights_only=True)
    from worldtune.train import resume

    progress = {}
    begin = resume._go_on_from_native

    def spied(native, learner, data, recipe):
        result = begin(native, learner, data, recipe)
        progress.update({n: v.clone() for n, v in learner.average.values.items()})
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resume, "_go_on_from_native", spied)
        runs.run("theirs", *LONGER)

    assert progress
    assert all(torch.equal(v, weights[f"net_ema.{n}"]) for n, v in progress.items())


@pytest.mark.slow
def test_a_pointer_to_a_file_that_is_not_there_is_told(runs: Tiny, theirs: Path):
    run = runs.copied(theirs, "theirs")
    (run / "checkpoints/latest_checkpoint.txt").write_text("iter_000000009.pt\n")
    runs.run("theirs", *LONGER)

    told = log_of(run)
    assert "names 'iter_000000009.pt', which is not in model/." in told
    assert "resuming from iteration 4" in told

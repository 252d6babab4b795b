"""The training state: there and back in bits, whole or not at all, and damage is found."""

import contextlib
import errno
import itertools
import json
import multiprocessing
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from tests.checkpoint.disks import PowerCut, QuickDisk, TracingDisk, cut_at, fails_at, full_from
from worldtune.checkpoint.disk import check_space, free_space
from worldtune.checkpoint.manifest import read_manifest
from worldtune.checkpoint.run_lock import lock_run
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.state import Slice, read_state, save_size, write_state
from worldtune.checkpoint.state_folder import clean_leftovers, find_latest, list_states
from worldtune.errors import CheckpointError, RunError

ANY_FOLDER = [HealthCheck.function_scoped_fixture]
SHARD = "shard_00000_of_00001.safetensors"


def sections(seed: int = 0) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    master = torch.randn(6, 4, generator=generator)
    return {
        "weights": {"blocks.0.weight": master.bfloat16(), "norm.weight": torch.ones(3)},
        "masters": {"blocks.0.weight": master},
        "exp_avg": {"blocks.0.weight": torch.randn(6, 4, generator=generator)},
        "random": {"torch": torch.get_rng_state()},
    }


INFO = {"schedule": {"step": 5}, "data": {"position": 40}, "rate": 4.32e-5, "seen": ["a", None]}


def save(folder: Path, iteration: int, seed: int | None = None, **words) -> None:
    words.setdefault("disk", QuickDisk())
    write_state(folder, iteration, sections(iteration if seed is None else seed), INFO, **words)


def equal(one: dict[str, dict[str, Tensor]], other: dict[str, dict[str, Tensor]]) -> bool:
    return one.keys() == other.keys() and all(
        one[part].keys() == other[part].keys()
        and all(
            one[part][name].dtype == other[part][name].dtype
            and torch.equal(one[part][name], other[part][name])
            for name in one[part]
        )
        for part in one
    )


def latest(folder: Path) -> tuple[int | None, str]:
    found = find_latest(folder)
    return (found.state.iteration if found.state else None), "\n".join(found.warnings)


def test_a_state_comes_back_in_bits_with_its_information(tmp_path: Path):
    ref = write_state(tmp_path / "state", 500, sections(), INFO)
    assert ref.path == tmp_path / "state" / "iter_000000500"
    found = find_latest(tmp_path / "state")
    assert found.state == ref
    assert found.warnings == ()
    back, info = read_state(ref)
    assert equal(back, sections())
    assert info == INFO


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DTYPES = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.float64]


@st.composite
def any_sections(draw: st.DrawFn) -> dict[str, dict[str, Tensor]]:
    tensors = st.builds(
        lambda dtype, shape, seed: torch.randint(
            0, 2, shape, generator=torch.Generator().manual_seed(seed)
        ).to(dtype),
        st.sampled_from(DTYPES),
        st.lists(st.integers(0, 4), max_size=3),
        st.integers(0, 99),
    )
    names = st.text("abc./_0", min_size=1, max_size=6)
    return draw(
        st.dictionaries(
            st.text("abc_", min_size=1, max_size=5),
            st.dictionaries(names, tensors, min_size=1, max_size=4),
            max_size=4,
        )
    )


@settings(max_examples=25, deadline=None, suppress_health_check=ANY_FOLDER)
@given(parts=any_sections(), info=st.dictionaries(st.text(), JSON, max_size=4))
def test_there_and_back_for_any_tensors_and_information(tmp_path: Path, parts, info):
    ref = write_state(tmp_path, 1, parts, info, disk=QuickDisk())
    back, told = read_state(ref.path)
    assert equal(back, parts)
    assert told == info
    assert sum(f.stat().st_size for f in ref.path.iterdir()) <= save_size(parts) + 2 * len(
        str(info)
    )


def test_the_shard_is_read_by_the_safetensors_library(tmp_path: Path):
    ref = write_state(tmp_path, 1, sections(), INFO)
    tensors = load_file(ref.path / SHARD)
    assert torch.equal(tensors["masters/blocks.0.weight"], sections()["masters"]["blocks.0.weight"])
    assert len(tensors) == 5


def test_a_transposed_or_sliced_tensor_is_saved_as_it_looks(tmp_path: Path):
    base = torch.arange(24.0).view(4, 6)
    parts = {"weights": {"t": base.t(), "s": base[1:3, ::2], "e": base[:1].expand(5, 6)}}
    assert equal(read_state(write_state(tmp_path, 1, parts, {}))[0], parts)


def test_writing_into_what_was_read_leaves_the_state_whole(tmp_path: Path):
    ref = write_state(tmp_path, 1, sections(), INFO)
    back, _ = read_state(ref)
    back["masters"]["blocks.0.weight"].zero_()
    assert equal(read_state(ref.path)[0], sections())


def test_the_manifest_is_json_that_says_shapes_and_parts(tmp_path: Path):
    ref = write_state(tmp_path, 7, sections(), INFO)
    told = json.loads((ref.path / "manifest.json").read_text())
    assert told["iteration"] == 7
    assert told["info"] == INFO
    assert told["tensors"]["weights/blocks.0.weight"] == {"shape": [6, 4], "dtype": "bfloat16"}
    (shard,) = told["shards"]
    assert shard["file"] == SHARD
    assert shard["nbytes"] == (ref.path / SHARD).stat().st_size
    part = shard["tensors"]["weights/blocks.0.weight"]
    assert (part["offsets"], part["sizes"]) == ([0, 0], [6, 4])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, torch.ones(1)])
def test_information_that_is_no_json_is_refused_before_anything_is_written(tmp_path: Path, bad):
    with pytest.raises((ValueError, TypeError)):
        write_state(tmp_path / "state", 1, sections(), {"x": bad})
    assert not (tmp_path / "state").exists()


# --- order of trust, damage ---


def test_the_pointer_names_the_state_that_was_saved_last(tmp_path: Path):
    for iteration in (100, 200):
        save(tmp_path, iteration)
    assert (tmp_path / "latest_state.txt").read_text() == "iter_000000200\n"
    assert latest(tmp_path) == (200, "")


def test_an_empty_or_absent_folder_has_no_state(tmp_path: Path):
    assert latest(tmp_path) == (None, "")
    assert latest(tmp_path / "none") == (None, "")


def damage_data(state: Path) -> None:
    content = bytearray((state / SHARD).read_bytes())
    content[-1] ^= 1
    (state / SHARD).write_bytes(content)


def damage_header(state: Path) -> None:
    content = bytearray((state / SHARD).read_bytes())
    content[content.index(b"norm")] ^= 1
    (state / SHARD).write_bytes(content)


def damage_manifest(state: Path) -> None:
    manifest = state / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"position": 40', '"position": 41'))


def cut_shard(state: Path) -> None:
    content = (state / SHARD).read_bytes()
    (state / SHARD).write_bytes(content[: len(content) // 2])


def other_shard(state: Path) -> None:
    (state / SHARD).write_bytes((state.parent / "iter_000000100" / SHARD).read_bytes())


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of data": (damage_data, r"data of '.*' has checksum \w+, the manifest says"),
    "a bit of the header": (damage_header, "header has another checksum"),
    "a number in the manifest": (damage_manifest, "checksum does not fit its content"),
    "half a shard": (cut_shard, r"has 2,\d+ bytes; the manifest says 5,\d+ bytes"),
    "no shard": (lambda state: (state / SHARD).unlink(), f"{SHARD} is not there"),
    "no manifest": (lambda s: (s / "manifest.json").unlink(), "save was not finished"),
    "no JSON": (lambda s: (s / "manifest.json").write_text("{"), "it is no JSON"),
    "another JSON": (lambda s: (s / "manifest.json").write_text("[1]"), "not the manifest of"),
    "the shard of another state": (other_shard, "data of '.*' has checksum"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_state_is_told_and_the_one_before_it_used(tmp_path: Path, case: str):
    save(tmp_path, 100)
    save(tmp_path, 200)
    damage, reason = DAMAGE[case]
    damage(tmp_path / "iter_000000200")
    iteration, warnings = latest(tmp_path)
    assert iteration == 100
    assert "iter_000000200 is passed over" in warnings
    with pytest.raises(CheckpointError, match=reason):
        read_state(tmp_path / "iter_000000200")
    assert "iter_000000100 is whole and is used" in warnings


@settings(max_examples=60, deadline=None, suppress_health_check=ANY_FOLDER)
@given(
    file=st.sampled_from([SHARD, "manifest.json"]), at=st.floats(0, 0.9999), bit=st.integers(0, 7)
)
def test_no_flipped_bit_goes_unseen(tmp_path: Path, file: str, at: float, bit: int):
    """A bit of white space or of a word's case may leave the same JSON: then nothing is lost."""
    ref = write_state(tmp_path, 1, sections(), INFO, disk=QuickDisk())
    content = bytearray((ref.path / file).read_bytes())
    content[int(len(content) * at)] ^= 1 << bit
    (ref.path / file).write_bytes(content)
    try:
        back, info = read_state(ref.path)
    except CheckpointError:
        return
    assert file == "manifest.json"
    assert equal(back, sections())
    assert info == INFO


def test_when_no_state_is_whole_that_is_told(tmp_path: Path):
    save(tmp_path, 100)
    damage_data(tmp_path / "iter_000000100")
    iteration, warnings = latest(tmp_path)
    assert iteration is None
    assert "No state in" in warnings


def test_a_state_of_a_later_program_is_told(tmp_path: Path):
    ref = write_state(tmp_path, 1, sections(), INFO)
    manifest = ref.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(CheckpointError, match="of version 2; this program reads 1"):
        read_state(ref.path)


def test_without_a_pointer_the_newest_whole_state_is_used_with_a_warning(tmp_path: Path):
    save(tmp_path, 100)
    save(tmp_path, 200)
    (tmp_path / "latest_state.txt").unlink()
    iteration, warnings = latest(tmp_path)
    assert iteration == 200
    assert "latest_state.txt is not there" in warnings
    (tmp_path / "latest_state.txt").write_text("garbage")
    assert "names no state ('garbage')" in latest(tmp_path)[1]


def test_a_pointer_to_a_removed_state_falls_back_to_the_one_before(tmp_path: Path):
    save(tmp_path, 100)
    save(tmp_path, 200)
    (tmp_path / "latest_state.txt").write_text("iter_000000150\n")
    iteration, warnings = latest(tmp_path)
    assert iteration == 100, "what is newer than the pointer belongs to a run gone back behind"
    assert "names it and it is not there" in warnings


# --- whole or not at all ---


def calls_of_a_save(folder: Path, **words) -> int:
    disk = TracingDisk()
    save(folder, 200, disk=disk, **words)
    return len(disk.trace)


FAILURES = {
    "no space at one call": lambda number: fails_at(number, errno.ENOSPC),
    "an error of the device at one call": lambda number: fails_at(number, errno.EIO),
    "no space from one call on": full_from,
    "no power from one call on": cut_at,
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("again", [False, True], ids=["a new state", "the same iteration again"])
def test_a_save_that_fails_at_any_call_leaves_a_whole_state(
    tmp_path: Path, failure: str, again: bool
):
    before, after = (200, 200) if again else (100, 200)
    save(tmp_path / "saved", before, seed=1)
    shutil.copytree(tmp_path / "saved", tmp_path / "scratch")
    calls = calls_of_a_save(tmp_path / "scratch", keep_last=1)
    assert calls > 12
    for number in range(calls):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "saved", folder)
        disk = TracingDisk(FAILURES[failure](number))
        with contextlib.suppress(RunError, CheckpointError, PowerCut):
            save(folder, after, seed=2, keep_last=1, disk=disk)
        found = find_latest(folder)
        assert found.state is not None, (number, disk.trace[-1], found.warnings)
        back, _ = read_state(found.state)
        if found.state.iteration == 100 or not equal(back, sections(2)):
            assert equal(back, sections(1)), (number, disk.trace[-1])
        # The next start cleans up and goes on.
        save(folder, 300, seed=3, keep_last=1)
        assert latest(folder) == (300, "")
        assert sorted(path.name for path in folder.iterdir()) == [
            ".lock",
            "iter_000000300",
            "latest_state.txt",
        ]


def test_a_full_disk_is_told_with_the_bytes_needed_and_free(tmp_path: Path):
    save(tmp_path, 100)
    disk = TracingDisk(full_from(4))
    with pytest.raises(
        RunError,
        match=r"iteration 200 could not be saved: No space left.*needs [\d,]+ bytes.*GiB are free",
    ):
        save(tmp_path, 200, disk=disk)
    assert latest(tmp_path) == (100, "")
    assert not list(tmp_path.glob("*.tmp"))


def test_a_limit_on_the_size_of_files_stops_a_save_with_a_message(tmp_path: Path):
    save(tmp_path, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunError, match="File too large"):
            save(tmp_path, 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert latest(tmp_path) == (100, "")


def test_a_read_only_folder_is_a_mistake_with_a_next_step(tmp_path: Path):
    disk = TracingDisk(fails_at(0, errno.EROFS))
    with pytest.raises(CheckpointError, match="may write, or choose another output folder"):
        save(tmp_path, 100, disk=disk)


def test_a_file_in_place_of_the_folder_is_a_mistake(tmp_path: Path):
    (tmp_path / "state").write_text("")
    with pytest.raises(CheckpointError, match="choose another output folder"):
        save(tmp_path / "state", 100)


def test_all_is_on_the_disk_before_it_gets_its_name(tmp_path: Path):
    disk = TracingDisk()
    save(tmp_path, 200, disk=disk)
    trace = disk.trace
    published = trace.index(("rename", "iter_000000200.tmp iter_000000200"))
    for file in (SHARD, "manifest.json"):
        written = max(n for n, row in enumerate(trace) if row == ("write", file))
        assert written < trace.index(("sync", file)) < published
    assert trace.index(("create", "manifest.json")) > trace.index(("sync", SHARD))
    assert trace[published - 1] == ("sync", "folder")
    pointed = trace.index(("rename", "latest_state.txt.tmp latest_state.txt"))
    assert ("sync", "folder") in trace[published:pointed]
    assert trace.index(("sync", "latest_state.txt.tmp")) < pointed


def test_old_states_are_removed_only_after_the_pointer_has_moved(tmp_path: Path):
    save(tmp_path, 100)
    disk = TracingDisk()
    save(tmp_path, 200, keep_last=1, disk=disk)
    pointed = disk.trace.index(("rename", "latest_state.txt.tmp latest_state.txt"))
    removed = disk.trace.index(("rename", "iter_000000100 iter_000000100.removed.tmp"))
    assert pointed < removed


@pytest.mark.parametrize("keep", [1, 2, 3, None])
def test_keep_last_counts_the_states_that_stay(tmp_path: Path, keep: int | None):
    for iteration in (100, 200, 300, 400):
        save(tmp_path, iteration, keep_last=keep)
    left = [path.name for path in list_states(tmp_path)]
    assert left == [f"iter_{n:09d}" for n in (100, 200, 300, 400)[-(keep or 4) :]]


def test_a_state_that_is_a_link_elsewhere_is_read_and_only_the_link_removed(tmp_path: Path):
    save(tmp_path / "state", 100)
    moved = tmp_path / "archive"
    (tmp_path / "state" / "iter_000000100").rename(moved)
    (tmp_path / "state" / "iter_000000100").symlink_to(moved)
    assert latest(tmp_path / "state") == (100, "")
    save(tmp_path / "state", 200, keep_last=1)
    assert [path.name for path in list_states(tmp_path / "state")] == ["iter_000000200"]
    assert (moved / "manifest.json").exists()


def test_a_linked_folder_of_states_is_written_through(tmp_path: Path):
    (tmp_path / "big_disk").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "big_disk")
    save(tmp_path / "state", 100, keep_last=1)
    save(tmp_path / "state", 200, keep_last=1)
    assert latest(tmp_path / "big_disk") == (200, "")


def test_leftovers_of_an_interrupted_save_are_cleaned_and_told(tmp_path: Path):
    save(tmp_path, 100)
    (tmp_path / "iter_000000200.tmp").mkdir()
    (tmp_path / "latest_state.txt.tmp").touch()
    (tmp_path / "notes.tmp").touch()
    cleaned = clean_leftovers(tmp_path, TracingDisk())
    assert cleaned == ("iter_000000200.tmp", "latest_state.txt.tmp")
    assert (tmp_path / "notes.tmp").exists(), "what is not ours stays"


def test_a_run_that_starts_clears_what_the_one_before_left(tmp_path: Path):
    save(tmp_path, 100)
    (tmp_path / "iter_000000200.tmp").mkdir()
    (tmp_path / "iter_000000100").rename(tmp_path / "iter_000000100.replaced")
    assert latest(tmp_path) == (100, ""), "found before anything is put right"
    with lock_run(tmp_path):
        assert [path.name for path in sorted(tmp_path.glob("iter_*"))] == ["iter_000000100"]
    assert latest(tmp_path) == (100, "")


def _save_for_ever(folder: str) -> None:
    torch.set_num_threads(1)
    for iteration in itertools.count(1):
        save(Path(folder), iteration, keep_last=2, disk=None)


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_state(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    before = 0
    for number in range(20):
        process = context.Process(target=_save_for_ever, args=(str(tmp_path),))
        process.start()
        process.join(0.1 + 0.013 * number)
        process.kill()
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        state = find_latest(tmp_path).state
        if state is not None:
            assert equal(read_state(state)[0], sections(state.iteration))
            before = state.iteration
        assert state is not None or before == 0


# --- one writer ---


def _hold(folder: str, ready, done) -> None:
    with lock_run(Path(folder)):
        ready.set()
        done.wait(20)


def test_a_second_process_that_saves_into_the_run_is_told_who_holds_it(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    process.start()
    try:
        assert ready.wait(20)
        with pytest.raises(
            CheckpointError, match=rf"written by another process \(process {process.pid} on"
        ):
            save(tmp_path, 100)
        with pytest.raises(CheckpointError, match=r"job\.name"), lock_run(tmp_path):
            pass
    finally:
        done.set()
        process.join(20)
    save(tmp_path, 100)
    assert latest(tmp_path) == (100, "")


def test_a_held_lock_serves_all_saves_of_a_run(tmp_path: Path):
    with lock_run(tmp_path) as lock:
        save(tmp_path, 100, lock=lock)
        save(tmp_path, 200, lock=lock)
        with pytest.raises(CheckpointError, match="another process"):
            save(tmp_path, 300)
    with pytest.raises(ValueError, match="the lock is on"):
        save(tmp_path / "other", 100, lock=lock)


# --- several processes ---


def save_together(folder: Path, parts, slices, disks=None) -> list[BaseException | None]:
    """Every rank of a save, each in a thread, and what each raised."""
    world = len(parts)
    barrier = threading.Barrier(world, timeout=20)

    def one(rank: int) -> BaseException | None:
        try:
            write_state(
                folder,
                100,
                parts[rank],
                INFO if rank == 0 else {},
                rank=rank,
                world=world,
                barrier=lambda: barrier.wait() and None,
                slices=slices[rank],
                disk=disks[rank] if disks else QuickDisk(),
            )
        except (RunError, CheckpointError, ValueError) as error:
            return error
        return None

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(one, range(world)))


def cut_rows(tensor: Tensor, at: list[int], key: str):
    """Parts and slices of one tensor cut along its first dim."""
    edges = [0, *at, len(tensor)]
    section, name = key.split("/", 1)
    parts, slices = [], []
    for low, high in itertools.pairwise(edges):
        parts.append({section: {name: tensor[low:high]}})
        slices.append({key: Slice((low, *[0] * (tensor.dim() - 1)), tuple(tensor.shape))})
    return parts, slices


@settings(max_examples=15, deadline=None, suppress_health_check=ANY_FOLDER)
@given(data=st.data())
def test_a_state_of_several_shards_gives_any_part_of_a_tensor(tmp_path: Path, data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    tensor = torch.randn(shape)
    edges = sorted(data.draw(st.sets(st.integers(1, 6), max_size=3)))
    parts, slices = cut_rows(tensor, [e for e in edges if e < shape[0]], "masters/w")
    parts[0]["weights"] = {"whole": torch.ones(2)}
    assert not any(save_together(tmp_path, parts, slices))
    back, info = read_state(tmp_path / "iter_000000100")
    assert torch.equal(back["masters"]["w"], tensor)
    assert info == INFO
    begin = [data.draw(st.integers(0, size - 1)) for size in shape]
    extent = [data.draw(st.integers(1, size - b)) for size, b in zip(shape, begin, strict=True)]
    window = tuple(slice(b, b + n) for b, n in zip(begin, extent, strict=True))
    with SavedState(tmp_path / "iter_000000100") as state:
        assert torch.equal(state.read("masters/w", begin, extent), tensor[window])


def test_parts_that_overlap_or_leave_gaps_are_refused(tmp_path: Path):
    tensor = torch.randn(4, 2)
    parts, slices = cut_rows(tensor, [2], "masters/w")
    for wrong in (0, 1):
        slices[1]["masters/w"] = Slice((wrong, 0), (4, 2))
        errors = save_together(tmp_path / "a", parts, slices)
        assert "overlap" in str(errors[0])
        assert "another process failed" in str(errors[1])
    slices = [{"masters/w": Slice((0, 0), (5, 2))}, {"masters/w": Slice((2, 0), (5, 2))}]
    assert "hold 8 of 10 elements" in str(save_together(tmp_path / "b", parts, slices)[0])
    assert latest(tmp_path / "b") == (None, "")


def test_when_one_process_fails_none_waits_and_nothing_is_published(tmp_path: Path):
    save(tmp_path, 50)
    parts, slices = cut_rows(torch.randn(4, 2), [2], "masters/w")
    for failing, message in ((1, "process 1 of 2 wrote no part"), (0, "No space left")):
        disks = [TracingDisk(), TracingDisk()]
        disks[failing] = TracingDisk(full_from(0))
        errors = save_together(tmp_path, parts, slices, disks)
        assert message in str(errors[0])
        assert errors[1] is not None
        assert latest(tmp_path) == (50, "")


def test_several_processes_need_a_barrier(tmp_path: Path):
    with pytest.raises(ValueError, match="barrier"):
        save(tmp_path, 1, world=2)


# --- space ---


def test_the_size_of_a_save_is_known_before_it(tmp_path: Path):
    big = {"masters": {f"blocks.{n}.weight": torch.zeros(64, 64) for n in range(40)}}
    ref = write_state(tmp_path, 1, big, {})
    real = sum(file.stat().st_size for file in ref.path.iterdir())
    assert real <= save_size(big) <= real * 1.05


def test_too_little_space_is_told_before_the_run_begins(tmp_path: Path):
    free = free_space(tmp_path / "not" / "there" / "yet")
    check_space(tmp_path, free // 2)
    with pytest.raises(CheckpointError, match=r"needs .* GiB and .* GiB are free"):
        check_space(tmp_path, free * 2)


def test_the_manifest_of_a_state_is_read_without_its_data(tmp_path: Path):
    ref = write_state(tmp_path, 1, sections(), INFO)
    (ref.path / SHARD).unlink()
    assert read_manifest(ref.path).iteration == 1

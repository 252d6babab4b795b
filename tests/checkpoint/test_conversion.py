"""Conversions that are broken off, refused or repeated."""

import errno
import os
import re
from pathlib import Path

import pytest
import torch

from tests.checkpoint.disks import PowerCut, QuickDisk, TracingDisk, cut_at, full_from
from tests.checkpoint.published_files import Tensors, few_entries, same_tensors
from tests.reference.tensor_parallel import part_of
from worldtune.checkpoint import conversion, conversion_writing
from worldtune.checkpoint.disk import Disk
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.split import SplitReport, split_weights
from worldtune.errors import CheckpointError, RunError, StoppedEarlyError

SIZE = 2
NAMES = {"w_model_mp_0.pt", "w_model_mp_1.pt", "w.pt"}


@pytest.fixture(scope="module")
def whole() -> Tensors:
    return few_entries()


@pytest.fixture
def source(tmp_path: Path, whole: Tensors) -> Path:
    torch.save(whole, tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.fixture(autouse=True)
def _frequent_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every 4 kB were two gigabytes."""
    monkeypatch.setattr(conversion_writing, "NOTE_BYTES", 4_000)


def split(source: Path, disk: Disk | None = None, **options) -> SplitReport:
    return split_weights(source, SIZE, disk=disk or QuickDisk(), **options)


def check(source: Path, whole: Tensors) -> None:
    """The parts and the marker are there, whole, and nothing else is."""
    folder = source.parent / "checkpoints_tp"
    assert {file.name for file in folder.iterdir()} == NAMES
    for rank in range(SIZE):
        content = torch.load(folder / f"w_model_mp_{rank}.pt", weights_only=True)
        same_tensors(content["model"], part_of(whole, rank, SIZE))
    assert torch.load(folder / "w.pt")["iteration"] == 0


def finals(source: Path) -> set[str]:
    folder = source.parent / "checkpoints_tp"
    return {file.name for file in folder.iterdir()} & NAMES if folder.exists() else set()


def calls(source: Path) -> list[tuple[str, str]]:
    disk = TracingDisk()
    split(source, disk)
    for file in (source.parent / "checkpoints_tp").iterdir():
        file.unlink()
    return disk.trace


def test_a_break_at_any_moment_leaves_no_half_file_and_is_gone_on_from(source: Path, whole):
    trace = calls(source)
    first_rename = next(at for at, (call, _) in enumerate(trace) if call == "rename")
    moments = [*range(0, first_rename, 17), *range(first_rename - 2, len(trace))]
    went_on = 0
    for moment in moments:
        with pytest.raises(PowerCut):
            split(source, TracingDisk(cut_at(moment)))
        # The marker comes last: where it is, the parts are.
        assert moment >= first_rename or not finals(source)
        assert "w.pt" not in finals(source) or finals(source) == NAMES
        went_on += split(source).converted.went_on
        check(source, whole)
        for file in (source.parent / "checkpoints_tp").iterdir():
            file.unlink()
    assert went_on > len(moments) // 2


def test_what_is_on_the_disk_is_not_read_again_after_a_break(source: Path, whole, monkeypatch):
    trace = calls(source)
    last_write = max(at for at, (call, _) in enumerate(trace) if call == "write")
    with pytest.raises(PowerCut):
        split(source, TracingDisk(cut_at(last_write - 12)), verify=False)

    read: list[str] = []
    original = WeightsFile.read

    def counting(self: WeightsFile, name: str, **words) -> torch.Tensor:
        read.append(name)
        return original(self, name, **words)

    monkeypatch.setattr(WeightsFile, "read", counting)
    report = split(source, verify=False)
    monkeypatch.undo()
    assert report.converted.went_on
    assert 0 < len(read) < len(whole) // 2
    check(source, whole)


def test_every_tensor_is_read_once_for_all_parts(source: Path, whole, monkeypatch):
    read: list[str] = []
    original = WeightsFile.read

    def counting(self: WeightsFile, name: str, **words) -> torch.Tensor:
        read.append(name)
        return original(self, name, **words)

    monkeypatch.setattr(WeightsFile, "read", counting)
    split(source, verify=False)
    assert sorted(read) == sorted(whole)


def test_a_changed_source_is_begun_anew(source: Path, whole):
    trace = calls(source)
    with pytest.raises(PowerCut):
        split(source, TracingDisk(cut_at(len(trace) // 2)))
    other = {name: tensor + 1 for name, tensor in whole.items()}
    torch.save(other, source)

    assert not split(source).converted.went_on
    check(source, other)


def test_a_temporary_file_that_was_shortened_is_begun_anew(source: Path, whole):
    trace = calls(source)
    with pytest.raises(PowerCut):
        split(source, TracingDisk(cut_at(len(trace) // 2)))
    os.truncate(source.parent / "checkpoints_tp" / "w_model_mp_1.pt.tmp", 50)

    assert not split(source).converted.went_on
    check(source, whole)


def test_a_line_of_the_journal_that_was_broken_off_is_left_away(source: Path, whole):
    trace = calls(source)
    with pytest.raises(PowerCut):
        split(source, TracingDisk(cut_at(len(trace) // 2)))
    journal = source.parent / "checkpoints_tp" / "w.split.journal"
    journal.write_bytes(journal.read_bytes()[:-40])

    split(source)
    check(source, whole)


def test_on_a_full_disk_needed_and_free_are_told_and_the_next_run_goes_on(source: Path, whole):
    trace = calls(source)
    for moment in (0, 3, len(trace) // 2, len(trace) - 11):
        with pytest.raises(RunError, match=r"2 parts of w.pt.*No space left.*needs.*are free"):
            split(source, TracingDisk(full_from(moment)))
        assert not finals(source)
        split(source)
        check(source, whole)
        for file in (source.parent / "checkpoints_tp").iterdir():
            file.unlink()


def test_room_is_asked_for_before_anything_is_written(source: Path, monkeypatch):
    monkeypatch.setattr(conversion, "free_space", lambda folder: 1_000)
    disk = TracingDisk()
    with pytest.raises(CheckpointError, match=r"need \d\d,\d{3} bytes in .*1,000 bytes are"):
        split(source, disk)
    assert not [name for call, name in disk.trace if call == "create"]
    assert list((source.parent / "checkpoints_tp").iterdir()) == []


def test_ctrl_c_stops_with_a_word_and_the_next_run_goes_on(source: Path, whole):
    def interrupt(at: int, call: str) -> None:
        if at == 30:
            raise KeyboardInterrupt

    with pytest.raises(StoppedEarlyError, match=r"no final file was touched.*goes on from here"):
        split(source, TracingDisk(interrupt))
    assert not finals(source)
    split(source)
    check(source, whole)


def test_what_reads_back_differently_is_not_given_a_name(source: Path, whole):
    class Rotten(QuickDisk):
        def sync(self, handle: int) -> None:
            """Change a byte of the data of part 1, once it is written."""
            path = source.parent / "checkpoints_tp" / "w_model_mp_1.pt.tmp"
            if path.exists() and path.stat().st_size > 20_000:
                with path.open("r+b") as stream:
                    stream.seek(15_000)
                    stream.write(b"x")

    with pytest.raises(RunError, match=r"read back differently.*\n.*mp_1.pt.tmp: .*checksum"):
        split(source, Rotten())
    assert not finals(source)
    assert not split(source).converted.went_on
    check(source, whole)


def test_equal_files_are_kept_as_they_are(source: Path, whole):
    split(source)
    folder = source.parent / "checkpoints_tp"
    (folder / "w_model_mp_1.pt").unlink()
    before = (folder / "w_model_mp_0.pt").stat().st_ino
    report = split(source)

    assert [path.name for path in report.converted.kept] == ["w_model_mp_0.pt", "w.pt"]
    assert (folder / "w_model_mp_0.pt").stat().st_ino == before
    check(source, whole)


@pytest.mark.parametrize("damage", ["other weights", "other list", "cut short", "marker"])
def test_a_different_file_is_overwritten_only_when_asked(source: Path, whole, damage: str):
    split(source)
    folder = source.parent / "checkpoints_tp"
    path = folder / ("w.pt" if damage == "marker" else "w_model_mp_1.pt")
    part = torch.load(path, weights_only=True)
    if damage == "other weights":
        part["model"]["net.affline_norm.weight"] += 1
    elif damage == "other list":
        del part["model"]["net.affline_norm.weight"]
    elif damage == "marker":
        part["iteration"] = 7
    torch.save(part, path)
    if damage == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    before = path.read_bytes()

    with pytest.raises(CheckpointError, match=rf"another content \(1\):\n  {re.escape(str(path))}"):
        split(source)
    assert path.read_bytes() == before
    assert {file.name for file in folder.iterdir()} == NAMES
    split(source, force=True)
    check(source, whole)


def test_damage_in_the_source_is_found(source: Path, whole):
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(data)

    for verify in (True, False):
        with pytest.raises(CheckpointError, match=r"w.pt is damaged: the data of"):
            split(source, verify=verify)
        assert not finals(source)


def test_two_processes_do_not_write_the_same_files(source: Path):
    """The second one is told while the first is at work."""
    told: list[str] = []

    def meanwhile(what: str, done: int, total: int) -> None:
        if not told:
            with pytest.raises(CheckpointError) as caught:
                split(source)
            told.append(str(caught.value))

    split(source, progress=meanwhile)
    assert "Another process is writing the same files" in told[0]


def test_a_folder_that_may_not_be_written_is_told(source: Path):
    (source.parent / "checkpoints_tp").write_text("a file in its place")
    with pytest.raises(CheckpointError, match=r"could not be saved: .*checkpoints_tp"):
        split(source)


def test_progress_tells_bytes_of_both_passes(source: Path, whole):
    told: dict[str, list[tuple[int, int]]] = {}
    split(source, progress=lambda what, *rest: told.setdefault(what, []).append(rest))

    total = sum(tensor.nbytes for tensor in whole.values())
    assert list(told) == ["write", "verify"]
    for counts in told.values():
        assert [total_told for _, total_told in counts] == [total] * len(whole)
        assert counts[-1][0] == total
        assert [done for done, _ in counts] == sorted(done for done, _ in counts)


def test_a_call_that_fails_for_another_reason_is_told_without_a_traceback(source: Path):
    def fail(at: int, call: str) -> None:
        if at == 40:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(RunError, match="Input/output error"):
        split(source, TracingDisk(fail))
    assert not finals(source)

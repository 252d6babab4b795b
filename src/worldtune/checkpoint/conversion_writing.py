"""Writing the temporary files of a conversion, side by side, from where it was broken off."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

from worldtune.checkpoint.bits import SideBySide
from worldtune.checkpoint.conversion_job import Job, Output, Progress, Step
from worldtune.checkpoint.conversion_journal import Journal
from worldtune.checkpoint.disk import Disk, DiskWriter
from worldtune.checkpoint.torch_writer import write_data

# After so many bytes the disk is waited for and the journal told.
NOTE_BYTES = 2 << 30


class _Writing:
    """An output while it is written."""

    def __init__(self, output: Output, sums: Sequence[int], disk: Disk) -> None:
        """Go on behind the tensors whose checksums are given."""
        self.output, self.sums, self.noted = output, list(sums), len(sums)
        self._disk = disk
        begin = output.layout.start(len(sums))
        if sums:
            self.handle = disk.reopen(output.temporary, begin)
        else:
            self.handle = disk.create(output.temporary)
            self._write(output.layout.head)

    def add(self, tensor: SideBySide, crc32: int | None) -> int:
        """Write the next tensor and give its checksum, which is worked out where not known."""
        writer = DiskWriter(self._disk, self.handle)
        number = len(self.sums)
        self.sums.append(write_data(writer, self.output.layout, number, tensor.chunks(), crc32))
        return self.sums[-1]

    def finish(self) -> None:
        """Write what follows the tensors."""
        assert len(self.sums) == len(self.output.layout.tensors)
        self._write(self.output.layout.tail(self.sums))

    def take_new_sums(self) -> list[int]:
        """Checksums since this was asked last."""
        new, self.noted = self.sums[self.noted :], len(self.sums)
        return new

    def _write(self, data: bytes | memoryview) -> None:
        DiskWriter(self._disk, self.handle).write(data)


def write_outputs(
    job: Job,
    wanted: Sequence[int],
    journal: Journal,
    *,
    verify_source: bool,
    disk: Disk,
    tell: Progress,
) -> bool:
    """Write the temporary files; say whether an earlier run had begun them."""
    if not _can_go_on(job, wanted, journal):
        journal.start_over()
    went_on = journal.done > 0
    total = sum(step.nbytes for step in job.steps)
    done = sum(step.nbytes for step in job.steps[: journal.done])
    with _open_all(job, wanted, journal, disk) as writing:
        unnoted = 0
        for number, step in enumerate(job.steps[journal.done :], journal.done + 1):
            unnoted += _do_step(step, writing, verify_source)
            done += step.nbytes
            tell("write", done, total)
            if unnoted >= NOTE_BYTES:
                _note(writing, number, journal, disk)
                unnoted = 0
        for one in writing.values():
            one.finish()
        _note(writing, len(job.steps), journal, disk)
    return went_on


def _can_go_on(job: Job, wanted: Sequence[int], journal: Journal) -> bool:
    """Whether every temporary file holds at least what the journal says of it."""
    for output in (job.outputs[number] for number in wanted):
        sums = journal.crc32.get(output.path.name, [])
        there = output.temporary.stat().st_size if output.temporary.exists() else -1
        number = job.outputs.index(output)
        due = sum(step.targets.count(number) for step in job.steps[: journal.done])
        if len(sums) != due or there < output.layout.start(due):
            return False
    return True


@contextlib.contextmanager
def _open_all(
    job: Job, wanted: Sequence[int], journal: Journal, disk: Disk
) -> Iterator[dict[int, _Writing]]:
    with contextlib.ExitStack() as opened:
        writing: dict[int, _Writing] = {}
        for number in wanted:
            output = job.outputs[number]
            one = _Writing(output, journal.crc32.get(output.path.name, []), disk)
            opened.callback(os.close, one.handle)
            writing[number] = one
        yield writing


def _do_step(step: Step, writing: Mapping[int, _Writing], verify_source: bool) -> int:
    """Write one step's tensor to those outputs that are written; give the bytes."""
    if not any(target in writing for target in step.targets):
        return 0
    count = 0
    sums: dict[int, int] = {}  # an output's tensor is often the same object as another's
    tensors = step.read(verify_source)
    for target, tensor in zip(step.targets, tensors, strict=True):
        if target in writing:
            sums[id(tensor)] = writing[target].add(tensor, sums.get(id(tensor)))
            count += tensor.nbytes
    step.release()
    return count


def _note(writing: Mapping[int, _Writing], done: int, journal: Journal, disk: Disk) -> None:
    for one in writing.values():
        disk.sync(one.handle)
    journal.note(done, {one.output.path.name: one.take_new_sums() for one in writing.values()})

"""Writing several files from the tensors of others, side by side and whole or not at all.

A job is a list of steps. Each step gives one tensor to each of some outputs; it is read
once, however many outputs it goes to. Outputs are written under temporary names, compared
with their source, and only then get their names, in the order of the list. What stands
there already and is equal is kept. After a break the next run goes on where this one was.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.conversion_compare import find_differences, leave_memory
from worldtune.checkpoint.conversion_job import Job, Output, Progress, files_of
from worldtune.checkpoint.conversion_journal import Journal, open_journal
from worldtune.checkpoint.conversion_writing import write_outputs
from worldtune.checkpoint.disk import (
    TEMPORARY,
    Disk,
    DiskWriter,
    free_space,
    gib,
    save_failed,
    sync_folder,
)
from worldtune.errors import CheckpointError, RunError, StoppedEarlyError


@dataclass(frozen=True)
class Converted:
    """Files written and files that were there already, bytes written, and seconds taken."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    nbytes: int
    went_on: bool
    write_s: float
    verify_s: float


def convert(
    job: Job,
    *,
    force: bool = False,
    verify: bool = True,
    disk: Disk | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Write all outputs of a job, or leave every final name as it was.

    CheckpointError where an output would overwrite a source, or (without force) a file with
    another content, where the disk has no room or may not be written, or where another
    process does the same; RunError where the disk fails or gives back other bytes than were
    written; StoppedEarlyError on Ctrl-C.
    """
    disk, tell = disk or Disk(), progress or (lambda what, done, total: None)
    try:
        _refuse_sources(job)
        disk.make_folder(job.folder)
        # With a verification to come, the source is not verified while it is written.
        key = f"{job.key} {'verified later' if verify else 'verified at once'}"
        with open_journal(job.folder / job.journal, key, disk) as journal:
            return _convert(job, journal, force=force, verify=verify, disk=disk, tell=tell)
    except OSError as fault:
        needed = sum(output.layout.nbytes for output in job.outputs)
        raise save_failed(job.what, job.folder, needed, fault) from fault
    except KeyboardInterrupt:
        raise StoppedEarlyError(
            f"Stopped. {job.what} are not finished, and no final file was touched. Start the "
            "same command again: it goes on from here."
        ) from None


def _convert(
    job: Job, journal: Journal, *, force: bool, verify: bool, disk: Disk, tell: Progress
) -> Converted:
    try:
        kept = _kept_outputs(job, force, tell)
        wanted = [number for number in range(len(job.outputs)) if number not in kept]
        _check_room(job, wanted)
    except CheckpointError:
        if not journal.done:
            journal.remove()
        raise
    began = time.monotonic()
    went_on = write_outputs(job, wanted, journal, verify_source=not verify, disk=disk, tell=tell)
    written = time.monotonic()
    if verify:
        _verify(job, wanted, journal, tell)
    verified = time.monotonic()
    for output in (job.outputs[number] for number in wanted):
        disk.rename(output.temporary, output.path)
        sync_folder(job.folder, disk)
    for output in job.outputs:
        _name_again(output, disk)
    journal.remove()
    return Converted(
        tuple(job.outputs[number].path for number in wanted),
        tuple(job.outputs[number].path for number in sorted(kept)),
        sum(job.outputs[number].layout.nbytes for number in wanted),
        went_on,
        written - began,
        verified - written,
    )


def _refuse_sources(job: Job) -> None:
    names = [name for output in job.outputs for name in output.names if name.exists()]
    for source in (path for file in job.sources for path in files_of(file)):
        for name in names:
            if name.samefile(source):
                raise CheckpointError(
                    f"{job.what} would overwrite their own source {source}. Choose another "
                    "folder with --output."
                )


def _kept_outputs(job: Job, force: bool, tell: Progress) -> set[int]:
    """Outputs that are there already, equal to what would be written."""
    if force:
        return set()
    there = {number: output.path for number, output in enumerate(job.outputs)}
    again = {number: output.also for number, output in enumerate(job.outputs) if output.also}
    differing: dict[Path, str] = {}
    for names in (there, again):
        files = {
            number: name
            for number, name in names.items()
            if name.exists() and (names is there or not _is_one(name, there[number]))
        }
        reasons = find_differences(job, files, lambda *told: tell("compare", *told))
        differing |= {files[number]: reason for number, reason in reasons.items()}
    if differing:
        listed = "\n  ".join(f"{path}: {reason}" for path, reason in differing.items())
        raise CheckpointError(
            f"{job.what} would overwrite files with another content ({len(differing)}):\n"
            f"  {listed}\nRemove them, choose another folder with --output, or overwrite them "
            "with --force."
        )
    return {number for number, name in there.items() if name.exists()}


def _is_one(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _check_room(job: Job, wanted: Sequence[int]) -> None:
    needed = sum(job.outputs[number].layout.nbytes for number in wanted)
    for temporary in (job.outputs[number].temporary for number in wanted):
        if temporary.exists():
            needed -= min(temporary.stat().st_blocks * 512, temporary.stat().st_size)
    free = free_space(job.folder)
    if free < needed:
        raise CheckpointError(
            f"{job.what} need {gib(needed)} in {job.folder} and {gib(free)} are free. Free "
            f"{gib(needed - free)}, or choose another folder with --output."
        )


def _verify(job: Job, wanted: Sequence[int], journal: Journal, tell: Progress) -> None:
    """Hold every tensor on the disk against its source."""
    files = {number: job.outputs[number].temporary for number in wanted}
    for path in files.values():
        leave_memory(path)
    differing = find_differences(job, files, lambda *told: tell("verify", *told))
    if differing:
        journal.start_over()
        listed = "\n  ".join(f"{files[n].name}: {reason}" for n, reason in differing.items())
        raise RunError(
            f"{job.what} read back differently than they were written:\n  {listed}\nNo final "
            "file was touched. Look at the disk and the memory of this machine, then start the "
            "same command again: it begins anew."
        )


def _name_again(output: Output, disk: Disk) -> None:
    """Give a file its second name: by a link, or by a copy where the disk knows no links."""
    if output.also is None or _is_one(output.also, output.path):
        return
    temporary = output.also.with_name(output.also.name + TEMPORARY)
    disk.remove(temporary)
    try:
        disk.link(output.path, temporary)
    except OSError:
        _copy(output.path, temporary, disk)
    disk.rename(temporary, output.also)
    sync_folder(output.also.parent, disk)


def _copy(old: Path, new: Path, disk: Disk) -> None:
    handle = disk.create(new)
    try:
        with old.open("rb") as stream:
            while piece := stream.read(16 << 20):
                DiskWriter(disk, handle).write(piece)
        disk.sync(handle)
    finally:
        os.close(handle)

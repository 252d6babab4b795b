"""What is converted into what: outputs, and the steps that fill them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldtune.checkpoint.bits import SideBySide
from worldtune.checkpoint.disk import TEMPORARY
from worldtune.checkpoint.kinds import FileKind
from worldtune.checkpoint.reader import WeightsFile
from worldtune.checkpoint.safetensors_files import read_index
from worldtune.checkpoint.torch_layout import TorchLayout

# Called with what is done ("write", "compare", "verify"), bytes so far and bytes in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Output:
    """A file to be written; `also` is a second name that it gets."""

    path: Path
    layout: TorchLayout
    also: Path | None = None

    @property
    def temporary(self) -> Path:
        """Its name until it is whole."""
        return self.path.with_name(self.path.name + TEMPORARY)

    @property
    def names(self) -> tuple[Path, ...]:
        """All names that it has in the end."""
        return (self.path, self.also) if self.also else (self.path,)


@dataclass(frozen=True)
class Step:
    """One tensor and where it goes.

    `read(verify)` gives a tensor for each of `targets`, numbers of outputs; they are good
    until `release()`, which gives their memory back. Every output's tensors come in the
    order of its layout.
    """

    targets: tuple[int, ...]
    nbytes: int
    read: Callable[[bool], Sequence[SideBySide]]
    release: Callable[[], None]


@dataclass(frozen=True)
class Job:
    """What is converted into what, in one folder; `what` says it in messages."""

    what: str
    journal: str
    sources: tuple[WeightsFile, ...]
    outputs: tuple[Output, ...]
    steps: tuple[Step, ...]

    @property
    def folder(self) -> Path:
        """Where the outputs lie."""
        return self.outputs[0].path.parent

    @property
    def key(self) -> str:
        """The sources as they are now and the outputs as they will be, in one word."""
        told = hashlib.sha256()
        for source in self.sources:
            for path in files_of(source):
                state = path.stat()
                told.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
            told.update(repr(source.tree).encode())
        for output in self.outputs:
            told.update(output.path.name.encode() + output.layout.head)
        return told.hexdigest()


def files_of(source: WeightsFile) -> list[Path]:
    """The files that an open file of weights is read from."""
    if source.kind is not FileKind.INDEX:
        return [source.path]
    shards = sorted(set(read_index(source.path).values()))
    return [source.path, *(source.path.parent / shard for shard in shards)]

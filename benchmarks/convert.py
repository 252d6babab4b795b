"""Splitting and joining beside plain `cp`: seconds a gigabyte, and private memory.

    python benchmarks/convert.py FOLDER [--blocks 28] [--size 8] [--only base]

Makes a single-view 7B base checkpoint of random bits with so many blocks (28 are 14.5 GB, 4 are
2.2 GB) in a new folder below FOLDER, splits it, joins the parts and compares the hash of every
tensor with that of the first file; then the same with a training checkpoint (frozen base,
branch, float32 average) an eighth as deep. `cp` copies the first file and waits for the disk,
as the conversion does; both read from the disk. Everything is removed at the end. It needs
about two and a half times the file.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from worldtune.checkpoint.entries import TensorEntry
from worldtune.checkpoint.names import TRANSFER1
from worldtune.checkpoint.torch_pickle import Planned
from worldtune.checkpoint.torch_writer import write_torch_file
from worldtune.models.build import build, build_branch
from worldtune.models.config import TransformerConfig

BASE = TransformerConfig(
    model_channels=4096,
    num_blocks=28,
    num_heads=32,
    position_table="learned",
    rope_fps_modulation=True,
    family="transfer1",
)
GB = 1e9


@dataclass(frozen=True)
class Measured:
    """One command: what it answered, its seconds, and its peak memory in bytes."""

    answer: Mapping
    seconds: float
    cpu: float
    private: int
    resident: int


@dataclass(frozen=True)
class Copied:
    """Seconds a GB: by the clock, and of the processor."""

    clock: float
    cpu: float


def random_bits(entry: TensorEntry, seed: int) -> Tensor:
    """A tensor of random bits, NaNs among them."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.empty(-(-entry.nbytes // 8), dtype=torch.int64).random_(generator=generator)
    flat = words.view(torch.uint8)[: entry.nbytes].view(getattr(torch, entry.dtype))
    return flat.view(entry.shape)


def planned(names: Mapping[str, Tensor], dtype: str) -> dict[str, Planned]:
    """A random tensor for each name, made when it is written."""
    made = {}
    for name, weight in names.items():
        entry = TensorEntry(tuple(weight.shape), dtype)
        seed = int.from_bytes(hashlib.sha256(f"{dtype} {name}".encode()).digest()[:6])
        made[name] = Planned(entry, lambda entry=entry, seed=seed: random_bits(entry, seed))
    return made


def published(network: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    """The names of a network's weights in a file."""
    return {f"{prefix}{TRANSFER1.to_file(n)}": w for n, w in network.state_dict().items()}


def base_file(blocks: int) -> dict[str, Planned]:
    """What a published base holds."""
    return planned(
        published(build(replace(BASE, num_blocks=blocks), device="meta"), "net."), "bfloat16"
    )


def training_file(blocks: int) -> dict:
    """What a run of one process saves: frozen base, branch and its float32 average."""
    config = replace(BASE, num_blocks=blocks)
    branch = build_branch(config, num_control_blocks=1, hint_channels=16, device="meta")
    weights = published(branch, "net.") | published(build(config, device="meta"), "base_model.net.")
    average = {name: w for name, w in weights.items() if name.startswith("net.")}
    mangled = {name.replace(".", "-"): w for name, w in average.items()}
    return {"model": planned(weights, "bfloat16"), "ema": planned(mangled, "float32")}


def leave_memory(*paths: Path) -> None:
    """Let files be read from the disk, not from what the system still holds of them."""
    for path in paths:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(words: list[str]) -> Measured:
    """Run a command and watch its memory, 20 times a second."""
    began, before = time.monotonic(), cpu_seconds()
    program = [sys.executable, "-m", "worldtune.cli.main", *words, "--json"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        private = resident = 0
        while process.poll() is None:
            told = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if line.startswith(("RssAnon", "VmHWM"))
            )
            private = max(private, int(told.get("RssAnon", "0 kB").split()[0]) << 10)
            resident = max(resident, int(told.get("VmHWM", "0 kB").split()[0]) << 10)
            time.sleep(0.05)
        assert process.stdout
        assert process.stderr
        told = process.stdout.read()
        if process.returncode:
            sys.exit(process.stderr.read().decode())
        answer = json.loads(told)
    seconds = time.monotonic() - began
    return Measured(answer, seconds, cpu_seconds() - before, private, resident)


def copy(path: Path, nbytes: float) -> Copied:
    """What `cp` takes for about as many bytes, until the copies are on the disk."""
    size = path.stat().st_size
    copies = [path.with_name(f"copy{n}") for n in range(max(round(nbytes / size), 1))]
    leave_memory(path)
    began, before = time.monotonic(), cpu_seconds()
    for target in copies:
        subprocess.run(["cp", path, target], check=True)
    subprocess.run(["sync", *copies], check=True)
    seconds, cpu = time.monotonic() - began, cpu_seconds() - before
    for target in copies:
        target.unlink()
    total = size * len(copies) / GB
    return Copied(seconds / total, cpu / total)


def cpu_seconds() -> float:
    """Processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def hashes(path: Path, rename: Callable[[str], str] = str) -> dict[str, str]:
    """The hash of every tensor of a flat file, read by torch itself."""
    read = torch.load(path, weights_only=True, mmap=True)
    return {rename(name): hash_of(tensor) for name, tensor in read.items()}


def hash_of(tensor: Tensor) -> str:
    """A hash of a tensor's bytes."""
    return hashlib.sha1(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def report(what: str, measured: Measured, cp: Copied | None) -> None:
    """Print the figures of one command."""
    nbytes, write = measured.answer["nbytes"], measured.answer["write_s"]
    rate = write / (nbytes / GB)
    print(
        f"{what}: {nbytes / GB:.2f} GB written in {write:.1f} s ({rate:.2f} s/GB), verified in "
        f"{measured.answer['verify_s']:.1f} s; {measured.seconds:.1f} s in all, of them "
        f"{measured.cpu:.1f} of the processor"
    )
    print(
        f"  peak private memory {measured.private / GB:.2f} GB; resident with pages of files "
        f"{measured.resident / GB:.2f} GB"
    )
    if cp:
        print(
            f"  cp of about as many bytes: {cp.clock:.2f} s/GB ({cp.cpu:.2f} of the processor); "
            f"writing took {rate / cp.clock:.2f} of that"
        )
    sys.stdout.flush()


def base(folder: Path, blocks: int, size: int, with_cp: bool) -> None:
    """Split and join a base."""
    source = folder / "base_model.pt"
    write_torch_file(source, base_file(blocks))
    nbytes = source.stat().st_size
    print(f"base of {blocks} blocks, {nbytes / GB:.2f} GB", flush=True)
    # `cp` runs right before what it is compared with: the machine may have other work.
    cp = copy(source, nbytes * (0.3 + 0.14 * size)) if with_cp else None
    leave_memory(source)
    split = measure(["split", str(source), "--size", str(size)])
    report(f"split into {size}", split, cp)
    before = hashes(source)
    cp = copy(source, nbytes) if with_cp else None
    source.unlink()  # to have room
    leave_memory(*map(Path, split.answer["parts"]))
    join = measure(["join", split.answer["parts"][0]])
    report(f"join of {size}", join, cp)
    shutil.rmtree(folder / "checkpoints_tp")
    assert hashes(Path(join.answer["weights"])) == before
    print(f"hashes of {len(before)} tensors are equal", flush=True)


def training(folder: Path, blocks: int, size: int) -> None:
    """Split and join a training checkpoint."""
    source = folder / "checkpoints" / "iter_000000100_model_mp_0.pt"
    source.parent.mkdir()
    write_torch_file(source, training_file(blocks))
    print(f"training checkpoint of {blocks} blocks, {source.stat().st_size / GB:.2f} GB")
    split = measure(["split", str(source), "--size", str(size)])
    report(f"split into {size}", split, None)
    join = measure(["join", split.answer["parts"][0], "--include-base-model"])
    report(f"join of {size}", join, None)
    read = torch.load(source, weights_only=True, mmap=True)
    weights = {name: hash_of(tensor) for name, tensor in read["model"].items()}
    average = {name.replace("-", "."): hash_of(tensor) for name, tensor in read["ema"].items()}
    frozen = {name: told for name, told in weights.items() if name.startswith("base_model.")}
    assert hashes(Path(join.answer["weights"])) == weights
    assert hashes(Path(join.answer["average"])) == average | frozen
    print(f"hashes of {len(weights)} tensors and {len(average)} averages are equal")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=28)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--no-cp", action="store_true", help="leave the comparison out")
    parser.add_argument("--only", choices=("base", "training"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made)
        if args.only != "training":
            (folder / "base").mkdir()
            base(folder / "base", args.blocks, args.size, not args.no_cp)
            shutil.rmtree(folder / "base")
        if args.only != "base":
            training(folder, -(-args.blocks // 8), args.size)


if __name__ == "__main__":
    main()

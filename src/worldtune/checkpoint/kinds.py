"""Telling from its first bytes what a file is, and what to do about one that is no weights."""

from enum import Enum
from pathlib import Path

from worldtune.checkpoint.published import fetch_command
from worldtune.checkpoint.torch_files import LEGACY_MAGIC
from worldtune.errors import CheckpointError

ENOUGH = 512


class FileKind(Enum):
    """The containers that are read; the value is the name people know."""

    TORCH_ZIP = "torch.save archive"
    TORCH_LEGACY = "torch.save file of the format before 1.6"
    SAFETENSORS = "safetensors"
    INDEX = "index of safetensors shards"


def find_kind(path: Path) -> FileKind:
    """Which container a file is, by content rather than name.

    CheckpointError says what else it is: empty, a web page, a pointer, another archive.
    """
    with path.open("rb") as stream:
        head = stream.read(ENOUGH)
    if head[:2] == b"PK":
        return FileKind.TORCH_ZIP
    if head.startswith(LEGACY_MAGIC):
        return FileKind.TORCH_LEGACY
    if head[8:9] == b"{" and not head.startswith(b"{"):
        return FileKind.SAFETENSORS
    if path.name.endswith(".index.json"):
        return FileKind.INDEX
    found, step = _not_weights(head, path)
    raise CheckpointError(f"{path} holds no weights: it is {found}. {step}")


def _not_weights(head: bytes, path: Path) -> tuple[str, str]:
    """What the file is instead, and the next step."""
    command = fetch_command(path)
    fetch = f"Fetch it again with:\n  {command}" if command else "Fetch or copy the file again."
    text = head.lstrip().lower()
    if not head:
        return "empty", fetch
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, a note of where the file is kept", f"Run `git lfs pull`. {fetch}"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "a web page, saved in its place",
            f"Some files need a login and an accepted licence first. {fetch}",
        )
    if not head.strip(b"\0"):
        return "all zeros at its start, as after a copy that was broken off", fetch
    if head[257:262] == b"ustar" or head.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"BZh")):
        return "a packed archive (tar, gzip, xz or bzip2)", "Unpack it and give the file inside."
    if head[:1] == b"\x80":
        return (
            "a plain pickle, not a file of torch.save",
            "It is not read, as that would execute it. Save its tensors as safetensors.",
        )
    if text.startswith((b"{", b"[")):
        return "JSON", "Give the .pt, .pth or .safetensors file, or the index of its shards."
    return (
        f"of an unknown format that begins with {head[:8]!r}",
        "Read are .pt, .pth and .safetensors files.",
    )

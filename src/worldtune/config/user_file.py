"""A user's own settings file, read into plain containers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoreEntry:
    """One option of a group, as a user's file registered it.

    `package` is where its values go: `_global_`, a dotted key, or None for the group's own.
    `node` holds dicts, lists, strings, numbers, booleans and None only.
    """

    group: str
    name: str
    package: str | None
    node: dict[str, Any]


@dataclass(frozen=True)
class UserFile:
    """What one file says: experiments by name, options of other groups, and notices.

    Everything in it is a plain container; nothing of the file's own code is kept.
    """

    path: Path
    experiments: dict[str, dict[str, Any]]
    entries: tuple[StoreEntry, ...] = ()
    notices: tuple[str, ...] = ()

"""What a training state says of itself: every tensor, every shard, every checksum."""

import json
import zlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from worldtune.checkpoint.entries import ITEM_BYTES
from worldtune.errors import CheckpointError

FILE_NAME = "manifest.json"
FORMAT = "worldtune training state"
VERSION = 1

Count = Annotated[int, Field(ge=0)]
Crc = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorRow(_Row):
    """A tensor as the run knows it, whole."""

    shape: list[Count]
    dtype: str

    @model_validator(mode="after")
    def _known_dtype(self) -> "TensorRow":
        if self.dtype not in ITEM_BYTES:
            raise ValueError(f"dtype {self.dtype!r} is not known")
        return self


class SliceRow(_Row):
    """The part of a tensor that a shard holds: where it begins, and how far it goes."""

    offsets: list[Count]
    sizes: list[Count]
    crc32: Crc


class ShardRow(_Row):
    """One file of tensors."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]
    nbytes: Count
    header_crc32: Crc
    tensors: dict[str, SliceRow]


class Manifest(_Row):
    """The whole of a training state but its data; written last."""

    format: Literal["worldtune training state"] = FORMAT
    version: Literal[1] = VERSION
    iteration: Count
    written_by: str
    info: dict[str, JsonValue]
    tensors: dict[str, TensorRow]
    shards: list[ShardRow]

    @model_validator(mode="after")
    def _whole(self) -> "Manifest":
        for name, row in self.tensors.items():
            _check_cover(
                name, row.shape, [s.tensors[name] for s in self.shards if name in s.tensors]
            )
        unknown = {name for shard in self.shards for name in shard.tensors} - set(self.tensors)
        if unknown:
            raise ValueError(f"shards hold {sorted(unknown)[0]!r}, which is no tensor of the state")
        return self

    def to_bytes(self) -> bytes:
        """Give the file's content, which carries a checksum of itself."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, "crc32": _sum(content)}, indent=1, allow_nan=False).encode()


def _check_cover(name: str, shape: list[int], parts: list[SliceRow]) -> None:
    """Raise ValueError unless the parts fill the shape exactly once."""
    volume = 0
    for number, part in enumerate(parts):
        if not len(shape) == len(part.offsets) == len(part.sizes) or any(
            start + size > whole
            for start, size, whole in zip(part.offsets, part.sizes, shape, strict=True)
        ):
            raise ValueError(f"a part of {name!r} lies outside its shape {shape}")
        if any(_overlap(part, other) for other in parts[:number]):
            raise ValueError(f"parts of {name!r} overlap")
        volume += _volume(part.sizes)
    if not parts or volume != _volume(shape):
        raise ValueError(f"parts of {name!r} hold {volume} of {_volume(shape)} elements")


def _volume(sizes: list[int]) -> int:
    volume = 1
    for size in sizes:
        volume *= size
    return volume


def _overlap(one: SliceRow, other: SliceRow) -> bool:
    if not one.sizes:
        return True  # two parts of a single number are the same part
    rows = zip(one.offsets, one.sizes, other.offsets, other.sizes, strict=True)
    return all(a < b + nb and b < a + na for a, na, b, nb in rows)


def _sum(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def read_manifest(folder: Path) -> Manifest:
    """Read and check a state's manifest; CheckpointError says what is wrong with it."""
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there: the save was not finished.") from None
    except ValueError:
        raise CheckpointError(f"{path} is damaged: it is no JSON.") from None
    found = content.pop("crc32", None) if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not the manifest of a {FORMAT}.")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of version {content.get('version')!r}; this program reads {VERSION}. "
            "Read it with the program that wrote it or a later one."
        )
    if found != _sum(content):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content.")
    try:
        return Manifest.model_validate(content)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path} is damaged: {place}: {first['msg']}.") from fault

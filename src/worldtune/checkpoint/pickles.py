"""Reading the pickle inside a torch file, with nothing in it executed.

torch.save keeps names and shapes in a pickle, and pickles are programs. This reader knows
the handful of functions that torch.save writes and puts inert stand-ins in their place: a
tensor becomes a note of where its data lies. Any other name is refused before it is looked
up, so no code of the file or of an installed package can run.

Source: the protocol of torch.save as documented in torch's notes on serialization.
"""

import codecs
import pickle
import pickletools
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from worldtune.checkpoint.entries import ITEM_BYTES
from worldtune.errors import CheckpointError

Stream = BufferedReader | BytesIO

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


# The notes are tuples because those have nothing that a pickle could set afterwards.
class StorageNote(NamedTuple):
    """A block of data that the pickle names: key, dtype (None where bytes) and elements."""

    key: str
    dtype: str | None
    numel: int


class TensorNote(NamedTuple):
    """A tensor the pickle holds: its storage, and start, shape and stride in elements."""

    storage: StorageNote
    dtype: str
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Dtype(NamedTuple):
    """A dtype named in the pickle; for a storage type the dtype of its elements."""

    name: str | None


class NotATensorError(Exception):
    """The pickle describes a tensor in a way that cannot be right."""


class _FrozenClass(type):
    """A class whose attributes the pickle cannot set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__}.{name} cannot be set")


class _Function(metaclass=_FrozenClass):
    """A stand-in that the pickle may call and cannot change."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(f"{name} cannot be set")

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


class _Mapping(dict, metaclass=_FrozenClass):
    """An OrderedDict of the file; the version notes that torch hangs on it are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Drop what is hung on the mapping beside its items."""


class Opaque(metaclass=_FrozenClass):
    """A value that is known to hold no weights, such as a stream of extra state."""

    __slots__ = ()

    def __new__(cls, *_: object) -> "Opaque":
        """Make one, whatever it was made from."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Drop the content."""


def _numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(type(value) is int for value in values):
        raise NotATensorError(f"{values!r} is not a shape")
    return tuple(values)


def _tensor(
    storage: object, start: object, shape: object, stride: object, dtype: str | None = None
) -> TensorNote:
    if not isinstance(storage, StorageNote) or type(start) is not int:
        raise NotATensorError("a tensor without a storage")
    dtype = dtype or storage.dtype
    if dtype not in ITEM_BYTES:
        raise NotATensorError(f"a tensor of dtype {dtype}")
    sizes, steps = _numbers(shape), _numbers(stride)
    if len(sizes) != len(steps) or min(sizes, default=0) < 0:
        raise NotATensorError(f"shape {sizes} with stride {steps}")
    return TensorNote(storage, dtype, start, sizes, steps)


def _tensor_v2(
    storage: object,
    start: object,
    shape: object,
    stride: object,
    _requires_grad: object,
    _hooks: object,
    metadata: object = None,
) -> TensorNote:
    if metadata:
        raise NotATensorError(f"a conjugated or negated tensor ({metadata!r})")
    return _tensor(storage, start, shape, stride)


def _tensor_v3(
    storage: object,
    start: object,
    shape: object,
    stride: object,
    _requires_grad: object,
    _hooks: object,
    dtype: object,
    metadata: object = None,
) -> TensorNote:
    if metadata or not isinstance(dtype, Dtype):
        raise NotATensorError(f"a tensor of dtype {dtype!r} with {metadata!r}")
    return _tensor(storage, start, shape, stride, dtype.name)


def _parameter(data: object, *_: object) -> object:
    return data


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    # bytes in a pickle of protocol 2 are text in latin-1; any other codec has no place here.
    if encoding not in ("latin1", "utf-8"):
        raise NotATensorError(f"text in {encoding!r}")
    return codecs.encode(text, encoding)


def _allowed() -> dict[tuple[str, str], object]:
    table: dict[tuple[str, str], object] = {
        ("torch._utils", "_rebuild_tensor"): _Function(_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor_v2),
        ("torch._utils", "_rebuild_tensor_v3"): _Function(_tensor_v3),
        ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): _Function(_parameter),
        ("torch", "Size"): _Function(tuple),
        ("torch", "device"): _Function(lambda *words: ":".join(map(str, words))),
        ("torch.storage", "UntypedStorage"): Dtype(None),
        ("torch", "UntypedStorage"): Dtype(None),
        ("collections", "OrderedDict"): _Mapping,
        ("builtins", "set"): _Function(set),
        ("builtins", "bytearray"): _Function(bytes),
        ("_codecs", "encode"): _Function(_encode),
        ("_io", "BytesIO"): Opaque,
    }
    table |= {("torch", name): Dtype(dtype) for name, dtype in STORAGE_DTYPES.items()}
    table |= {("torch", dtype): Dtype(dtype) for dtype in ITEM_BYTES}
    return table


ALLOWED = _allowed()


class InertUnpickler(pickle.Unpickler):
    """Read one pickle of a torch file; `storages` then holds every block it names, by key."""

    def __init__(self, stream: Stream, path: Path) -> None:
        """Read from a stream; the path is for messages."""
        super().__init__(stream)
        self.path = path
        self.storages: dict[str, StorageNote] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Give the stand-in of a known name; refuse every other."""
        if module_name == "__builtin__":  # as Python 2 spells it, and pickles still do
            module_name = "builtins"
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise CheckpointError(
                f"{self.path} holds a Python object, {module_name}.{global_name}, and is not "
                "read: making it would execute code that the file names. Read are tensors, "
                "numbers, text and containers of them. If you trust where it comes from, open "
                "it once with torch.load(..., weights_only=False) and save its tensors as "
                "safetensors."
            ) from None

    def persistent_load(self, pid: Any, /) -> StorageNote:
        """Note a block of data; its bytes stay in the file."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise NotATensorError(f"an unknown reference {pid!r}")
        _, kind, key, _, numel = pid[:5]
        if not isinstance(kind, Dtype) or type(numel) is not int or numel < 0:
            raise NotATensorError(f"a storage {pid!r}")
        return self.storages.setdefault(str(key), StorageNote(str(key), kind.name, numel))


def read_pickle(stream: Stream, path: Path) -> tuple[Any, dict[str, StorageNote]]:
    """Give the object of one pickle, tensors as notes, and the storages it names.

    CheckpointError where it names anything but what torch.save writes, or is damaged.
    """
    try:
        _check_slots(stream)
        reader = InertUnpickler(stream, path)
        return reader.load(), reader.storages
    except CheckpointError:
        raise
    # A damaged pickle is a wrong program: it can raise anything at all.
    except Exception as fault:
        raise CheckpointError(
            f"{path} is damaged or not a file of weights: its list of names cannot be read "
            f"({type(fault).__name__}: {fault}). Fetch or copy the file again."
        ) from fault


KEEPING_STEPS = ("PUT", "BINPUT", "LONG_BINPUT")


def _check_slots(stream: Stream) -> None:
    """Refuse a pickle that numbers a value higher than it has steps.

    The unpickler sets memory aside up to the highest number: one flipped bit asks for
    30 GB. The stream is left where it was.
    """
    start = stream.tell()
    written = list(pickletools.genops(stream))
    kept = [int(number or 0) for step, number, _ in written if step.name in KEEPING_STEPS]
    if max(kept, default=0) > len(written):
        raise NotATensorError(f"value number {max(kept)} in {len(written)} steps")
    stream.seek(start)

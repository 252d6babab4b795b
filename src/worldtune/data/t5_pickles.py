"""Text embeddings as Cosmos-Predict2's script writes them, read without running anything.

A file t5_xxl/NAME.pickle is a list with one float16 array [tokens, 1024]. A pickle is a program:
this reader meets only the few names by which an array is pickled, puts inert stand-ins in their
place, and refuses every other name before it is looked up.
"""

import codecs
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.errors import DataError

_DTYPES = {"f2": np.dtype("f2"), "f4": np.dtype("f4")}


class _Dtype:
    """Stands for numpy.dtype: its letter code and byte order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def real(self) -> np.dtype:
        if self.code not in _DTYPES or self.order not in ("<", ">", "=", "|"):
            raise ValueError(f"values of type {self.code}, not float16 or float32")
        return _DTYPES[str(self.code)].newbyteorder(self.order)


class _Array:
    """Stands for numpy.ndarray: its state, not yet believed."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[-4:]  # shape, dtype, columns first, bytes

    def real(self) -> np.ndarray:
        if self.state is None:
            raise ValueError("an array without content")
        shape, dtype, columns_first, content = self.state
        flat = np.frombuffer(content, dtype.real())
        return flat.reshape(shape, order="F" if columns_first else "C")


def _from_buffer(
    content: bytes | bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str
) -> _Array:
    array = _Array()
    array.state = (shape, dtype, order == "F", content)
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"the encoding {encoding}")
    return codecs.encode(text, "latin1")


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no embedding needs")
        return _STAND_INS[module, name]


def read_pickle(path: Path, width: int = 1024) -> Float[np.ndarray, "n _"]:
    """Read one embedding, [tokens, width] float32, as long as it is stored.

    Raises DataError where the file holds anything else; nothing in it is executed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    expected = f"expected a list with one float16 array [tokens, {width}]"
    try:
        held = _Reader(io.BytesIO(content)).load()
        if not isinstance(held, list) or len(held) != 1 or not isinstance(held[0], _Array):
            raise ValueError(_named(held))
        array = held[0].real()
        if array.ndim != 2 or array.shape[1] != width or not len(array):
            raise ValueError(f"an array of shape {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError("values that are not finite")
    except ValueError as error:
        raise DataError(f"{path}: holds {error}; {expected}") from error
    # What a damaged pickle raises is not limited by its format.
    except Exception as error:
        raise DataError(f"{path}: is refused: {error or 'it is damaged'}; {expected}") from error
    return array.astype(np.float32)


def _named(held: object) -> str:
    if isinstance(held, list):
        return f"a list of {len(held)} things"
    return "an array by itself" if isinstance(held, _Array) else f"a {type(held).__name__}"


def padded(array: Float[np.ndarray, "_ d"], tokens: int = 512) -> Float[Tensor, "n d"]:
    """Bring an embedding to a fixed number of tokens: zeros after it, or its end cut off."""
    text = torch.zeros(tokens, array.shape[1])
    kept = min(len(array), tokens)
    text[:kept] = torch.from_numpy(array[:kept])
    return text

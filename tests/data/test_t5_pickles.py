"""Text embeddings in pickles: read, and nothing in them executed."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from worldtune.data.t5_pickles import padded, read_pickle
from worldtune.errors import DataError


def write(path: Path, thing: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(thing, protocol))
    return path


def embedding(tokens: int = 5, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(tokens, width)).astype(np.float16)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f2"])
def test_an_embedding_is_read_in_every_protocol(tmp_path, protocol, dtype):
    array = embedding().astype(dtype)

    read = read_pickle(write(tmp_path / "a.pickle", [array], protocol), width=8)

    assert read.dtype == np.float32
    assert np.array_equal(read, array.astype(np.float32))


def test_an_embedding_stored_by_columns_is_read(tmp_path):
    array = np.asfortranarray(embedding())

    assert np.array_equal(read_pickle(write(tmp_path / "a.pickle", [array]), width=8), array)


def test_an_embedding_written_by_an_older_numpy_is_read(tmp_path):
    path = write(tmp_path / "a.pickle", [embedding()], protocol=2)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy.core."))

    assert np.array_equal(read_pickle(path, width=8), embedding())


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e], lambda e: [embedding(), e]])
def test_a_program_in_a_pickle_is_refused_and_not_run(tmp_path, wrap):
    path = write(tmp_path / "a.pickle", wrap(_Evil(tmp_path / "ran")))

    with pytest.raises(DataError, match=r"a\.pickle: is refused: it calls posix\.system"):
        read_pickle(path, width=8)
    assert not (tmp_path / "ran").exists()


def test_names_inside_an_allowed_module_are_refused_too(tmp_path):
    path = tmp_path / "a.pickle"
    path.write_bytes(b"cnumpy\nload\n(S'x'\ntR.")

    with pytest.raises(DataError, match=r"it calls numpy\.load"):
        read_pickle(path, width=8)


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        ("words", "a str"),
        ({"a": 1}, "a dict"),
        (embedding(), "an array by itself"),
        ([embedding(), embedding()], "a list of 2 things"),
        ([], "a list of 0 things"),
        ([[1.0, 2.0]], "a list of 1 things"),
        ([embedding(width=9)], r"an array of shape \[5, 9\]"),
        ([embedding(tokens=0)], r"an array of shape \[0, 8\]"),
        ([embedding()[None]], r"an array of shape \[1, 5, 8\]"),
        ([embedding().astype(np.float64)], "values of type f8, not float16 or float32"),
        ([embedding().astype(np.int64)], "values of type i8, not float16 or float32"),
        ([np.array([["a"]], dtype=object)], "values of type O8, not float16 or float32"),
        ([embedding() * np.float16(np.nan)], "values that are not finite"),
    ],
)
def test_anything_else_is_refused_by_what_it_holds(tmp_path, thing, found):
    path = write(tmp_path / "a.pickle", thing)

    with pytest.raises(DataError, match=rf"a\.pickle: holds {found}; expected a list with one"):
        read_pickle(path, width=8)


def test_a_damaged_pickle_is_refused_wherever_it_breaks_off(tmp_path):
    whole = write(tmp_path / "a.pickle", [embedding()]).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "b.pickle").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"b\.pickle: is refused"):
            read_pickle(tmp_path / "b.pickle", width=8)


def outcome(path: Path) -> str:
    try:
        return str(read_pickle(path, width=8).shape)
    except DataError as error:
        return str(error)


def test_changed_bytes_give_a_message_or_numbers_and_nothing_else(tmp_path):
    whole = write(tmp_path / "a.pickle", [embedding(1, 8)]).read_bytes()
    path = tmp_path / "b.pickle"
    for place in range(0, len(whole), 3):
        for value in (0, 0x2E, 0x52, 0xFF):
            damaged = bytearray(whole)
            damaged[place] = value
            path.write_bytes(damaged)
            assert outcome(path).startswith((f"{path}: ", "(1, 8)"))


def test_a_missing_embedding_is_told(tmp_path):
    with pytest.raises(DataError, match=r"a\.pickle: is missing"):
        read_pickle(tmp_path / "a.pickle")


def test_an_embedding_is_filled_up_with_zeros():
    array = embedding(3).astype(np.float32)

    text = padded(array, tokens=6)

    assert text.dtype == torch.float32
    assert text[:3].equal(torch.from_numpy(array))
    assert not text[3:].any()


@pytest.mark.parametrize("tokens", [4, 5])
def test_an_embedding_of_at_least_all_tokens_is_cut_to_float32(tokens):
    """The original left 600 tokens 600 long, and 512 in float16."""
    array = embedding(5).astype(np.float32)

    text = padded(array, tokens)

    assert text.shape == (tokens, 8)
    assert text.dtype == torch.float32
    assert text.equal(torch.from_numpy(array[:tokens]))

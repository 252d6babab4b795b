"""A file of tables: what is understood in it, and that nothing of it is run."""

from pathlib import Path

import pytest

from worldtune.config.table_file import read_tables
from worldtune.errors import RecipeError


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text: str) -> dict:
        Path("tables.py").write_text(text)
        return read_tables(Path("tables.py"), ["A", "B"])

    return read


def test_data_names_and_arithmetic_are_understood(tables):
    text = '''"""A docstring."""
COMMON = {"x": 1}
A = {"lr": 2**-14.3, "n": -(3 + 4) * 2 // 5, "both": [COMMON, ("a" "b", None)], 7: True}
B: float = 1_000 / 4 - 0.5
'''

    assert tables(text) == {
        "COMMON": {"x": 1},
        "A": {"lr": 2**-14.3, "n": -3, "both": [{"x": 1}, ["ab", None]], 7: True},
        "B": 249.5,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = open('x')\n", "tables.py, line 1: open('x'): is not data; the file is read as tab"),
        ("\nimport os\n", "tables.py, line 2: import os: is not a table; the file is read as tabl"),
        ("A = 1\nprint(A)\n", "tables.py, line 2: print(A): is not a table"),
        ("for x in []:\n    A = 1\n", "tables.py, line 1: for x in []:: is not a table"),
        ("A = {**{}}\n", "tables.py, line 1: {**{}}: is not a key; expected text in quotes or"),
        ("A = {1.5: 2}\n", "line 1: 1.5: is not a key"),
        ('A = {"x": 1,\n "x": 2}\n', "tables.py, line 2: 'x': 'x' is here twice"),
        ("A = B\n", "tables.py, line 1: B: 'B' is not assigned above"),
        ('A = "a" * 3\n', "line 1: 'a': is not a number"),
        ("A = 9**9**9\n", "line 1: 9 ** 9 ** 9: the power is above 64"),
        ("A = (-2)**0.5\n", "line 1: (-2) ** 0.5: is not a number"),
        ("A = 1 / 0\n", "line 1: 1 / 0: division by zero"),
        ("A = b'x'\n", "line 1: b'x': is not data"),
        ("A = {\n", "tables.py, line 1: '{' was never closed"),
        ("A = 1\nAA = 2\n", "tables.py: AA is assigned and never used; did you mean 'A'?"),
        ("A = 1\nOther = 2\n", "tables.py: Other is assigned and never used; the tables are A, B"),
    ],
)
def test_anything_else_is_a_mistake_with_its_line(tables, text, message):
    with pytest.raises(RecipeError) as told:
        tables(text)

    assert str(told.value).startswith(message) or message in str(told.value)


def test_nothing_in_the_file_is_run(tables):
    with pytest.raises(RecipeError):
        tables("A = __import__('pathlib').Path('ran').touch()\n")

    assert not Path("ran").exists()

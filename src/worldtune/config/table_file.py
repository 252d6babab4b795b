"""Reading a file of tables: Python's notation for data, of which nothing is run.

Understood are assignments of dicts, lists, texts, numbers, true, false and nothing, names that
were assigned above, and arithmetic. A file in the folder where a command happens to be started
is thus safe to read, and what it says is all in front of the reader.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldtune.config.mistakes import suggestion
from worldtune.errors import RecipeError

ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
LARGEST_POWER = 64
"""Keeps 9 ** 9 ** 9 from being worked out."""


def read_tables(path: Path, expected: Sequence[str]) -> dict[str, Any]:
    """The values of a file's assignments, by name; `expected` are the names that count.

    Raises RecipeError with the file and the line for anything else in it, and for a name that
    neither counts nor is used.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise RecipeError(f"{where}: {getattr(error, 'msg', error)}") from None
    reader = _Reader(path)
    for number, statement in enumerate(tree.body):
        reader.read(statement, first=number == 0)
    for name in reader.names.keys() - reader.used - set(expected):
        ending = suggestion(name, expected, f"; the tables are {', '.join(expected)}")
        raise RecipeError(f"{path}: {name} is assigned and never used{ending}")
    return reader.names


class _Reader:
    """The names of one file so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, Any] = {}
        self.used: set[str] = set()

    def read(self, statement: ast.stmt, *, first: bool) -> None:
        """Read one statement."""
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.names[name] = self.value(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.names[name] = self.value(value)
            case ast.Expr(value=ast.Constant(value=str())) if first:
                pass
            case _:
                raise self.refusal(statement, "is not a table")

    def value(self, node: ast.expr) -> Any:
        """What an expression stands for."""
        match node:
            case ast.Constant(value=value):
                if value is None or isinstance(value, bool | int | float | str):
                    return value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.value(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                return self.dict(node, keys, values)
            case ast.Name(id=name):
                if name in self.names:
                    self.used.add(name)
                    return self.names[name]
                raise self.refusal(node, f"'{name}' is not assigned above")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return self.worked_out(node, op, self.number(left), self.number(right))
        raise self.refusal(node, "is not data")

    def dict(
        self, node: ast.Dict, keys: list[ast.expr | None], values: list[ast.expr]
    ) -> dict[Any, Any]:
        """A dict; each key once, so that no line is lost behind another."""
        result: dict[Any, Any] = {}
        for key, item in zip(keys, values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str | int):
                raise self.refusal(key or node, "is not a key; expected text in quotes or a number")
            if key.value in result:
                raise self.refusal(key, f"{key.value!r} is here twice")
            result[key.value] = self.value(item)
        return result

    def number(self, node: ast.expr) -> Any:
        """The number that an expression stands for."""
        value = self.value(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(node, "is not a number")
        return value

    def worked_out(self, node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
        """The result of one operation."""
        if isinstance(op, ast.Pow) and abs(right) > LARGEST_POWER:
            raise self.refusal(node, f"the power is above {LARGEST_POWER}")
        try:
            result = ARITHMETIC[type(op)](left, right)
        except ArithmeticError as error:
            raise self.refusal(node, str(error)) from None
        if isinstance(result, complex):
            raise self.refusal(node, "is not a number")
        return result

    def refusal(self, node: ast.AST, why: str) -> RecipeError:
        """The mistake with its place."""
        line = getattr(node, "lineno", 1)
        text = ast.unparse(node).partition("\n")[0]
        return RecipeError(
            f"{self.path}, line {line}: {text}: {why}; the file is read as tables and not run. "
            "A file with code is given with --config=FILE"
        )

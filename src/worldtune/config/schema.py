"""Walking through a tree of settings classes: keys, defaults, descriptions."""

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic.fields import FieldInfo

from worldtune.config.settings import Settings
from worldtune.config.tree import Path, Tree, plain


@dataclass(frozen=True)
class Leaf:
    """One setting that holds a value, not a section."""

    path: Path
    field: FieldInfo


def section_of(annotation: Any) -> type[Settings] | None:
    """The settings class that an annotation stands for, alone or beside None."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Settings):
            return candidate
    return None


def children(schema: type[Settings]) -> Iterator[tuple[str, FieldInfo, type[Settings] | None]]:
    """Name, field and, where it is one, section of each entry of a settings class."""
    for name, field in schema.model_fields.items():
        yield name, field, section_of(field.annotation)


@cache
def schema_leaves(schema: type[Settings], above: Path = ()) -> tuple[Leaf, ...]:
    """Every leaf of a settings class and its sections, in order; a section of nothing is one."""
    result: list[Leaf] = []
    for name, field, section in children(schema):
        path = (*above, name)
        has_keys = section is not None and section.model_fields
        result.extend(schema_leaves(section, path) if has_keys else [Leaf(path, field)])
    return tuple(result)


@cache
def default_tree(schema: type[Settings]) -> Tree:
    """The defaults as a plain tree, not to be changed. Settings without one are left out."""
    return _defaults(schema, None)


def _defaults(schema: type[Settings], given: Settings | None) -> Tree:
    result: Tree = {}
    for name, field, section in children(schema):
        value = field.default if given is None else getattr(given, name)
        if section and (isinstance(value, Settings) or field.is_required()):
            result[name] = _defaults(section, value if isinstance(value, Settings) else None)
        elif not field.is_required():
            result[name] = plain(value)
    return result


def default_at(schema: type[Settings], path: Path) -> Any:
    """The default of the setting at a path, plain; nothing where there is none."""
    section = section_at(schema, path[:-1])
    field = section.model_fields.get(path[-1]) if section else None
    return plain(field.default) if field and not field.is_required() else None


def section_at(schema: type[Settings], path: Path) -> type[Settings] | None:
    """The settings class at a path, or None where the path leads to a value or nowhere."""
    current: type[Settings] | None = schema
    for key in path:
        field = current.model_fields.get(key) if current else None
        current = section_of(field.annotation) if field else None
    return current

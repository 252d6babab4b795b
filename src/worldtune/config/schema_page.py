"""The page that lists every setting, made from the schema."""

import json
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from worldtune.config.inert import reason_of
from worldtune.config.root import Root
from worldtune.config.schema import children, default_tree
from worldtune.config.settings import Settings
from worldtune.config.tree import Path, dotted, found, merged, plain, value_at

# Documents have one sentence a line.
# ruff: noqa: E501
HEAD = """# Settings

Every setting of a recipe, with its default, what it may be, and what it means.
`worldtune show EXPERIMENT` prints the values of one recipe and who set each.

A key is written with points: `trainer.max_iter=100` on the command line, or nested dicts in a settings file.
Sources are laid over one another in this order: the defaults, the chosen options of groups, the experiment, the command line.
{late}A key that is not listed here is a mistake, and so is a value of another kind.

There is a log line every `trainer.logging_iter` steps, or every `trainer.callbacks.iter_speed.hit_thres` where a recipe gives that.

This page is made by `worldtune show --schema {name}`.
"""
LATE = "An option of `{name}` that is chosen on the command line is laid over the experiment.\n"
INERT_HEAD = """
## Settings without a meaning here

They are read, so that published settings files go on working.
Changing one prints a notice.

| setting | why |
|---|---|
"""
NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}
LIMITS = {
    "ge": "{} or more",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "multiple_of": "a multiple of {}",
}


def schema_page(root: Root) -> str:
    """The page of one root, in Markdown."""
    late = "".join(LATE.format(name=group.name) for group in root.groups if group.late)
    lines = [HEAD.format(name=root.name, late=late), f"\n## {root.summary}\n"]
    lines += list(_groups(root))
    lines += ["", "| setting | default | may be | meaning |", "|---|---|---|---|"]
    inert: list[str] = []
    defaults = merged(default_tree(root.schema), root.values)
    for path, field, section in _fields(root.schema, ()):
        reason = reason_of(dotted(path))
        if reason:
            inert.append(f"| `{dotted(path)}` | {reason} |")
        elif section is None:
            lines.append(_row(path, field, defaults))
    lines += [INERT_HEAD.strip("\n"), *inert]
    return "\n".join(lines) + "\n"


def _groups(root: Root) -> Iterator[str]:
    yield "| group | default | options |"
    yield "|---|---|---|"
    for group in root.groups:
        default = group.default if isinstance(group.default, str) else "".join(group.default or "")
        shown = f"`{default}`" if default else "none"
        yield f"| `{group.name}` | {shown} | {', '.join(f'`{name}`' for name in group.options)} |"


def _fields(
    schema: type[Settings], above: Path
) -> Iterator[tuple[Path, FieldInfo, type[Settings] | None]]:
    for name, field, section in children(schema):
        path = (*above, name)
        yield path, field, section
        if section:
            yield from _fields(section, path)


def _row(path: Path, field: FieldInfo, defaults: dict[str, Any]) -> str:
    if field.is_required():
        default = "required"
    else:
        value = value_at(defaults, path) if found(defaults, path) else plain(field.default)
        default = f"`{json.dumps(value)}`"
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{dotted(path)}` | {default} | {_kind(field)} | {meaning} |"


def _kind(field: FieldInfo) -> str:
    words = [_named(field.annotation)]
    for limit in field.metadata:
        for name, form in LIMITS.items():
            bound = getattr(limit, name, None)
            if bound is not None:
                words.append(form.format(f"{bound:g}" if isinstance(bound, float) else bound))
    return ", ".join(words) + (", or nothing" if NoneType in get_args(field.annotation) else "")


def _named(annotation: Any) -> str:
    if annotation in NAMES:
        return NAMES[annotation]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        choices = (choice if isinstance(choice, str) else json.dumps(choice) for choice in inside)
        return ", ".join(f"`{choice}`" for choice in choices)
    if origin in (typing.Union, UnionType):
        return " or ".join(_named(each) for each in inside if each is not NoneType)
    if origin is tuple:
        if inside[-1] is Ellipsis:
            return f"list of {_plural(inside[0])}"
        return f"{len(inside)} {_plural(inside[0])}"
    if origin is dict:
        return f"dict of {_plural(inside[1])}"
    raise TypeError(f"no word for {annotation}")


def _plural(annotation: Any) -> str:
    return _named(annotation) + ("" if annotation is bool else "s")

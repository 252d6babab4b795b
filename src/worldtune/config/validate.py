"""From a composed tree to checked settings, or to every mistake in it."""

from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from worldtune.config.checks import DISAGREEMENT
from worldtune.config.mistakes import Mistake, listed_words, nearest, shown
from worldtune.config.schema import schema_leaves, section_at
from worldtune.config.settings import Settings
from worldtune.config.tree import Tree, dotted, found, value_at, without

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
    "model_attributes_type": "a section",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "string_too_short": "some text",
    "multiple_of": "a multiple of {multiple_of}",
}


def validate(schema: type[Settings], tree: Tree) -> tuple[Settings | None, list[Mistake]]:
    """The settings of a composed tree; or None and every mistake.

    Checks between settings run only on a tree that is right key by key. So that their
    mistakes are told in the same go, wrong keys are taken out and the rest is read again;
    what is then said about a key that was taken out is left unsaid.
    """
    mistakes: list[Mistake] = []
    removed: set[str] = set()
    while True:
        try:
            settings = schema.model_validate(tree)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            return (None if mistakes else settings), mistakes
        paths = [_path(tree, detail) for detail in details]
        for detail, path in zip(details, paths, strict=True):
            for mistake in _mistakes(schema, tree, detail, path):
                if removed.isdisjoint(mistake.keys):
                    mistakes.append(mistake)
        smaller = tree
        for path in paths:
            smaller = without(smaller, path) if path else smaller
            removed.add(dotted(path))
        if smaller == tree:
            return None, mistakes
        tree = smaller


def _path(tree: Tree, detail: ErrorDetails) -> tuple[str, ...]:
    """The part of the error's place that is a path in the tree, or one step beyond it."""
    path: tuple[str, ...] = ()
    for part in detail["loc"]:
        if not isinstance(part, str):
            break
        longer = (*path, part)
        if not found(tree, longer):
            return longer if detail["type"] == "missing" else path
        path = longer
    return path


def _mistakes(
    schema: type[Settings], tree: Tree, detail: ErrorDetails, path: tuple[str, ...]
) -> list[Mistake]:
    kind, context = detail["type"], detail.get("ctx", {})
    key = dotted(path)
    if kind == DISAGREEMENT:
        return list(context["mistakes"])
    if kind == "extra_forbidden":
        return [_unknown(schema, path)]
    if kind == "missing" and not found(tree, path):
        return [Mistake(f"{key} is not set; {_meaning(schema, path)}", (key,))]
    places = [part for part in detail["loc"] if isinstance(part, int)]
    name = key + "".join(f"[{place}]" for place in places)
    value = detail["input"] if found(tree, path) else None
    if kind == "missing":
        name, value = key, value_at(tree, path)
    expected = _expected(schema, tree, path, kind, context, value)
    return [Mistake(f"{name} is {shown(value)}; expected {expected}", (key,))]


def _expected(
    schema: type[Settings],
    tree: Tree,
    path: tuple[str, ...],
    kind: str,
    context: dict[str, Any],
    value: object,
) -> str:
    if kind == "literal_error":
        choices = _choices(schema, path)
        words = [choice for choice in choices if isinstance(choice, str)]
        if not words:
            return " or ".join(map(shown, choices))
        near = nearest(value, words) if isinstance(value, str) else None
        return listed_words(words) + (f"; did you mean '{near}'?" if near else "")
    if kind in ("missing", "too_long") and isinstance(value_at(tree, path), list | tuple):
        return f"a list of {_length(schema, path)}"
    bounds = {name: f"{bound:g}" for name, bound in context.items() if _is_number(bound)}
    expected = EXPECTED.get(kind, "{error}").format(**{"error": kind, **context, **bounds})
    if isinstance(value, float) and value.is_integer() and expected == "a whole number":
        return f"{expected}, like {int(value)}"
    if isinstance(value, str) and set(value) & set("*^/(") and "number" in expected:
        return f"{expected}; write it out, nothing is computed"
    return expected


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _unknown(schema: type[Settings], path: tuple[str, ...]) -> Mistake:
    """A key that is in no section: a deeper place of its name, else the nearest word."""
    key = dotted(path)
    above, last = path[:-1], path[-1]
    section = section_at(schema, above)
    siblings = list(section.model_fields) if section else []
    namesakes = [leaf.path for leaf in schema_leaves(schema) if leaf.path[-1] == last]
    below = [dotted(place) for place in namesakes if above and place[: len(above)] == above]
    elsewhere = [dotted(place) for place in namesakes]
    near = next(iter(below), None) or nearest(last, siblings) or next(iter(elsewhere), None)
    ending = f"; did you mean '{near}'?" if near else f"; {_listing(above, siblings)}"
    return Mistake(f"{key} is not a setting{ending}", (key,))


def _listing(above: tuple[str, ...], siblings: list[str]) -> str:
    where = f"{dotted(above)} has" if above else "there are"
    return f"{where} {', '.join(siblings)}"


def _meaning(schema: type[Settings], path: tuple[str, ...]) -> str:
    section = section_at(schema, path[:-1])
    description = section.model_fields[path[-1]].description if section else None
    return f"it is: {description}" if description else "it has no default"


def _annotation(schema: type[Settings], path: tuple[str, ...]) -> object:
    section = section_at(schema, path[:-1])
    return section.model_fields[path[-1]].annotation if section else None


def _choices(schema: type[Settings], path: tuple[str, ...]) -> list[object]:
    annotation = _annotation(schema, path)
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) is Literal:
            return list(get_args(candidate))
    return []


def _length(schema: type[Settings], path: tuple[str, ...]) -> int:
    return len(get_args(_annotation(schema, path)))

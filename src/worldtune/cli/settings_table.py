"""Printing settings, recipes and the schema: in columns on a terminal, plain lines elsewhere."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worldtune.cli.launching import compose_launch
from worldtune.config.compose import Composed
from worldtune.config.mistakes import suggestion
from worldtune.config.origins import DEFAULTS
from worldtune.config.root import Root
from worldtune.config.schema_page import schema_page
from worldtune.config.tree import dotted, leaves, plain
from worldtune.config.words import LaunchWords
from worldtune.errors import RecipeError
from worldtune.recipes.roots import ROOTS, root_here, roots_here


def every_setting(words: Sequence[str]) -> str:
    """The page of all settings of one root, or of each, in Markdown.

    Raises RecipeError where the words are no root's name.
    """
    for word in words:
        if word not in ROOTS:
            ending = suggestion(word, ROOTS, f"; the roots are {', '.join(ROOTS)}")
            raise RecipeError(f"'{word}' is not a root{ending}")
    return "\n".join(schema_page(ROOTS[name]) for name in words or ROOTS)


def tell(words: LaunchWords, *, as_json: bool) -> None:
    """Print the settings of one recipe with their origins, and its notices."""
    composed = compose_launch(words)
    if as_json:
        typer.echo(_as_json(composed))
        return
    rows = [(key, _written(value), who) for key, value, who in rows_of(composed)]
    if sys.stdout.isatty():
        _tell_in_colour(rows, composed.notices)
        return
    for key, value, who in rows:
        typer.echo(f"{key} = {value}  ({who})")
    for notice in composed.notices:
        typer.echo(f"Notice: {notice}")


def rows_of(composed: Composed) -> list[tuple[str, Any, str]]:
    """Key, value and origin of every setting, in the schema's order."""
    tree = plain(composed.recipe.model_dump())
    return [(dotted(p), value, composed.origins[dotted(p)]) for p, value in leaves(tree)]


def _as_json(composed: Composed) -> str:
    settings = {key: {"value": value, "origin": who} for key, value, who in rows_of(composed)}
    answer = {
        "root": composed.root.name,
        "experiment": composed.experiment,
        "settings": settings,
        "notices": composed.notices,
    }
    return json.dumps(answer, indent=2, ensure_ascii=False)


def _written(value: Any) -> str:
    """A value as it can be given back on the command line."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if re.fullmatch(r"[\w./@:%+-]+", value):
        return value
    escaped = value.replace("'", r"\'")
    return f"'{escaped}'"


def _tell_in_colour(rows: Iterable[tuple[str, str, str]], notices: Iterable[str]) -> None:
    table = Table("setting", "value", "set by", box=None, pad_edge=False)
    for key, value, who in rows:
        style = "dim" if who == DEFAULTS else ""
        table.add_row(Text(key, style), Text(value, style or "bold"), Text(who, style))
    console = Console()
    console.print(table)
    for notice in notices:
        console.print(Text(f"Notice: {notice}", "yellow"))


def tell_recipes(name: str | None = None, *, as_json: bool) -> None:
    """Print one root or all of them, with recipes and the options of groups."""
    roots = {root.name: root for root in ((root_here(name),) if name else roots_here())}
    if as_json:
        typer.echo(json.dumps({name: _described(root) for name, root in roots.items()}, indent=2))
        return
    for root in roots.values():
        typer.echo(f"{root.name}: {root.summary}")
        for remark in root.remarks:
            typer.echo(f"Notice: {remark}")
        typer.echo()
        width = max(map(len, root.experiments))
        for name, experiment in root.experiments.items():
            typer.echo(f"  {name:{width}}  {experiment.summary}")
        typer.echo("\n  Options, chosen with group=option:")
        for group in root.groups:
            typer.echo(f"  {group.name}: {', '.join(group.options)}")
        typer.echo()
    typer.echo("worldtune show EXPERIMENT prints its settings.")


def _described(root: Root) -> dict[str, Any]:
    return {
        "summary": root.summary,
        "experiments": {name: each.summary for name, each in root.experiments.items()},
        "groups": {
            group.name: {"options": list(group.options), "default": group.default}
            for group in root.groups
        },
    }

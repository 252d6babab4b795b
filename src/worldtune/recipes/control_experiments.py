"""From the tables of Transfer1's experiments to the experiments."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from worldtune.config.mistakes import Mistake, raise_all, suggestion
from worldtune.config.root import Experiment
from worldtune.config.settings import Settings, required, setting
from worldtune.config.table_file import read_tables
from worldtune.config.tree import Tree, merged, plain
from worldtune.config.validate import validate
from worldtune.errors import RecipeError

TABLES = {
    "NAME": str,
    "EXPERIMENTS": dict,
    "CONTROLS": dict,
    "EVERY": dict,
    "FORMS": dict,
    "STAGES": dict,
    "SIZES": dict,
}
# Not that of ${another.setting}.
WORD = re.compile(r"(?<!\$)\{(\w+)\}")
DEEPEST_WORD = 5
"""Words in words; more is a word that holds itself."""


class Row(Settings):
    """What every row may have."""

    about: str = required("A few words for the list of recipes.")
    words: dict[str, str] = setting({}, "What {word} stands for.")
    groups: dict[str, str] = setting({}, "Options that are chosen.")
    settings: dict[str, Any] | tuple[dict[str, Any], ...] = setting({}, "Settings, or layers.")


class FormRow(Row):
    """What is generated, and from what."""

    frames: tuple[int, ...] = required("Numbers of frames, an experiment for each.", min_length=1)


class SizeRow(Row):
    """How large the networks are."""

    frames: tuple[int, ...] | None = setting(None, "In place of the form's.")
    frames_per_latent: int = required("Frames of a latent frame.", ge=1)


class ControlRow(Row):
    """What steers."""

    forms: tuple[str, ...] = required("Forms that are steered by it.")
    sizes: tuple[str, ...] = required("Sizes in which it is trained.")


class EveryRow(Row):
    """What all experiments have."""

    about: str = setting("", "Nothing to say.")


class OwnRow(Settings):
    """An experiment that is another one with changes."""

    like: str = required("The other one's name.")
    about: str | None = setting(None, "A few words for the list of recipes.")
    groups: dict[str, str] = setting({}, "Options that are chosen.")
    settings: dict[str, Any] = setting({}, "What is changed.")


AnyRow = TypeVar("AnyRow", bound=Settings)


@dataclass(frozen=True)
class Tables:
    """The tables, checked; `file` is where they are from, nothing for the package's own."""

    name: str
    every: EveryRow
    forms: Mapping[str, FormRow]
    stages: Mapping[str, Row]
    sizes: Mapping[str, SizeRow]
    controls: Mapping[str, ControlRow]
    own: Mapping[str, OwnRow]
    file: str | None = None


def check_tables(values: Mapping[str, Any], file: str | None = None) -> Tables:
    """Tables from the values of a file's names.

    Raises RecipeError with every mistake in the rows.
    """
    where = file or "the package's tables"
    wrong = [name for name in TABLES if not isinstance(values.get(name), TABLES[name])]
    if wrong:
        kinds = ", ".join(f"{name}, a {TABLES[name].__name__}" for name in wrong)
        raise RecipeError(f"{where}: expected {kinds}")
    mistakes: list[Mistake] = []

    def rows(table: str, schema: type[AnyRow]) -> dict[str, AnyRow]:
        return {
            str(name): row
            for name, values_of_row in values[table].items()
            if (row := _row(schema, values_of_row, f"{table}['{name}']", mistakes)) is not None
        }

    every = _row(EveryRow, values["EVERY"], "EVERY", mistakes) or EveryRow()
    tables = Tables(
        name=values["NAME"],
        every=every,
        forms=rows("FORMS", FormRow),
        stages=rows("STAGES", Row),
        sizes=rows("SIZES", SizeRow),
        controls=rows("CONTROLS", ControlRow),
        own=rows("EXPERIMENTS", OwnRow),
        file=file,
    )
    mistakes += _unknown_names(tables)
    raise_all([Mistake(f"{where}: {mistake.text}") for mistake in mistakes], {})
    return tables


def read_control_tables(path: Path) -> Tables:
    """Tables from a file; nothing of it is run."""
    return check_tables(read_tables(path, list(TABLES)), path.as_posix())


def _row(schema: type[AnyRow], values: Any, where: str, mistakes: list[Mistake]) -> AnyRow | None:
    if not isinstance(values, dict):
        mistakes.append(Mistake(f"{where} is {values!r}; expected a dict"))
        return None
    row, wrong = validate(schema, plain(values))
    mistakes += [Mistake(f"{where}: {mistake.text}") for mistake in wrong]
    assert row is None or isinstance(row, schema)
    return row


def _unknown_names(tables: Tables) -> Iterator[Mistake]:
    for control, row in tables.controls.items():
        for table, names, known in (
            ("FORMS", row.forms, tables.forms),
            ("SIZES", row.sizes, tables.sizes),
        ):
            for name in names:
                if name not in known:
                    ending = suggestion(name, known, f"; it has {', '.join(known)}")
                    yield Mistake(f"CONTROLS['{control}']: '{name}' is not in {table}{ending}")


@dataclass(frozen=True)
class Made:
    """One experiment before it is written down: what is chosen, set and said."""

    groups: Mapping[str, str]
    settings: Tree
    summary: str


def control_experiments(tables: Tables) -> dict[str, Experiment]:
    """Every experiment of the tables, by name.

    Raises RecipeError for a {word} that stands for nothing.
    """
    made: dict[str, Made] = {}
    for size_name, size in tables.sizes.items():
        for form_name, form in tables.forms.items():
            for frames in size.frames or form.frames:
                for control_name, control in tables.controls.items():
                    if form_name in control.forms and size_name in control.sizes:
                        words = {
                            "size": size_name,
                            "form": form_name,
                            "frames": frames,
                            "latent_frames": (frames - 1) // size.frames_per_latent + 1,
                            "control": control_name,
                        }
                        _add(made, _stages(tables, words), tables)
    _add(made, _own(tables, made), tables)
    return {
        name: Experiment(
            each.summary,
            {
                "defaults": [{f"override /{k}": v} for k, v in each.groups.items()] + ["_self_"],
                **each.settings,
            },
            tables.file,
        )
        for name, each in made.items()
    }


def _add(made: dict[str, Made], more: Iterable[tuple[str, Made]], tables: Tables) -> None:
    for name, each in list(more):
        if name in made:
            text = f"{tables.file or 'the tables'}: '{name}' would be two experiments; expected a"
            raise RecipeError(f"{text} NAME with the words size, form, frames, control and stage")
        made[name] = each


def _stages(tables: Tables, words: Mapping[str, Any]) -> Iterator[tuple[str, Made]]:
    """The experiments of one size, form, number of frames and control."""
    size, form = tables.sizes[words["size"]], tables.forms[words["form"]]
    control = tables.controls[words["control"]]
    for stage_name, stage in tables.stages.items():
        rows = (tables.every, form, stage, size, control)
        known = reduce(lambda all_words, row: all_words | row.words, rows, {**words})
        known = {"weights": words["control"], **known, "stage": stage_name}
        known["name"] = _filled(tables.name, known, "NAME")
        known["pretrain"] = _filled(tables.name, {**known, "stage": "pretrain"}, "NAME")
        groups = reduce(lambda chosen, row: {**chosen, **row.groups}, rows, {})
        settings = reduce(merged, (layer for row in rows for layer in _layers(row)), {})
        where = f"{tables.file or 'the tables'}, {known['name']}"
        yield (
            known["name"],
            Made(
                groups=_filled(groups, known, where),
                settings=_filled(plain(settings), known, where),
                summary=f"{size.about}, {form.about}, {words['frames']} frames: {control.about}, "
                f"{stage.about}",
            ),
        )


def _layers(row: Row) -> tuple[dict[str, Any], ...]:
    return (row.settings,) if isinstance(row.settings, dict) else row.settings


def _own(tables: Tables, made: Mapping[str, Made]) -> Iterator[tuple[str, Made]]:
    for name, row in tables.own.items():
        if row.like not in made:
            ending = suggestion(row.like, made)
            where = tables.file or "the tables"
            raise RecipeError(f"{where}: EXPERIMENTS['{name}'] is like '{row.like}', which is not "
                              f"an experiment{ending}")  # fmt: skip
        like = made[row.like]
        settings = merged(like.settings, {"job": {"name": name}})
        about = row.about or f"Like {row.like}"
        yield name, Made({**like.groups, **row.groups}, merged(settings, row.settings), about)


def _filled(value: Any, words: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """The value with every {word} replaced, also in the words."""
    if isinstance(value, Mapping):
        return {key: _filled(item, words, where, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words, where, depth) for item in value]
    if not isinstance(value, str) or not WORD.search(value):
        return value
    for word in WORD.findall(value):
        if word not in words or depth > DEEPEST_WORD:
            ending = suggestion(word, words, f"; the words are {', '.join(words)}")
            raise RecipeError(f"{where}: '{value}': {{{word}}} stands for nothing{ending}")
    alone = WORD.fullmatch(value)
    if alone:
        return _filled(words[alone[1]], words, where, depth + 1)
    replaced = WORD.sub(lambda match: str(words[match[1]]), value)
    return _filled(replaced, words, where, depth + 1)

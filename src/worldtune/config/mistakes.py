"""What a mistake says: the key, what was found, what was expected, the nearest valid word."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from worldtune.errors import RecipeError

LONGEST_VALUE = 60


@dataclass(frozen=True)
class Mistake:
    """One mistake; `keys` are the settings it is about, `who` names who set them if no key can."""

    text: str
    keys: tuple[str, ...] = ()
    who: str | None = None

    def told(self, origins: Mapping[str, str]) -> str:
        """The message, with who set what."""
        known = {key: who for key in self.keys if (who := who_set(key, origins))}
        if self.who:
            return f"{self.text}\n  (set by {self.who})"
        if len(set(known.values())) == 1:
            return f"{self.text}\n  (set by {next(iter(known.values()))})"
        if known:
            each = ", ".join(f"{key} by {who}" for key, who in known.items())
            return f"{self.text}\n  ({each})"
        return self.text


def who_set(key: str, origins: Mapping[str, str]) -> str | None:
    """Who set a key, or something below it."""
    if key in origins:
        return origins[key]
    return next((who for leaf, who in origins.items() if leaf.startswith(f"{key}.")), None)


def raise_all(mistakes: Iterable[Mistake], origins: Mapping[str, str]) -> None:
    """Tell all mistakes in one RecipeError; nothing happens where there are none."""
    told = list(dict.fromkeys(mistake.told(origins) for mistake in mistakes))
    if len(told) == 1:
        raise RecipeError(told[0])
    if told:
        raise RecipeError(f"{len(told)} mistakes:\n" + "\n".join(told))


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like the word, if one does."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def suggestion(word: str, choices: Iterable[str], otherwise: str = "") -> str:
    """'; did you mean ...?' where a choice is near, else the given ending."""
    close = nearest(word, choices)
    return f"; did you mean '{close}'?" if close else otherwise


def shown(value: Any) -> str:
    """A value as it is written in a message, with its kind where that may be what is wrong."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"a section ({', '.join(map(str, value)) or 'empty'})"
    text = repr(list(value) if isinstance(value, tuple) else value)
    if len(text) > LONGEST_VALUE:
        text = text[: LONGEST_VALUE - 3] + "..."
    if isinstance(value, bool):
        return str(value).lower()
    return f"the text {text}" if isinstance(value, str) else text


def listed_words(words: Iterable[str]) -> str:
    """Words in quotes: 'a', 'b' or 'c'."""
    quoted = [f"'{word}'" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"

"""The words of a launch command, in every form that the published documents write them.

Understood, and free to be mixed:

    --config=cosmos_predict2/configs/base/config.py --experiment=NAME key=value
    --config PATH --dryrun -- experiment=NAME key=value
    --config=my_run.py --experiment=NAME model.config.train_architecture=lora

Flags stand before `--`. An override is `key=value`, `+key=value`, `++key=value` or `~key`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worldtune.config.mistakes import suggestion
from worldtune.errors import RecipeError

FLAGS_WITH_VALUE = ("--config", "--experiment")
FLAGS_WITHOUT_VALUE = ("--dryrun", "--help")
FLAGS = FLAGS_WITH_VALUE + FLAGS_WITHOUT_VALUE

_OVERRIDE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^\s=+~-][^\s=]*)(?P<value>=.*)?", re.DOTALL)
# What word processors and web pages make of two hyphens.
_TYPESET_DASHES = ("\u2013", "\u2014", "\u2212")


@dataclass(frozen=True)
class LaunchWords:
    """What a launch command says, before anything is looked up.

    `config` is a root's name, a published path or a user's own file, as it was written.
    `overrides` keep their order and never hold the experiment.
    """

    config: str | None = None
    experiment: str | None = None
    overrides: tuple[str, ...] = ()
    dryrun: bool = False
    help: bool = False


def read_words(words: Sequence[str]) -> LaunchWords:
    """Read the words that follow the program's name.

    Raises RecipeError with every mistake in them, one a line.
    """
    reader = _Reader()
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if word == "--" and not reader.after_dashes:
            reader.after_dashes = True
        elif word.startswith("-"):
            reader.read_flag(word, pending)
        else:
            reader.read_override(word)
    return reader.finish()


class _Reader:
    """Words read so far, and the mistakes in them."""

    def __init__(self) -> None:
        self.after_dashes = False
        self.given: dict[str, list[str]] = {flag: [] for flag in FLAGS_WITH_VALUE}
        self.present: set[str] = set()
        self.overrides: list[str] = []
        self.mistakes: list[str] = []

    def read_flag(self, word: str, pending: list[str]) -> None:
        """Read one word that begins with a hyphen; its value may be the next word."""
        flag, equals, value = word.partition("=")
        flag = "--help" if flag == "-h" else flag
        if self.after_dashes:
            self._refuse_after_dashes(word, flag)
        elif flag in FLAGS_WITHOUT_VALUE:
            if equals:
                self.mistakes.append(f"{flag} takes no value, but got '{value}'; write {flag}")
            self.present.add(flag)
        elif flag in FLAGS_WITH_VALUE:
            if not equals and pending and not pending[0].startswith("-"):
                value = pending.pop(0)
            self._keep(flag, value)
        else:
            hint = suggestion(flag, FLAGS, f"; the flags are {', '.join(FLAGS)}")
            self.mistakes.append(f"{flag} is not a flag{hint}")

    def read_override(self, word: str) -> None:
        """Read one word that is not a flag."""
        match = _OVERRIDE.fullmatch(word)
        no_value = match is None or (match["value"] is None and match["sign"] != "~")
        if match is None or no_value or word.startswith(_TYPESET_DASHES):
            self.mistakes.append(_not_an_override(word))
        elif match["key"] != "experiment":
            self.overrides.append(word)
        elif match["sign"]:
            self.mistakes.append(
                f"'{word}': the experiment is chosen with experiment=NAME, "
                f"without '{match['sign']}'"
            )
        else:
            self._keep("--experiment", (match["value"] or "=")[1:], written="experiment")

    def finish(self) -> LaunchWords:
        """Give the words read, or tell every mistake at once."""
        config, experiment = (self._only_one(flag) for flag in FLAGS_WITH_VALUE)
        if self.mistakes:
            raise RecipeError("\n".join(self.mistakes))
        return LaunchWords(
            config=config,
            experiment=experiment,
            overrides=tuple(self.overrides),
            dryrun="--dryrun" in self.present,
            help="--help" in self.present,
        )

    def _keep(self, flag: str, value: str, written: str | None = None) -> None:
        if value:
            self.given[flag].append(value)
            return
        written = written or flag
        self.mistakes.append(
            f"{written} has no value; write {written}=... "
            "(if it was a shell variable, the variable is empty)"
        )

    def _only_one(self, flag: str) -> str | None:
        values = list(dict.fromkeys(self.given[flag]))
        if len(values) > 1:
            what = "settings file" if flag == "--config" else "experiment"
            named = " and ".join(f"'{value}'" for value in values)
            self.mistakes.append(f"{named} are given, but a run has one {what}; keep one of them")
        return values[0] if values else None

    def _refuse_after_dashes(self, word: str, flag: str) -> None:
        if flag in FLAGS:
            self.mistakes.append(f"{word} stands after '--'; flags go before it")
        else:
            self.mistakes.append(
                f"'{word}' is no key=value; after '--' stand only words like trainer.max_iter=100"
            )


def _not_an_override(word: str) -> str:
    if not word.strip():
        return "an empty word was given (a shell variable that is not set?); leave it out"
    if word.startswith(_TYPESET_DASHES):
        plain = "--" + word.lstrip("".join(_TYPESET_DASHES))
        return f"'{word}' begins with a typeset dash; write {plain} with two hyphens"
    expected = "words are key=value, like trainer.max_iter=100"
    if word.endswith(".py"):
        return f"'{word}' is no key=value; a settings file is named with --config={word}"
    if re.fullmatch(r"\w+", word):
        return f"'{word}' is no key=value; {expected}, and an experiment is --experiment={word}"
    return f"'{word}' is no key=value; {expected}"

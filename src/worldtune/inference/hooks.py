"""Guardrails and prompt refiners: code from outside, named as package.module:callable.

None comes with the project. A name stands in the recipe or on the command line; what it names
is called once with the recipe's settings for it and returns a `Guardrail` or a `Refiner`.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from worldtune.config.video2world import HelperModelSettings, PipelineSettings
from worldtune.errors import RecipeError, RunError

EXPECTED = "expected package.module:callable"

# What is told of a hook that did nothing.
ABSENT = "absent"
SWITCHED_OFF = "switched off on the command line"
ENABLED_AND_ABSENT = "absent, although the settings enable it"

Hook = TypeVar("Hook")


@runtime_checkable
class Guardrail(Protocol):
    """Looks at prompts before, and at frames after, a clip is made."""

    def refuse_prompt(self, prompt: str) -> str | None:
        """Return why the prompt is refused, or None."""
        ...

    def refuse_video(self, frames_THWC: np.ndarray) -> str | None:
        """Return why the frames, uint8 RGB, are refused, or None."""
        ...

    def edit_video(self, frames_THWC: np.ndarray) -> np.ndarray:
        """Return the frames as they may be shown, faces blurred for instance."""
        ...


@runtime_checkable
class Refiner(Protocol):
    """Rewrites a prompt."""

    def __call__(self, prompt: str, frames_THWC: np.ndarray | None) -> str:
        """Return the prompt to use, given the frames, uint8 RGB, that the clip begins with."""
        ...


@dataclass(frozen=True)
class Hooks:
    """The hooks of a command, and what is told of them in the file beside a clip."""

    guardrail: Guardrail | None = None
    guardrail_told: str = ABSENT
    refiner: Refiner | None = None
    refiner_told: str = ABSENT
    warnings: tuple[str, ...] = ()

    def refuse_prompt(self, prompt: str) -> str | None:
        """Return why the guardrail refuses a prompt; None where it does not, or is absent."""
        return None if self.guardrail is None else self.guardrail.refuse_prompt(prompt)

    def refuse_video(self, frames_THWC: UInt8[Tensor, "t h w 3"]) -> str | None:
        """Return why the guardrail refuses a clip; None where it does not, or is absent."""
        return None if self.guardrail is None else self.guardrail.refuse_video(frames_THWC.numpy())

    def edit_video(self, frames_THWC: UInt8[Tensor, "t h w 3"]) -> UInt8[Tensor, "t h w 3"]:
        """Return the frames as the guardrail lets them be shown.

        Errors: RunError where it returns anything but as many frames of this size.
        """
        if self.guardrail is None:
            return frames_THWC
        edited = self.guardrail.edit_video(frames_THWC.numpy())
        shape = tuple(frames_THWC.shape)
        if not isinstance(edited, np.ndarray) or edited.dtype != np.uint8 or edited.shape != shape:
            raise RunError(
                f"the guardrail {self.guardrail_told} returned {_told(edited)} from edit_video; "
                f"expected uint8 frames {list(shape)}"
            )
        return torch.from_numpy(np.ascontiguousarray(edited))

    def refine(self, prompt: str, frames_THWC: UInt8[Tensor, "n h w 3"] | None) -> str:
        """Return the prompt that the refiner makes of one, or the prompt where it is absent.

        Errors: RunError where it returns no text.
        """
        if self.refiner is None:
            return prompt
        refined = self.refiner(prompt, None if frames_THWC is None else frames_THWC.numpy())
        if not isinstance(refined, str) or not refined.strip():
            raise RunError(
                f"the prompt refiner {self.refiner_told} returned {refined!r}; expected a text"
            )
        return refined


def build_hooks(
    settings: PipelineSettings,
    *,
    guardrail: str | None = None,
    refiner: str | None = None,
    no_guardrail: bool = False,
    no_refiner: bool = False,
) -> Hooks:
    """Load the hooks that are named; `no_...` switches one off that the settings enable.

    What the settings enable and nobody names is absent, with a warning. Errors: RecipeError.
    """
    rail, rail_told, rail_warnings = _hook(
        "guardrail", guardrail, no_guardrail, settings.guardrail_config, load_guardrail
    )
    pen, pen_told, pen_warnings = _hook(
        "prompt refiner", refiner, no_refiner, settings.prompt_refiner_config, load_refiner
    )
    return Hooks(rail, rail_told, pen, pen_told, (*rail_warnings, *pen_warnings))


def _hook(
    what: str,
    name: str | None,
    switched_off: bool,
    settings: HelperModelSettings,
    load: Callable[[str, HelperModelSettings], Hook],
) -> tuple[Hook | None, str, list[str]]:
    """Return a hook, what is told of it, and warnings."""
    flag = f"--{what.replace(' ', '-')}"
    if switched_off:
        if name is not None:
            raise RecipeError(f"{flag} and --no-{flag[2:]} are both given; keep one of them")
        return None, SWITCHED_OFF, []
    if name is None and settings.enabled:
        name = settings.callable or None
    if name is not None:
        return load(name, settings), name, []
    if settings.enabled:
        warning = (
            f"The settings enable a {what}, and none comes with this project: clips are made "
            f"without. Name one with {flag} package.module:callable, or in its settings as "
            "callable"
        )
        return None, ENABLED_AND_ABSENT, [warning]
    return None, ABSENT, []


def _told(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__


@contextmanager
def _with_working_folder() -> Iterator[None]:
    """Let modules beside the user be found; installed ones come first."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def load_guardrail(name: str, settings: HelperModelSettings) -> Guardrail:
    """Make the guardrail of that name. Errors: RecipeError."""
    made = _find(name, "--guardrail")(settings)
    if not isinstance(made, Guardrail):
        raise RecipeError(
            f"--guardrail {name}: it returned {type(made).__name__}; expected an object with "
            "the methods refuse_prompt, refuse_video and edit_video"
        )
    return made


def load_refiner(name: str, settings: HelperModelSettings) -> Refiner:
    """Make the prompt refiner of that name. Errors: RecipeError."""
    made = _find(name, "--prompt-refiner")(settings)
    if not isinstance(made, Refiner):
        raise RecipeError(
            f"--prompt-refiner {name}: it returned {type(made).__name__}, which cannot be "
            "called; expected a function of a prompt and frames"
        )
    return made


def _find(name: str, flag: str) -> Callable[[HelperModelSettings], object]:
    module_name, colon, path = name.partition(":")
    if not (colon and module_name and path):
        raise RecipeError(f"{flag} {name!r}: {EXPECTED}")
    try:
        with _with_working_folder():
            found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise RecipeError(
            f"{flag} {name}: the module {module_name} cannot be imported ({error}); it is looked "
            "for among the installed packages and in the working folder"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise RecipeError(f"{flag} {name}: {module_name} has no {path}; {EXPECTED}")
        found = getattr(found, part)
    if not callable(found):
        raise RecipeError(f"{flag} {name}: {path} cannot be called; {EXPECTED}")
    return found

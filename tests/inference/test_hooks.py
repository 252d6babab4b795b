"""Guardrails and refiners: named, loaded, absent, and never silently so."""

import sys

import pytest
import torch

from tests.inference import hook_examples
from tests.inference.recipes import tiny_recipe
from worldtune.errors import RecipeError, RunError
from worldtune.inference.hooks import Hooks, build_hooks
from worldtune.inference.pieces import pipeline

HERE = "tests.inference.hook_examples"
FRAMES = torch.full((2, 16, 16, 3), 90, dtype=torch.uint8)


def settings(**pipe):
    return pipeline(tiny_recipe(pipe))


def test_without_hooks_nothing_is_refused_or_changed_and_that_is_told():
    hooks = build_hooks(settings())

    assert hooks == Hooks()
    assert (hooks.guardrail_told, hooks.refiner_told) == ("absent", "absent")
    assert hooks.refuse_prompt("a crash") is None
    assert hooks.refuse_video(FRAMES) is None
    assert hooks.edit_video(FRAMES) is FRAMES
    assert hooks.refine("a car", None) == "a car"


def test_what_the_settings_enable_and_nobody_names_is_a_warning():
    both = settings(guardrail_config={"enabled": True}, prompt_refiner_config={"enabled": True})
    hooks = build_hooks(both)

    assert hooks.guardrail is None
    assert hooks.guardrail_told == hooks.refiner_told == "absent, although the settings enable it"
    assert [warning.partition(":")[0] for warning in hooks.warnings] == [
        "The settings enable a guardrail, and none comes with this project",
        "The settings enable a prompt refiner, and none comes with this project",
    ]


def test_a_hook_that_is_switched_off_is_no_warning():
    both = settings(guardrail_config={"enabled": True}, prompt_refiner_config={"enabled": True})
    hooks = build_hooks(both, no_guardrail=True, no_refiner=True)

    assert hooks.warnings == ()
    assert hooks.guardrail_told == hooks.refiner_told == "switched off on the command line"


def test_a_hook_is_made_with_the_recipes_settings_for_it():
    told = settings(guardrail_config={"enabled": True, "checkpoint_dir": "guard"})
    hooks = build_hooks(told, guardrail=f"{HERE}:Strict")

    assert isinstance(hooks.guardrail, hook_examples.Strict)
    assert hooks.guardrail.settings.checkpoint_dir == "guard"
    assert hooks.guardrail_told == f"{HERE}:Strict"
    assert hooks.warnings == ()
    assert hooks.refuse_prompt("a crash") == "it says 'crash'"
    assert hooks.refuse_prompt("a car") is None
    assert hooks.refuse_video(FRAMES * 0) == "it is dark"
    assert (hooks.edit_video(FRAMES)[:, :, :8] == 0).all()
    assert (hooks.edit_video(FRAMES)[:, :, 8:] == 90).all()


def test_a_hook_is_named_by_the_settings_that_enable_it_and_by_the_command_before_them():
    section = {"enabled": True, "callable": f"{HERE}:Strict"}
    both = settings(guardrail_config=section)
    assert isinstance(build_hooks(both).guardrail, hook_examples.Strict)
    assert build_hooks(both, guardrail=f"{HERE}:Cropping").guardrail_told == f"{HERE}:Cropping"

    hooks = build_hooks(settings(guardrail_config=section | {"enabled": False}))
    assert (hooks.guardrail, hooks.guardrail_told) == (None, "absent")


def test_a_refiner_sees_the_frames():
    hooks = build_hooks(settings(), refiner=f"{HERE}:longer")

    assert hooks.refine("a car", FRAMES) == "a car, seen in 2 frames"


def test_a_module_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_hooks_of_today.py").write_text(
        "def refiner(settings):\n    return lambda prompt, frames: prompt.upper()\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    hooks = build_hooks(settings(), refiner="my_hooks_of_today:refiner")

    assert hooks.refine("a car", None) == "A CAR"
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_colon", "--guardrail 'no_colon': expected package.module:callable"),
        (":Strict", "expected package.module:callable"),
        ("no_such_package.at_all:make", "cannot be imported"),
        (f"{HERE}:Nothing", "hook_examples has no Nothing"),
        (f"{HERE}:NOT_CALLABLE", "NOT_CALLABLE cannot be called"),
        (f"{HERE}:half", "it returned object; expected an object with the methods refuse_prompt"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name, message):
    with pytest.raises(RecipeError, match=message):
        build_hooks(settings(), guardrail=name)


def test_a_refiner_that_cannot_be_called_is_refused():
    with pytest.raises(RecipeError, match="it returned object, which cannot be called"):
        build_hooks(settings(), refiner=f"{HERE}:half")


def test_a_hook_that_is_named_and_switched_off_is_a_mistake():
    with pytest.raises(RecipeError, match="--guardrail and --no-guardrail are both given"):
        build_hooks(settings(), guardrail=f"{HERE}:Strict", no_guardrail=True)


def test_frames_of_another_size_are_not_taken():
    hooks = build_hooks(settings(), guardrail=f"{HERE}:Cropping")

    with pytest.raises(RunError, match=r"returned uint8 \[2, 14, 16, 3\] from edit_video"):
        hooks.edit_video(FRAMES)


def test_a_refiner_that_says_nothing_is_told():
    hooks = build_hooks(settings(), refiner=f"{HERE}:silent")

    with pytest.raises(RunError, match="returned '  '; expected a text"):
        hooks.refine("a car", None)

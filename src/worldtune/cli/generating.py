"""From the words of `worldtune generate` to a plan, and the plan carried out."""

from typing import cast

import torch
from rich.console import Console

from worldtune.cli.generate_model import find_model
from worldtune.cli.generate_words import Words
from worldtune.errors import RecipeError, RunError
from worldtune.inference.adapted import read_used
from worldtune.inference.generate import generate
from worldtune.inference.hooks import build_hooks
from worldtune.inference.pieces import pipeline
from worldtune.inference.plan import Plan
from worldtune.inference.progress import told_on
from worldtune.inference.request import NEGATIVE_PROMPT, ClipRequest, Wishes, read_batch
from worldtune.inference.sizes import AspectRatio, Resolution, choose_size


def run(words: Words) -> None:
    """Carry out what the words say. Errors: WorldtuneError for whatever stops it."""
    console = Console()
    try:
        with told_on(console):
            generate(make_plan(words), console)
    except KeyboardInterrupt:
        raise RunError(
            "stopped before all was made; clips told as written are whole, and nothing is left "
            "of the others"
        ) from None


def make_plan(words: Words) -> Plan:
    """Find weights, recipe, clips and hooks; nothing large is read."""
    requests = _requests(words)
    adapters = tuple(read_used(word, words.average) for word in words.lora)
    recipe, checkpoint = find_model(words, adapters)
    pipe = pipeline(recipe)
    size = choose_size(
        cast(Resolution | None, words.resolution and str(words.resolution)),
        cast(AspectRatio | None, words.aspect_ratio and str(words.aspect_ratio)),
        trained_resolution=pipe.resolution,
        trained_size=recipe.dataloader_train.dataset.video_size,
    )
    hooks = build_hooks(
        pipe,
        guardrail=words.guardrail,
        refiner=words.refiner,
        no_guardrail=words.no_guardrail,
        no_refiner=words.no_refiner,
    )
    return Plan(
        checkpoint=checkpoint,
        recipe=recipe,
        requests=requests,
        wishes=_wishes(words),
        size=size,
        hooks=hooks,
        device=find_device(words.device),
        average=words.average,
        adapters=adapters,
        text_dtype=torch.bfloat16 if words.downcast_text_encoder else torch.float32,
    )


def _requests(words: Words) -> tuple[ClipRequest, ...]:
    if words.batch is not None:
        return tuple(read_batch(words.batch))
    assert words.prompt is not None
    assert words.out is not None
    return (ClipRequest(words.prompt, words.out, words.input),)


def _wishes(words: Words) -> Wishes:
    negative = NEGATIVE_PROMPT if words.negative_prompt is None else words.negative_prompt
    return Wishes(
        num_given=words.num_given,
        guidance=words.guidance,
        negative_prompt=negative,
        seed=words.seed,
        steps=words.steps,
        num_chunks=words.num_chunks,
        fps=words.fps,
        force=words.force,
    )


def find_device(name: str | None) -> torch.device:
    """The device asked for, or the first GPU where there is one. Errors: RecipeError."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected = "expected cuda, cuda:1 or cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RecipeError(f"--device {name} is not a device; {expected}") from None
    if device.type not in ("cuda", "cpu"):
        # The solver works in float64, which mps has not.
        raise RecipeError(f"--device {name} is not supported; {expected}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RecipeError(
            f"--device {name} is not here: {torch.cuda.device_count()} CUDA devices are found; "
            "use another, or --device cpu"
        )
    return device

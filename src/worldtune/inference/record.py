"""How a clip was made, for the file beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from worldtune.inference.checkpoints import file_sha256
from worldtune.inference.clip_input import kind_of
from worldtune.inference.pieces import sampling
from worldtune.inference.plan import Plan
from worldtune.inference.request import ClipRequest


@dataclass(frozen=True)
class Made:
    """What all clips of a command were made with."""

    sha256: str
    which: str  # network or average
    report: str
    pieces: Mapping[str, tuple[str, str]]  # name and fingerprint of tokenizer and text encoder


def describe(
    plan: Plan, request: ClipRequest, refined: str | None, shape: list[int], made: Made
) -> dict[str, Any]:
    """Everything that the clip depends on, and the hooks that it went through or did not.

    shape is frames, rows, columns.
    """
    wishes, hooks = plan.wishes, plan.hooks
    how = sampling(plan.recipe, steps=wishes.steps, guidance=wishes.guidance)
    frames, height, width = shape
    given = request.input
    return {
        "prompt": request.prompt,
        "refined_prompt": refined,
        "negative_prompt": wishes.negative_prompt,
        "input": None if given is None else {"path": str(given), "kind": kind_of(given)},
        "output": {
            "path": str(request.output),
            "frames": frames,
            "height": height,
            "width": width,
            "fps": plan.fps,
        },
        "sampling": {
            "num_conditional_frames": None if given is None else wishes.num_given,
            "guidance": how.guidance,
            "steps": how.steps,
            "seeds": [wishes.seed + chunk for chunk in range(wishes.num_chunks)],
            "sigma_max": how.sigma_max,
            "sigma_min": how.sigma_min,
            "order": how.order,
            "solver": how.solver,
        },
        "checkpoint": {
            "path": str(plan.checkpoint.path.resolve()),
            "kind": plan.checkpoint.kind,
            "sha256": made.sha256,
            "weights": made.which,
            "loaded": made.report,
        },
        "adapters": [
            {
                "path": str(used.saved.path),
                "sha256": file_sha256(used.saved.path),
                "weight": used.weight,
                **used.saved.notes.to_json(),
            }
            for used in plan.adapters
        ],
        **{
            key: {
                "name": name,
                "fingerprint": fingerprint,
                "trained_with": plan.checkpoint.recorded.get(key),
            }
            for key, (name, fingerprint) in made.pieces.items()
        },
        "guardrail": hooks.guardrail_told,
        "prompt_refiner": hooks.refiner_told,
        "device": str(plan.device),
        "precision": plan.recipe.model.config.precision,
        "versions": {"worldtune": _version("worldtune"), "torch": torch.__version__},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from a source folder"

"""`worldtune generate` from checked wishes to written clips.

What needs the text encoder is done for all clips before the network is loaded, so that the two
are never in memory together.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from torch import Tensor

from worldtune.data.text import TextEncoder
from worldtune.errors import RunError
from worldtune.inference.adapted import as_checkpoint, load_adapted
from worldtune.inference.checkpoints import check_pieces
from worldtune.inference.clip_input import read_given, read_given_frames
from worldtune.inference.make import Texts, VideoModel, make_video
from worldtune.inference.output import write_clip
from worldtune.inference.pieces import (
    build_text_encoder,
    build_tokenizer,
    objective,
    pipeline,
    sampling,
)
from worldtune.inference.plan import Plan
from worldtune.inference.progress import SamplingProgress
from worldtune.inference.record import Made, describe
from worldtune.inference.request import ClipRequest

log = logging.getLogger("worldtune")


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was written and, where there is a refiner, as it was rewritten."""

    written: str
    refined: str | None = None

    @property
    def used(self) -> str:
        """What is encoded."""
        return self.written if self.refined is None else self.refined


def generate(plan: Plan, console: Console) -> None:
    """Make and write every clip of a plan.

    Errors: CheckpointError or RecipeError for what is missing or does not belong together,
    RunError for what a guardrail refuses. A refused prompt stops the command before a clip
    is made; a refused clip is not written, and the others are.
    """
    plan.check()
    for notice in plan.notices:
        log.warning(notice)
    prompts = settle_prompts(plan)
    encoder = build_text_encoder(plan.recipe, device=plan.device, dtype=plan.text_dtype)
    tokenizer = build_tokenizer(plan.recipe, device=plan.device)
    pieces = {
        "tokenizer": (tokenizer.name, tokenizer.fingerprint()),
        "text_encoder": (encoder.name, encoder.fingerprint()),
    }
    for trained in (plan.checkpoint, *map(as_checkpoint, plan.adapters)):
        check_pieces(trained, pieces)
    words = {prompt.used for prompt in prompts} | {plan.wishes.negative_prompt}
    texts = encode_texts(encoder, sorted(words))
    del encoder
    loaded, notices = load_adapted(
        plan.checkpoint,
        plan.recipe,
        device=plan.device,
        average=plan.average,
        adapters=plan.adapters,
    )
    for notice in notices:
        log.warning(notice)
    log.info(f"Loaded {loaded.report}")
    model = VideoModel(
        loaded.network, objective(plan.recipe), tokenizer, pipeline(plan.recipe).state_t
    )
    made = Made(plan.checkpoint.sha256(), loaded.which, loaded.report, pieces)
    _make_all(plan, model, prompts, texts, made, console)


def settle_prompts(plan: Plan) -> list[Prompt]:
    """Guard the prompts, rewrite them where there is a refiner, and guard what came of it.

    Errors: RunError with every refused prompt.
    """
    prompts = [Prompt(request.prompt) for request in plan.requests]
    _guard(plan, [prompt.written for prompt in prompts], "prompt")
    if plan.hooks.refiner is None:
        return prompts
    refined = [
        replace(prompt, refined=plan.hooks.refine(prompt.written, _frames_shown(plan, request)))
        for prompt, request in zip(prompts, plan.requests, strict=True)
    ]
    _guard(plan, [prompt.used for prompt in refined], "refined prompt")
    return refined


def _guard(plan: Plan, prompts: Sequence[str], what: str) -> None:
    refused = [
        f"{request.output} is not made: the guardrail {plan.hooks.guardrail_told} refuses the "
        f"{what}: {reason}"
        for request, prompt in zip(plan.requests, prompts, strict=True)
        if (reason := plan.hooks.refuse_prompt(prompt)) is not None
    ]
    if refused:
        raise RunError("\n".join(refused))


def _frames_shown(plan: Plan, request: ClipRequest) -> Tensor | None:
    if request.input is None:
        return None
    frames = read_given_frames(request.input, plan.wishes.num_given, plan.size)
    return frames.permute(1, 2, 3, 0)


def encode_texts(encoder: TextEncoder, words: Sequence[str]) -> dict[str, Tensor]:
    """Encode each text once; [1, tokens, width] by text."""
    return dict(zip(words, encoder.encode(list(words)).split(1), strict=True))


def _make_all(
    plan: Plan,
    model: VideoModel,
    prompts: Sequence[Prompt],
    texts: Mapping[str, Tensor],
    made: Made,
    console: Console,
) -> None:
    refused = []
    for request, prompt in zip(plan.requests, prompts, strict=True):
        frames = _make_one(plan, model, request, prompt, texts, console)
        reason = plan.hooks.refuse_video(frames)
        if reason is not None:
            refused.append(
                f"{request.output} is not written: the guardrail {plan.hooks.guardrail_told} "
                f"refuses the frames: {reason}"
            )
            continue
        frames = plan.hooks.edit_video(frames)
        record = describe(plan, request, prompt.refined, list(frames.shape[:3]), made)
        write_clip(request, frames, plan.fps, record)
        log.info(f"Written: {request.output}")
    if refused:
        raise RunError("\n".join(refused))


def _make_one(
    plan: Plan,
    model: VideoModel,
    request: ClipRequest,
    prompt: Prompt,
    texts: Mapping[str, Tensor],
    console: Console,
) -> Tensor:
    wishes = plan.wishes
    how = sampling(plan.recipe, steps=wishes.steps, guidance=wishes.guidance)
    given, rest = None, "black"
    if request.input is not None:
        given, rest = read_given(request.input, wishes.num_given, plan.size)
    steps = (len(how.levels()) - 1) * wishes.num_chunks
    with SamplingProgress(request.output.name, steps, console) as progress:
        return make_video(
            model,
            given,
            rest,
            Texts(texts[prompt.used], texts[wishes.negative_prompt]),
            how,
            size=plan.size,
            seed=wishes.seed,
            fps=plan.fps,
            num_chunks=wishes.num_chunks,
            on_step=lambda chunk, step: progress.advance(),
        )

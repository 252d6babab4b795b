"""Everything that a `worldtune generate` command asks for, found and checked."""

from dataclasses import dataclass

import torch

from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import RecipeError
from worldtune.inference.adapted import UsedAdapter
from worldtune.inference.checkpoints import Checkpoint
from worldtune.inference.hooks import Hooks
from worldtune.inference.pieces import pipeline
from worldtune.inference.request import ClipRequest, Wishes, request_mistakes
from worldtune.inference.sizes import size_mistakes
from worldtune.models.tokenizer import count_frames, count_latents

# Of both tokenizers.
SPATIAL_FACTOR = 8
# Source: Cosmos-Predict2's models, 16 latent frames at 10 frames a second and 24 at 16.
SLOW_FPS, FAST_FPS, SLOW_LATENTS = 10.0, 16.0, 16


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a command; `check` it before `generate`."""

    checkpoint: Checkpoint
    recipe: Predict2Recipe
    requests: tuple[ClipRequest, ...]
    wishes: Wishes
    size: tuple[int, int]  # height, width
    hooks: Hooks
    device: torch.device
    average: bool | None = None
    adapters: tuple[UsedAdapter, ...] = ()
    text_dtype: torch.dtype = torch.float32

    @property
    def num_frames(self) -> int:
        """Frames of a clip, or of a chunk of a long one."""
        return count_frames(pipeline(self.recipe).state_t)

    @property
    def fps(self) -> float:
        """The rate asked for, or that of the published models of this length."""
        if self.wishes.fps is not None:
            return self.wishes.fps
        return SLOW_FPS if pipeline(self.recipe).state_t == SLOW_LATENTS else FAST_FPS

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know and need not change."""
        pipe, num_given = pipeline(self.recipe), count_latents(self.wishes.num_given)
        told = (*self.checkpoint.notices, *self.hooks.warnings)
        least, most = pipe.min_num_conditional_frames, pipe.max_num_conditional_frames
        if self.num_frames > 1 and not least <= num_given <= most:
            trained = f"{most}" if least == most else f"{least} to {most}"
            told += (
                f"The model was trained with {trained} given latent frames, and "
                f"--num-conditional-frames {self.wishes.num_given} gives {num_given}",
            )
        return told

    def check(self) -> None:
        """Refuse what cannot be made, before anything is loaded.

        Errors: RecipeError with every mistake.
        """
        pipe = pipeline(self.recipe)
        mistakes = []
        if pipe.conditioning_strategy != "frame_replace":
            mistakes.append(
                f"model.config.pipe_config.conditioning_strategy is {pipe.conditioning_strategy}; "
                "expected frame_replace, which all published weights use"
            )
        token = SPATIAL_FACTOR * pipe.net.patch_spatial
        largest = (SPATIAL_FACTOR * pipe.net.max_img_h, SPATIAL_FACTOR * pipe.net.max_img_w)
        mistakes += size_mistakes(self.size, token, largest)
        mistakes += request_mistakes(self.requests, self.wishes, self.num_frames)
        if mistakes:
            count = f"{len(mistakes)} mistakes:\n" if len(mistakes) > 1 else ""
            raise RecipeError(count + "\n".join(mistakes))

"""The options of `worldtune generate`, and what they say together.

Nothing heavy is imported here. The underscored spellings are those of Cosmos-Predict2's own
command.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

WHAT, HOW, MODEL, HOOKS = "What to make", "How to make it", "The model", "Hooks"

# Choices; typer reads enumerations in all its versions.
FramesChoice = StrEnum("FramesChoice", {"one": "1", "five": "5"})
ResolutionChoice = StrEnum("ResolutionChoice", {"r480": "480", "r512": "512", "r720": "720"})
RatioChoice = StrEnum(
    "RatioChoice",
    {"square": "1:1", "wide": "4:3", "tall": "3:4", "wider": "16:9", "taller": "9:16"},
)
SizeChoice = StrEnum("SizeChoice", {"small": "2B", "large": "14B"})
ONE_FRAME = FramesChoice("1")


Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "--dit_path",
        help="A run's folder, or a file of weights.",
        rich_help_panel=MODEL,
    ),
]
Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        "--input_path",
        help="An image, or a video whose end is gone on from.",
        rich_help_panel=WHAT,
    ),
]
Prompt = Annotated[str | None, typer.Option("--prompt", help="What happens.", rich_help_panel=WHAT)]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "--save_path",
        help="Where the clip goes, such as clip.mp4.",
        rich_help_panel=WHAT,
    ),
]
Batch = Annotated[
    Path | None,
    typer.Option(
        "--batch",
        "--batch_input_json",
        rich_help_panel=WHAT,
        help="In their place: a JSON list of {input_video, prompt, output_video}.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Write over what is there.", rich_help_panel=WHAT),
]
NumGiven = Annotated[
    FramesChoice,
    typer.Option(
        "--num-conditional-frames",
        "--num_conditional_frames",
        rich_help_panel=HOW,
        help="Frames taken from the input; 5 needs a video.",
    ),
]
Guidance = Annotated[
    float,
    typer.Option(
        "--guidance",
        rich_help_panel=HOW,
        help="How far to lean on the prompt; 0: not at all beyond the plain prediction.",
    ),
]
NegativePrompt = Annotated[
    str | None,
    typer.Option(
        "--negative-prompt",
        "--negative_prompt",
        rich_help_panel=HOW,
        help="What to keep away from; by default, common faults of generated video.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the first noise.", rich_help_panel=HOW)]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", help="Sampling steps; by default the model's, 35.", rich_help_panel=HOW
    ),
]
NumChunks = Annotated[
    int,
    typer.Option(
        "--num-chunks",
        "--num_chunks",
        rich_help_panel=HOW,
        help="A long video of so many clips, each going on from the one before.",
    ),
]
Resolution = Annotated[
    ResolutionChoice | None,
    typer.Option(
        "--resolution",
        rich_help_panel=HOW,
        help="By default the size that the model was trained on.",
    ),
]
AspectRatio = Annotated[
    RatioChoice | None,
    typer.Option(
        "--aspect-ratio",
        "--aspect_ratio",
        rich_help_panel=HOW,
        help="Width to height.",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps",
        rich_help_panel=HOW,
        help="Frames a second; by default 10 for a model of 16 latent frames, else 16.",
    ),
]
Average = Annotated[
    bool | None,
    typer.Option(
        "--ema/--no-ema",
        "--load_ema",
        rich_help_panel=MODEL,
        show_default=False,
        help="The running average of the weights, or not; by default where there is one.",
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[:WEIGHT]",
        rich_help_panel=MODEL,
        show_default=False,
        help="Adapters on top; several add up. Without --checkpoint, on the base they name.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        rich_help_panel=MODEL,
        help="Settings of the model: a config.yaml, or as in worldtune train.",
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option("--experiment", help="A recipe by name.", rich_help_panel=MODEL),
]
ModelSize = Annotated[
    SizeChoice | None,
    typer.Option(
        "--model-size",
        "--model_size",
        rich_help_panel=MODEL,
        help="Of a published model; without --checkpoint it is that.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cuda, cuda:1 or cpu; by default a GPU if there is one.",
        rich_help_panel=MODEL,
    ),
]
DowncastTextEncoder = Annotated[
    bool,
    typer.Option(
        "--downcast-text-encoder",
        "--downcast_text_encoder",
        rich_help_panel=MODEL,
        help="Run T5 in bfloat16: half the memory, slightly other text.",
    ),
]
GuardrailName = Annotated[
    str | None,
    typer.Option(
        "--guardrail",
        metavar="MODULE:CALLABLE",
        rich_help_panel=HOOKS,
        help="Makes the guardrail that prompts and clips go through.",
    ),
]
NoGuardrail = Annotated[
    bool,
    typer.Option(
        "--no-guardrail",
        "--disable_guardrail",
        rich_help_panel=HOOKS,
        help="None, whatever the settings say.",
    ),
]
RefinerName = Annotated[
    str | None,
    typer.Option(
        "--prompt-refiner",
        metavar="MODULE:CALLABLE",
        rich_help_panel=HOOKS,
        help="Makes the function that rewrites prompts.",
    ),
]
NoRefiner = Annotated[
    bool,
    typer.Option(
        "--no-prompt-refiner",
        "--disable_prompt_refiner",
        rich_help_panel=HOOKS,
        help="None, whatever the settings say.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the command line says, before anything is looked up."""

    checkpoint: Path | None = None
    input: Path | None = None
    prompt: str | None = None
    out: Path | None = None
    batch: Path | None = None
    force: bool = False
    num_given: int = 1
    guidance: float = 7.0
    negative_prompt: str | None = None
    seed: int = 0
    steps: int | None = None
    num_chunks: int = 1
    resolution: str | None = None
    aspect_ratio: str | None = None
    fps: float | None = None
    average: bool | None = None
    lora: tuple[str, ...] = ()
    config: str | None = None
    experiment: str | None = None
    model_size: str | None = None
    device: str | None = None
    downcast_text_encoder: bool = False
    guardrail: str | None = None
    no_guardrail: bool = False
    refiner: str | None = None
    no_refiner: bool = False

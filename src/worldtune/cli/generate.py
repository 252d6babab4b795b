"""`worldtune generate`: clips that go on from an image or a video.

Nothing heavy is imported here: `--help` has half a second.
"""

from worldtune.cli import generate_words as option
from worldtune.errors import RecipeError


def generate(
    checkpoint: option.Checkpoint = None,
    input_path: option.Input = None,
    prompt: option.Prompt = None,
    out: option.Out = None,
    batch: option.Batch = None,
    force: option.Force = False,
    num_given: option.NumGiven = option.ONE_FRAME,
    guidance: option.Guidance = 7.0,
    negative_prompt: option.NegativePrompt = None,
    seed: option.Seed = 0,
    steps: option.Steps = None,
    num_chunks: option.NumChunks = 1,
    resolution: option.Resolution = None,
    aspect_ratio: option.AspectRatio = None,
    fps: option.Fps = None,
    average: option.Average = None,
    lora: option.Lora = None,
    config: option.Config = None,
    experiment: option.Experiment = None,
    model_size: option.ModelSize = None,
    device: option.Device = None,
    downcast_text_encoder: option.DowncastTextEncoder = False,
    guardrail: option.GuardrailName = None,
    no_guardrail: option.NoGuardrail = False,
    refiner: option.RefinerName = None,
    no_refiner: option.NoRefiner = False,
) -> None:
    """Make clips that go on from an image or a video.

    \b
      worldtune generate --checkpoint RUN --input scene.jpg --prompt TEXT --out clip.mp4
      worldtune generate --checkpoint model.pt --batch clips.json
      worldtune generate --lora adapters.safetensors:0.8 --batch clips.json

    Beside each clip goes a JSON file that says how it was made.
    """
    if (batch is None) == (input_path is None and prompt is None and out is None):
        raise RecipeError(
            "say what to make: either --prompt, --out and --input, or --batch FILE.json"
        )
    if batch is None and (prompt is None or out is None):
        missing = "--prompt" if prompt is None else "--out"
        raise RecipeError(f"{missing} is missing; expected --prompt TEXT --out clip.mp4")
    from worldtune.cli.generating import run

    run(
        option.Words(
            checkpoint=checkpoint, input=input_path, prompt=prompt, out=out, batch=batch,
            force=force, num_given=int(num_given), guidance=guidance,
            negative_prompt=negative_prompt, seed=seed, steps=steps, num_chunks=num_chunks,
            resolution=resolution, aspect_ratio=aspect_ratio, fps=fps, average=average,
            lora=tuple(lora or ()), config=config, experiment=experiment,
            model_size=model_size, device=device,
            downcast_text_encoder=downcast_text_encoder, guardrail=guardrail,
            no_guardrail=no_guardrail, refiner=refiner, no_refiner=no_refiner,
        )
    )  # fmt: skip

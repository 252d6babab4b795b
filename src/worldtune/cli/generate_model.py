"""Which weights, and which recipe they go with: the run's own, one that is named, or a published
one told by its sizes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldtune.checkpoint.inspect import describe
from worldtune.cli.generate_words import Words
from worldtune.config.compose import compose
from worldtune.config.files import read_config
from worldtune.config.mistakes import raise_all
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.validate import validate
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference.adapted import UsedAdapter, base_checkpoint
from worldtune.inference.checkpoints import Checkpoint, find_checkpoint
from worldtune.inference.pieces import pipeline
from worldtune.inference.sizes import SIZES
from worldtune.recipes.networks import VIDEO2WORLD_2B, VIDEO2WORLD_14B
from worldtune.recipes.predict2 import PREDICT2
from worldtune.recipes.roots import choose

PUBLISHED: Mapping[str, Mapping[str, Any]] = {"2B": VIDEO2WORLD_2B, "14B": VIDEO2WORLD_14B}
FILE_NAME = re.compile(r"model-(?P<resolution>480|720)p-(?P<fps>10|16)fps")
YAML = (".yaml", ".yml")


def find_model(
    words: Words, adapters: Sequence[UsedAdapter] = ()
) -> tuple[Predict2Recipe, Checkpoint]:
    """Find weights and the recipe of their network.

    A named recipe comes before the run's own, and that before the one that the first adapter
    says; a file without a run is a published size or needs a name. Without a checkpoint,
    adapters say their base. Errors: RecipeError or CheckpointError with the next step.
    """
    recipe = _named_recipe(words)
    told = adapters[0].saved.notes if adapters else None
    if words.checkpoint is None and recipe is None and words.model_size is None and told:
        recipe, checkpoint = told_recipe(adapters[0]), told_base(adapters[0])
    elif words.checkpoint is None:
        recipe = recipe or _published_by_name(words)
        path = recipe.model.config.model_manager_config.dit_path
        if not path:
            raise RecipeError(
                "the settings name no weights (model.config.model_manager_config.dit_path); "
                "name a run or a file with --checkpoint"
            )
        checkpoint = find_checkpoint(Path(path))
    else:
        checkpoint = find_checkpoint(words.checkpoint)
        if recipe is None and checkpoint.config is not None:
            recipe = read_config(checkpoint.config, Predict2Recipe)
        if recipe is None and told is not None and told.recipe is not None:
            recipe = told_recipe(adapters[0])
        recipe = recipe or _published_by_size(checkpoint.path, words)
    _check_model_size(recipe, words)
    return recipe, checkpoint


def told_recipe(used: UsedAdapter) -> Predict2Recipe:
    """The recipe of the run that trained an adapter, as its file says it."""
    notes, path = used.saved.notes, used.saved.path
    if notes.recipe is None:
        raise RecipeError(
            f"{path} does not say what it was trained with; name its base with --checkpoint, or "
            "--model-size 2B for the published one"
        )
    recipe, mistakes = validate(Predict2Recipe, dict(notes.recipe))
    raise_all(mistakes, dict.fromkeys((key for each in mistakes for key in each.keys), str(path)))
    assert isinstance(recipe, Predict2Recipe)
    return recipe


def told_base(used: UsedAdapter) -> Checkpoint:
    """The base that an adapter was trained on, as its file says it."""
    base, path = used.saved.notes.base, used.saved.path
    if base is None:
        raise RecipeError(f"{path} does not say its base; name it with --checkpoint")
    try:
        return base_checkpoint(base)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} was trained on {base}: {error}\nWhere the base lies elsewhere, name it with "
            "--checkpoint"
        ) from None


def _named_recipe(words: Words) -> Predict2Recipe | None:
    """The recipe of --config and --experiment."""
    if words.config is None and words.experiment is None:
        return None
    if words.config is not None and words.config.endswith(YAML):
        if words.experiment is not None:
            raise RecipeError(
                f"--config {words.config} holds one recipe already; leave out --experiment"
            )
        return read_config(Path(words.config), Predict2Recipe)
    chosen = choose(words.config, words.experiment)
    recipe = compose(chosen.root, chosen.experiment, (), chosen.user_file).recipe
    if not isinstance(recipe, Predict2Recipe):
        raise RecipeError(
            f"{words.experiment or words.config} is a recipe of {chosen.root.name}; expected one "
            "of predict2"
        )
    return recipe


def _published_by_name(words: Words) -> Predict2Recipe:
    if words.model_size is None:
        raise RecipeError(
            "say which model: --checkpoint with a run's folder or a file of weights, or "
            "--model-size 2B for the published one"
        )
    return _published(words.model_size, None, words)


def _published_by_size(path: Path, words: Words) -> Predict2Recipe:
    """The published recipe that a file's sizes are those of."""
    found = describe(path)
    network = next((net for net in found.networks if net.role in ("network", "average")), None)
    if network is None:
        step = "; give adapters with --lora" if "adapters" in found.kind else ""
        raise CheckpointError(f"{path} holds no network of this project's ({found.kind}){step}")
    if network.family != "predict2":
        raise CheckpointError(
            f"{path} holds {network.title}; clips are made with Predict2 Video2World only"
        )
    sizes = (network.sizes["width"], network.sizes["blocks"])
    for name, net in PUBLISHED.items():
        if (net["model_channels"], net["num_blocks"]) == sizes:
            return _published(name, path, words)
    raise RecipeError(
        f"{path} holds a network of {sizes[1]} blocks and width {sizes[0]}, which is no published "
        "size (2B: 28 blocks of 2048, 14B: 36 of 5120); name its settings with --config "
        "RUN/config.yaml or --experiment NAME"
    )


def _published(size: str, path: Path | None, words: Words) -> Predict2Recipe:
    """The published model of a size; resolution and rate as the file's name or the words say."""
    named = FILE_NAME.search(path.name) if path is not None else None
    resolution, fps = ("720", "16")
    if named:
        resolution, fps = named["resolution"], named["fps"]
    else:
        resolution = words.resolution if words.resolution in ("480", "720") else resolution
        fps = "10" if words.fps == 10 else fps
    height, width = SIZES["480" if resolution == "480" else "720"]["16:9"]
    overrides = [
        f"model=predict2_video2world_fsdp_{size.lower()}_{resolution}p_{fps}fps",
        "dataloader_train=mock_video",
        f"dataloader_train.dataset.video_size=[{height},{width}]",
        "job.name=generate",
    ]
    if path is not None and path.resolve().parent.parent.name == "nvidia":
        # Tokenizer and text encoder are expected beside the weights.
        folder = str(path.parent.parent.parent).replace("\\", "\\\\").replace("'", "\\'")
        overrides.append(f"checkpoint.weights_dir='{folder}'")
    recipe = compose(PREDICT2, None, overrides).recipe
    assert isinstance(recipe, Predict2Recipe)
    return recipe


def _check_model_size(recipe: Predict2Recipe, words: Words) -> None:
    if words.model_size is None:
        return
    net, told = pipeline(recipe).net, PUBLISHED[words.model_size]
    found = (net.model_channels, net.num_blocks)
    if found != (told["model_channels"], told["num_blocks"]):
        raise RecipeError(
            f"--model-size {words.model_size} is a network of {told['num_blocks']} blocks and "
            f"width {told['model_channels']}, and this one has {found[1]} and {found[0]}; leave "
            "it out, or name another checkpoint"
        )

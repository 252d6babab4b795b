"""The files of weights that a recipe needs and that are not there, told before anything is read.

Without torch, so that a launch that cannot start says so within a second.
"""

from collections.abc import Iterator
from pathlib import Path

from worldtune.checkpoint.published import weights_not_found
from worldtune.config.files import run_folder
from worldtune.config.mistakes import Mistake
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.settings import Settings
from worldtune.config.transfer1 import Transfer1Recipe

FIRST_PART = "_model_mp_0.pt"
PARTS_FOLDER = "checkpoints_tp"


def missing_weights(recipe: Settings) -> list[Mistake]:
    """What is missing, each with the commands that bring it.

    Of a Predict2 recipe, only what a run that has not begun yet would start from: one that
    has begun finds out on its own.
    """
    if isinstance(recipe, Predict2Recipe):
        return _first_weights(recipe)
    if not isinstance(recipe, Transfer1Recipe):
        return []
    return [
        Mistake(str(weights_not_found(path)), (key,))
        for key, path in needed(recipe)
        if not _is_there(path)
    ]


def _first_weights(recipe: Predict2Recipe) -> list[Mistake]:
    config = recipe.model.config
    begun = (run_folder(recipe.job) / "checkpoints").exists()
    if begun or recipe.checkpoint.load_path or config.fresh_weights:
        return []
    path = Path(config.model_manager_config.dit_path)
    key = "model.config.model_manager_config.dit_path"
    return [] if path.exists() else [Mistake(str(weights_not_found(path)), (key,))]


def needed(recipe: Transfer1Recipe) -> Iterator[tuple[str, Path]]:
    """Every file of weights that training begins with, and the setting that names it."""
    model = recipe.model
    if not model.fresh_weights:
        yield "model.base_load_from.load_path", Path(model.base_load_from.load_path)
    if recipe.checkpoint.load_path:
        yield "checkpoint.load_path", _parts_of(Path(recipe.checkpoint.load_path))
    if model.tokenizer.kind == "cosmos":
        yield "model.tokenizer.enc_fp", Path(model.tokenizer.enc_fp)
        yield "model.tokenizer.dec_fp", Path(model.tokenizer.dec_fp)
        yield "model.tokenizer.mean_std_fp", Path(model.tokenizer.mean_std_fp)


def _parts_of(path: Path) -> Path:
    """The parts that the documents mean by the name of a marker in their folder."""
    if path.parent.name != PARTS_FOLDER or path.name.endswith(FIRST_PART):
        return path
    return path.with_name(f"{path.stem}{FIRST_PART}")


def _is_there(path: Path) -> bool:
    return path.exists() or ("*" in path.name and any(path.parent.glob(path.name)))

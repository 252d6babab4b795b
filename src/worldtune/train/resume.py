"""How a run begins: anew, from its own state, or from another's."""

from collections.abc import Mapping

from pydantic import JsonValue
from torch import Tensor

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.load import stream_weights
from worldtune.checkpoint.matching import match_names
from worldtune.checkpoint.names import PREDICT2
from worldtune.checkpoint.native import NativeRun
from worldtune.checkpoint.reader import open_weights
from worldtune.config.predict2 import Predict2Recipe
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference.checkpoints import STORED_EMBEDDINGS
from worldtune.inference.pieces import adapter_config, build_text_encoder, pipeline
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.train.adapters import native_adapters
from worldtune.train.logs import log
from worldtune.train.loop import Progress
from worldtune.train.origin import SavedTraining, Start
from worldtune.train.setup import Learner
from worldtune.train.sources import ClipData
from worldtune.train.state import (
    PARTS,
    check_same_piece,
    clip_changes,
    refuse_other_clips,
    restore,
)


def begin(start: Start, learner: Learner, data: ClipData, recipe: Predict2Recipe) -> Progress:
    """Put saved training into the learner and give where the run goes on.

    Raises CheckpointError or DataError where what was saved does not belong to this run.
    """
    if start.resumed is not None:
        leave_out = _left_out_now(recipe, start.resumed, data)
        progress = restore(learner, start.resumed.sections, start.resumed.info, leave_out=leave_out)
        log.info(f"Resuming from iteration {progress.iteration}: {start.origin}")
        return progress
    if start.native is not None:
        return _go_on_from_native(start.native, learner, data, recipe)
    if start.borrowed is not None:
        return _borrow(start, start.borrowed, learner, recipe)
    if not start.fresh:
        log.info(f"Training from scratch, on the weights of {start.origin}")
    return Progress()


def _go_on_from_native(
    native: NativeRun, learner: Learner, data: ClipData, recipe: Predict2Recipe
) -> Progress:
    """Go on from published files: weights, average and iteration, and nothing else."""
    if learner.average is not None and native.has_average:
        learner.average.restore(_native_average(native, learner, recipe))
    for warning in native.warnings:
        log.warning(warning)
    log.info(
        f"Notice: resuming from iteration {native.iteration} of {native.model}, which does not "
        f"carry: {'; '.join(native.not_carried)}"
    )
    clips = recipe.trainer.grad_accum_iter * data.shares.micro_batch
    return Progress(native.iteration, native.iteration, native.iteration * clips)


def _native_average(
    native: NativeRun, learner: Learner, recipe: Predict2Recipe
) -> dict[str, Tensor]:
    """The average of what trains, out of a published file: of all weights, or of adapters.

    Of each tensor it is what this process holds.
    """
    pieces = learner.pieces
    if adapter_config(recipe) is not None:
        return pieces.cut(native_adapters(native.model, "average"))
    with open_weights(native.model) as file:
        report = match_names(pieces.shapes(), file, PREDICT2, which="average")
        weights = stream_weights(file, report)
        return {name: pieces[name].cut(tensor).clone() for name, tensor in weights}


def _borrow(
    start: Start, saved: SavedTraining, learner: Learner, recipe: Predict2Recipe
) -> Progress:
    """Take weights, and what else is asked for, from another run's state."""
    settings = recipe.checkpoint
    if settings.load_training_state and not settings.only_load_scheduler_state:
        progress = restore(learner, saved.sections, saved.info, leave_out=_left_out(recipe))
        if settings.load_ema_to_reg:
            _put_average_in_place(learner, saved)
        log.info(f"Taking over iteration {progress.iteration} of {start.origin}")
        return progress
    _take_weights(learner, saved, average=settings.load_ema_to_reg)
    progress = Progress()
    if settings.only_load_scheduler_state:
        progress.schedule_step = int(saved.info[named.PROGRESS]["schedule_step"])
    log.info(f"Starting on the weights of {start.origin}")
    return progress


def _take_weights(learner: Learner, saved: SavedTraining, *, average: bool) -> None:
    weights = _average_of(saved) if average else saved.sections[named.MASTERS]
    learner.optimizer.restore(weights, {}, 0)
    if learner.average is not None:
        learner.average.restore(weights)


def _put_average_in_place(learner: Learner, saved: SavedTraining) -> None:
    """Let the network start from the average; moments and schedule stay."""
    optimizer = learner.optimizer
    optimizer.restore(_average_of(saved), optimizer.moments(), optimizer.steps_taken())


def _average_of(saved: SavedTraining) -> Mapping[str, Tensor]:
    if named.AVERAGE not in saved.sections:
        raise CheckpointError(
            "checkpoint.load_ema_to_reg asks for the average, and the state holds none; "
            "leave it False to take the weights"
        )
    return saved.sections[named.AVERAGE]


def _left_out(recipe: Predict2Recipe) -> tuple[str, ...]:
    keys = recipe.checkpoint.keys_not_to_resume
    unknown = [key for key in keys if key not in PARTS]
    if unknown:
        raise RecipeError(
            f"checkpoint.keys_not_to_resume names {', '.join(unknown)}; the parts of a state are "
            f"{', '.join(PARTS)}"
        )
    return keys


def _left_out_now(
    recipe: Predict2Recipe, resumed: SavedTraining, data: ClipData
) -> tuple[str, ...]:
    """Parts to leave out of the run's own state: each once, or no restart would keep anything.

    A state that was saved under the same keys has left them out already; of the clips, the list
    itself tells. Raises DataError where the clips differ and are not left out.
    """
    keys = _left_out(recipe)
    changes = clip_changes(resumed.info[named.CLIPS], data.clips)
    if "clips" not in keys:
        refuse_other_clips(changes)
    before = resumed.info[named.RECIPE]["checkpoint"]["keys_not_to_resume"]
    now = tuple(key for key in keys if (changes if key == "clips" else key not in before))
    if changes:
        log.info(f"Notice: going on with other clips, from the start of their list:\n{changes}")
    if keys and not now:
        log.info(
            f"Notice: checkpoint.keys_not_to_resume=[{','.join(keys)}] was followed when this run "
            "began; its own state is taken whole"
        )
    return now


def lasting_facts(
    recipe: Predict2Recipe, data: ClipData, tokenizer: VideoTokenizer, start: Start
) -> dict[str, JsonValue]:
    """What every state of a run says of it: clips, tokenizer, text encoder, recipe, origin.

    Of a LoRA run also what the adapters are, and the base that they are on.
    """
    adapted: dict[str, JsonValue] = {}
    if start.adapters is not None and start.base is not None:
        adapted = {named.ADAPTER: start.adapters.to_json(), named.BASE: start.base.to_json()}
    return {
        **adapted,
        named.CLIPS: data.clips.to_json() if data.clips is not None else None,
        named.TOKENIZER: {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint()},
        named.TEXT_ENCODER: text_facts(recipe),
        named.RECIPE: recipe.model_dump(mode="json"),
        named.START: start.origin,
    }


def text_facts(recipe: Predict2Recipe) -> dict[str, JsonValue]:
    """Name and fingerprint of the text encoder; embeddings on disk say which made them."""
    settings = pipeline(recipe).text_encoder
    if settings.cls != "builtin":
        return {"name": settings.cls, "fingerprint": STORED_EMBEDDINGS}
    encoder = build_text_encoder(recipe)
    return {"name": encoder.name, "fingerprint": encoder.fingerprint()}


def check_same_pieces(start: Start, recipe: Predict2Recipe, tokenizer: VideoTokenizer) -> None:
    """Refuse to go on with another tokenizer or text encoder than a state was trained with."""
    for saved in (start.resumed, start.borrowed):
        if saved is None:
            continue
        check_same_piece(
            "tokenizer", saved.info[named.TOKENIZER], tokenizer.name, tokenizer.fingerprint()
        )
        text = text_facts(recipe)
        check_same_piece(
            "text encoder",
            saved.info[named.TEXT_ENCODER],
            str(text["name"]),
            str(text["fingerprint"]),
        )

"""A run's training state: gathered from what trains, and put back into it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from worldtune.checkpoint import sections as named
from worldtune.checkpoint.saved_state import SavedState
from worldtune.checkpoint.state import Sections, Slice
from worldtune.data.clip_list import ClipList
from worldtune.errors import CheckpointError, DataError
from worldtune.parallel.pieces import Pieces
from worldtune.train.loop import Progress
from worldtune.train.setup import Learner

log = logging.getLogger("worldtune")

# Parts that checkpoint.keys_not_to_resume can leave out, in the published words, and one more.
PARTS = ("optim", "scheduler", "trainer", "clips")


def gather_sections(learner: Learner) -> Sections:
    """Every tensor of a state that this process holds; they are those in use, not copies."""
    moments = learner.optimizer.moments()
    sections: dict[str, dict[str, Tensor]] = {
        named.MASTERS: {name: m.detach() for name, m in learner.optimizer.masters.items()},
        named.FIRST_MOMENTS: moments[named.FIRST_MOMENTS],
        named.SECOND_MOMENTS: moments[named.SECOND_MOMENTS],
        named.RANDOM: _random_states(),
    }
    if learner.average is not None:
        sections[named.AVERAGE] = learner.average.values
    return {name: tensors for name, tensors in sections.items() if tensors}


def sections_to_save(learner: Learner) -> tuple[Sections, dict[str, Slice]]:
    """What of a state this process writes, and which part of the whole each tensor is.

    Of those that hold the same, one writes it; the first process writes what is the run's.
    """
    pieces = learner.pieces
    if pieces.mesh.alone:
        return gather_sections(learner), {}
    ours: dict[str, dict[str, Tensor]] = {}
    slices = {}
    for section, tensors in gather_sections(learner).items():
        if section == named.RANDOM:
            if pieces.mesh.first:
                ours[section] = dict(tensors)
            continue
        held = {name: t for name, t in tensors.items() if pieces.is_ours_to_save(name)}
        if held:
            ours[section] = held
        for name in held:
            piece = pieces[name]
            slices[f"{section}/{name}"] = Slice(piece.offsets, piece.whole)
    return ours, slices


def read_pieces(path: Path, pieces: Pieces) -> tuple[Sections, dict[str, Any]]:
    """A state's tensors, of the network's weights this process's parts, and its facts.

    Only these parts are read, whatever layout wrote them. The state was verified when it was
    found.
    """
    sections: dict[str, dict[str, Tensor]] = {}
    with SavedState(path) as state:
        for key, row in state.tensors.items():
            section, _, name = key.partition("/")
            place = ()
            if section != named.RANDOM and name in pieces:
                piece = pieces[name]
                if tuple(row.shape) == piece.whole:
                    place = (piece.offsets, piece.sizes)
            sections.setdefault(section, {})[name] = state.read(key, *place)
        return sections, dict(state.info)


def gather_info(
    learner: Learner, progress: Progress, facts: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Everything of a state that is no tensor; facts are those that never change in a run."""
    return {
        named.PROGRESS: asdict(progress),
        named.OPTIMIZER_STEPS: learner.optimizer.steps_taken(),
        **facts,
    }


def restore(
    learner: Learner,
    sections: Mapping[str, Mapping[str, Tensor]],
    info: Mapping[str, Any],
    *,
    leave_out: Iterable[str] = (),
) -> Progress:
    """Put a state back and return where its run was.

    leave_out names parts of it that start anew: the optimiser's moments, the schedule's
    position, the count of steps. Raises CheckpointError where names or shapes differ.
    """
    left_out = set(leave_out)
    fresh_optimizer = "optim" in left_out
    learner.optimizer.restore(
        sections.get(named.MASTERS, {}),
        {kind: sections.get(kind, {}) for kind in (named.FIRST_MOMENTS, named.SECOND_MOMENTS)},
        0 if fresh_optimizer else int(info[named.OPTIMIZER_STEPS]),
    )
    if learner.average is not None:
        _restore_average(learner, sections)
    if "trainer" in left_out:
        return Progress()
    progress = Progress(**info[named.PROGRESS])
    if "scheduler" in left_out:
        progress.schedule_step = 0
    if "clips" in left_out:
        progress.next_index = 0
    _restore_random_states(sections.get(named.RANDOM, {}))
    return progress


def clip_changes(saved: Mapping[str, Any] | None, clips: ClipList | None) -> str:
    """How the clips differ from those of a state, a change a line; empty where they do not.

    None stands for clips that are made up.
    """
    if saved is None or clips is None:
        if saved is None and clips is None:
            return ""
        names = ("made up", "those of a folder")
        was, now = names if saved is None else reversed(names)
        return f"  they were {was} and are {now}"
    before = ClipList.from_json(saved, clips.folder)
    if before.fingerprint() == clips.fingerprint():
        return ""
    return "\n".join(f"  {line}" for line in clips.changes_since(before))


def refuse_other_clips(changes: str) -> None:
    """Raise DataError where a resumed run would see other clips than before."""
    if changes:
        raise DataError(
            f"the clips are not those that this run was trained on so far:\n{changes}\nBring "
            "them back, or go on with the new list, from its start, by "
            "checkpoint.keys_not_to_resume=[clips]"
        )


def check_same_piece(kind: str, saved: Mapping[str, str], name: str, fingerprint: str) -> None:
    """Raise CheckpointError where a tokenizer or text encoder is not the one trained with."""
    if (saved["name"], saved["fingerprint"]) != (name, fingerprint):
        raise CheckpointError(
            f"this run was trained with the {kind} {saved['name']!r} ({saved['fingerprint']}), "
            f"and the settings now name {name!r} ({fingerprint}); its weights mean nothing to "
            "another one. Give the run another job.name, or go back to the former"
        )


def _restore_average(learner: Learner, sections: Mapping[str, Mapping[str, Tensor]]) -> None:
    assert learner.average is not None
    if named.AVERAGE in sections:
        learner.average.restore(sections[named.AVERAGE])
        return
    log.warning("The state holds no average; it starts anew from the state's weights.")
    learner.average.restore(learner.optimizer.masters)


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: Mapping[str, Tensor]) -> None:
    if "cpu" in states:
        torch.set_rng_state(states["cpu"].clone())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].clone())

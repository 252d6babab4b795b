"""The work of `worldtune lora`: each function does one command and says what it did."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from worldtune.checkpoint import sections
from worldtune.checkpoint.adapter_forms import FORMS
from worldtune.checkpoint.adapter_notes import AdapterNotes
from worldtune.checkpoint.adapters import (
    SavedAdapter,
    cast,
    export_adapter,
    find_adapter,
    read_adapter,
    write_adapter,
)
from worldtune.checkpoint.base import Base, fingerprint
from worldtune.checkpoint.disk import gib
from worldtune.checkpoint.lora_extract import Extracted, extract
from worldtune.checkpoint.lora_merge import merge
from worldtune.checkpoint.matching import Which
from worldtune.checkpoint.whole_weights import WholeWeights, open_whole
from worldtune.cli.generate_model import told_base
from worldtune.config.files import read_config
from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.video2world import LORA_TARGETS
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference.adapted import UsedAdapter, read_used
from worldtune.inference.checkpoints import Checkpoint, find_checkpoint
from worldtune.models.lora import Adapter
from worldtune.models.lora_config import LoraConfig, read_targets

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PIECES = (sections.TOKENIZER, sections.TEXT_ENCODER)
Answer = dict[str, Any]


def merge_files(
    words: Sequence[str],
    out: Path,
    *,
    base: Path | None,
    any_base: bool,
    average: bool | None,
    dtype: str | None,
    force: bool,
) -> Answer:
    """Merge adapters into their base. Errors: RecipeError or CheckpointError."""
    _refuse_existing(out, force)
    adapters = [read_used(word, average) for word in words]
    checkpoint = find_checkpoint(base) if base is not None else told_base(adapters[0])
    if checkpoint.kind == "seed":
        raise RecipeError(
            f"the base of {adapters[0].saved.path} is {checkpoint.path}, which lie in no file; "
            "name a file of whole weights with --base"
        )
    told = adapters[0].saved.notes.base
    which = told.which if told is not None and base is None else "network"
    with open_whole(checkpoint.path, which) as whole:
        notices = _check_bases(adapters, whole, any_base)
        used = [(one.saved.adapter, one.weight) for one in adapters]
        merged = merge(used, whole, out, dtype=_dtype(dtype))
    return {
        "out": str(out),
        "base": str(checkpoint.path),
        "adapters": [{"path": str(u.saved.path), "weight": u.weight} for u in adapters],
        "tensors": merged.tensors,
        "changed": merged.changed,
        "nbytes": merged.nbytes,
        "notices": notices,
        "told": [
            *(f"Notice: {notice}" for notice in notices),
            *(str(used) for used in adapters),
            f"into {checkpoint.path}: {merged.changed} of {merged.tensors} tensors changed",
            f"{out}: {gib(merged.nbytes)}",
        ],
    }


def _check_bases(adapters: Sequence[UsedAdapter], whole: WholeWeights, any_base: bool) -> list[str]:
    """Refuse a base that adapters were not trained on, unless that is wanted; say it then."""
    families = {one.saved.notes.family for one in adapters}
    if families != {whole.table.family}:
        raise CheckpointError(
            f"{whole.path} is of {whole.table.family}, the adapters are for "
            f"{', '.join(sorted(families))}"
        )
    notices = [warning for one in adapters for warning in one.saved.warnings]
    bases = {one.saved.path: one.saved.notes.base for one in adapters}
    if not any(bases.values()):
        return notices
    mark = fingerprint(whole.stream())
    for path, base in bases.items():
        if base is None or base.fingerprint == mark:
            continue
        text = (
            f"{path} was trained on {base} (fingerprint {base.fingerprint}), and {whole.path} has "
            f"fingerprint {mark}"
        )
        if not any_base:
            raise CheckpointError(
                f"{text}. Name the former with --base, or add --any-base to merge all the same"
            )
        notices.append(text)
    return notices


def extract_file(
    tuned: Path,
    base: Path,
    out: Path,
    *,
    rank: int,
    alpha: float | None,
    targets: str | None,
    average: bool | None,
    dtype: str | None,
    force: bool,
) -> Answer:
    """Find adapters between two whole weights. Errors: RecipeError or CheckpointError."""
    _refuse_existing(out, force)
    _check_alpha(alpha)
    config = LoraConfig(
        rank=rank,
        alpha=float(rank) if alpha is None else alpha,
        targets=read_targets(LORA_TARGETS if targets is None else targets),
    )
    found, origin = find_checkpoint(tuned), find_checkpoint(base)
    with ExitStack() as opened:
        theirs = opened.enter_context(_open(found, average))
        ours = opened.enter_context(open_whole(origin.path))
        extracted = extract(theirs, ours, config)
        notes = AdapterNotes(
            config=config,
            family=ours.table.family,
            which=theirs.which,
            base=Base(fingerprint(ours.stream()), str(origin.path)),
            recipe=_recipe(found, origin),
            pieces={key: found.recorded[key] for key in PIECES if key in found.recorded} or None,
        )
        held = getattr(torch, next(iter(theirs.entries.values())).dtype)
    nbytes = write_adapter(out, extracted.adapter, notes, dtype=_dtype(dtype) or held)
    worst = max(extracted.layers, key=lambda one: one.share)
    return {
        "out": str(out),
        "nbytes": nbytes,
        "left": extracted.left,
        "worst": {"layer": worst.layer, "left": worst.share},
        "outside": extracted.outside,
        "outside_share": extracted.outside_share,
        "layers": {one.layer: one.share for one in extracted.layers},
        "told": [*_told_errors(extracted, rank), f"{out}: {gib(nbytes)}"],
    }


def _told_errors(extracted: Extracted, rank: int) -> list[str]:
    worst = max(extracted.layers, key=lambda one: one.share)
    lines = [
        f"{len(extracted.layers)} layers at rank {rank}: {extracted.left:.2%} of their change is "
        f"left out, most in {worst.layer} ({worst.share:.2%})"
    ]
    if extracted.outside:
        name = max(extracted.outside, key=lambda name: extracted.outside[name])
        lines.append(
            f"{len(extracted.outside)} other weights changed too and are in no adapter, first "
            f"{name}: {extracted.outside_share:.2%} of all change"
        )
    return lines


def _open(found: Checkpoint, average: bool | None):
    """The trained weights: of a state the average where there is one, else as is asked."""
    wanted: Which = "average" if average else "network"
    if average is None and found.kind == "state":
        try:
            with open_whole(found.path, "average"):
                wanted = "average"
        except CheckpointError:
            wanted = "network"
    return open_whole(found.path, wanted)


def _recipe(found: Checkpoint, origin: Checkpoint) -> dict[str, Any] | None:
    """The recipe of the run that trained the weights, on the base that was named."""
    if found.config is None:
        return None
    tree = read_config(found.config, Predict2Recipe).model_dump(mode="json")
    tree["model"]["config"]["model_manager_config"]["dit_path"] = str(origin.path)
    return tree


def export_file(
    path: Path,
    form: str,
    out: Path,
    *,
    alpha: float | None,
    average: bool | None,
    dtype: str | None,
    force: bool,
) -> Answer:
    """Write an adapter in other names. Errors: RecipeError or CheckpointError."""
    if form == "diffusers" and (out.is_dir() or not out.suffix):
        out = out / DIFFUSERS_FILE
    _refuse_existing(out, force)
    _check_alpha(alpha)
    which: Which = "average" if average else "network"
    saved = read_adapter(find_adapter(path, average), alpha=alpha, which=which)
    adapter = Adapter(saved.adapter.config, cast(saved.adapter.weights, _dtype(dtype)))
    if form in FORMS:
        saved = SavedAdapter(saved.path, saved.notes, adapter, saved.warnings)
        nbytes = export_adapter(saved, form, out)
    else:
        nbytes = write_adapter(out, adapter, saved.notes)
    config = adapter.config
    return {
        "out": str(out),
        "nbytes": nbytes,
        "form": form,
        **saved.notes.to_json(),
        "notices": list(saved.warnings),
        "told": [
            *(f"Notice: {warning}" for warning in saved.warnings),
            f"{saved.path}: {config.kind}, rank {config.rank}, alpha {config.alpha:g}, "
            f"{len(adapter.layers())} layers",
            f"{out}: {gib(nbytes)}, in the names of {form}",
        ],
    }


def _refuse_existing(out: Path, force: bool) -> None:
    if out.is_dir():
        raise RecipeError(f"--out {out} is a folder; expected a file to write")
    if out.exists() and not force:
        raise RecipeError(f"{out} exists already; use --force to write over it")


def _check_alpha(alpha: float | None) -> None:
    if alpha is not None and not alpha > 0:
        raise RecipeError(f"--alpha is {alpha:g}; expected more than 0")


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else getattr(torch, name)

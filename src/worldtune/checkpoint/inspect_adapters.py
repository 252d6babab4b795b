"""Saying what a file of adapters alone is, without reading its data and without torch."""

from worldtune.checkpoint.adapter_forms import Form
from worldtune.checkpoint.adapter_notes import read_notes
from worldtune.checkpoint.description import Description
from worldtune.checkpoint.networks import adapter_ranks, adapter_targets, count_dtypes
from worldtune.checkpoint.reader import WeightsFile


def describe_adapter(file: WeightsFile) -> Description:
    """A file written here, by what its header says."""
    notes = read_notes(file.metadata, file.path)
    return Description(
        path=file.path,
        kind="adapters" if notes.which == "network" else "the average of adapters",
        nbytes=file.path.stat().st_size,
        container=file.kind.value,
        iteration=notes.iteration,
        adapter=notes.to_json(),
        notes=(*notes.lines(), _held(file)),
    )


def tell_foreign(file: WeightsFile, form: Form) -> str:
    """Ranks and layers of another program's file, by its names and shapes."""
    named = {form.weight_of(name): entry for name, entry in file.entries.items()}
    inside = {name: entry for name, entry in named.items() if name is not None}
    ranks = " and ".join(map(str, adapter_ranks(inside)))
    return f"rank {ranks} on {','.join(adapter_targets(inside))}; {_held(file)}"


def _held(file: WeightsFile) -> str:
    """How many weights there are, of which dtypes."""
    dtypes = count_dtypes(file.entries.values())
    told = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.items())
    return f"{sum(entry.numel for entry in file.entries.values()):,} weights; {told}"

"""How the processes of a run are divided, as plain numbers; checked before anything is built.

Whether frames and heads suffice is checked with the settings (`config/checks.py`); here, whether
the processes of the launch do.

Ranks count tensor ranks first, then context ranks, then data ranks: those of one clip are
neighbours. Weights are shared out over neighbours too: `shard` ranks of those that hold the
same piece of the large matrices; `replicate` such groups hold the same.
"""

from dataclasses import dataclass

from worldtune.config.checks import divisors
from worldtune.config.mistakes import Mistake
from worldtune.config.predict2 import Predict2Recipe

CONTEXT = "model_parallel.context_parallel_size"
TENSOR = "model_parallel.tensor_model_parallel_size"
SHARD = "model.config.fsdp_shard_size"


@dataclass(frozen=True)
class Layout:
    """Sizes of a run's groups; each divides what it is taken from."""

    world: int = 1
    context: int = 1
    tensor: int = 1
    shard: int = 1
    sequence: bool = False

    @property
    def ranks_of_a_clip(self) -> int:
        """Ranks that work on the same clip."""
        return self.context * self.tensor

    @property
    def data(self) -> int:
        """Groups of ranks that work on clips of their own."""
        return self.world // self.ranks_of_a_clip

    @property
    def replicate(self) -> int:
        """Groups of ranks that hold the same weights."""
        return self.world // (self.tensor * self.shard)

    @property
    def frame_pieces(self) -> int:
        """Pieces that a clip's frames are cut into."""
        return self.context * (self.tensor if self.sequence else 1)


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks for. `shard` counts ranks; -1 stands for all, 0 for none."""

    context: int
    tensor: int
    shard: int
    sequence: bool


def wanted_by(recipe: Predict2Recipe) -> Wanted:
    """How a recipe wants its processes divided; without sharing (ddp) each has all weights."""
    parallel, trainer = recipe.model_parallel, recipe.trainer
    return Wanted(
        context=parallel.context_parallel_size,
        tensor=parallel.tensor_model_parallel_size,
        shard=recipe.model.config.fsdp_shard_size
        if trainer.distributed_parallelism == "fsdp"
        else 0,
        sequence=parallel.sequence_parallel,
    )


def choose_layout(wanted: Wanted, world: int) -> tuple[Layout, list[Mistake]]:
    """Lay a run of `world` processes out as asked; with every mistake in it.

    A shard size beyond the ranks that there are means all of them, as in the original. The
    layout is of use only where there are no mistakes.
    """
    mistakes = _clip_mistakes(wanted, world)
    holders = max(1, world // wanted.tensor)
    shard = holders if wanted.shard == -1 else min(max(1, wanted.shard), holders)
    if not mistakes and holders % shard:
        mistakes.append(
            Mistake(
                f"{SHARD}={wanted.shard} shares the weights out over {shard} ranks, and the "
                f"{holders} ranks that hold the same pieces do not divide by that; choose one of "
                f"{_list(divisors(holders))}",
                (SHARD,),
            )
        )
    sequence = wanted.sequence and wanted.tensor > 1
    return Layout(world, wanted.context, wanted.tensor, shard, sequence), mistakes


def launch_mistakes(recipe: Predict2Recipe, world: int) -> list[Mistake]:
    """Where a recipe does not fit the processes that it was launched as."""
    mistakes = choose_layout(wanted_by(recipe), world)[1]
    if recipe.overfit and world > 1:
        text = f"overfit={recipe.overfit} is a trial of one process, and there are {world}"
        mistakes.append(Mistake(f"{text}; launch it without torchrun", ("overfit",)))
    return mistakes


def _clip_mistakes(wanted: Wanted, world: int) -> list[Mistake]:
    together = wanted.context * wanted.tensor
    if world % together == 0:
        return []
    asked = {CONTEXT: wanted.context, TENSOR: wanted.tensor}
    sizes = [f"{key}={size}" for key, size in asked.items() if size > 1]
    needs = "need" if len(sizes) > 1 else "needs"
    fits = [c for c in divisors(world) if world % (c * wanted.tensor) == 0]
    others = f"{CONTEXT} to {_list(fits)}" if fits else f"{TENSOR} to {_list(divisors(world))}"
    return [
        Mistake(
            f"{' and '.join(sizes)} {needs} a multiple of {together} processes, and the run was "
            f"launched as {world}; launch it with torchrun --nproc_per_node={together} or a "
            f"multiple of it, or set {others}",
            (CONTEXT, TENSOR),
        )
    ]


def _list(numbers: list[int]) -> str:
    *rest, last = map(str, numbers)
    return f"{', '.join(rest)} or {last}" if rest else last

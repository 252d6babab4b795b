"""Layouts of several processes, and the words that make a recipe have them."""

from dataclasses import dataclass

CONTEXT = "model_parallel.context_parallel_size"
TENSOR = "model_parallel.tensor_model_parallel_size"
SEQUENCE = "model_parallel.sequence_parallel=True"
PLACES = 4  # clips of a step, whatever the layout


@dataclass(frozen=True)
class Case:
    """Sizes of one layout; `shard` 0 means that every rank has all weights."""

    world: int
    context: int = 1
    tensor: int = 1
    shard: int = 0
    sequence: bool = False

    def words(self) -> tuple[str, ...]:
        """The recipe's words; a step takes the same clips on every layout."""
        data_ranks = self.world // (self.context * self.tensor)
        words = [
            f"{CONTEXT}={self.context}",
            f"{TENSOR}={self.tensor}",
            f"dataloader_train.batch_size={PLACES // data_ranks}",
        ]
        if self.shard:
            words += [
                "trainer.distributed_parallelism=fsdp",
                f"model.config.fsdp_shard_size={self.shard}",
            ]
        return (*words, SEQUENCE) if self.sequence else tuple(words)


CASES = {
    "DDP": Case(4),
    "FSDP": Case(4, shard=-1),
    "HSDP": Case(4, shard=2),
    "CP by Ulysses": Case(2, context=2, shard=-1),
    "CP by gathered keys and values": Case(3, context=3),
    "TP": Case(2, tensor=2),
    "TP with SP": Case(2, tensor=2, sequence=True),
    "FSDP x CP": Case(4, context=2, shard=-1),
    "FSDP x TP": Case(4, tensor=2, shard=-1),
    "CP x TP": Case(4, context=2, tensor=2),
    "CP x TP with SP": Case(4, context=2, tensor=2, shard=-1, sequence=True),
    "FSDP x TP with SP": Case(4, tensor=2, shard=-1, sequence=True),
    "FSDP x CP x TP": Case(8, context=2, tensor=2, shard=-1),
    "HSDP x TP": Case(8, tensor=2, shard=2),
    "HSDP x CP x TP with SP": Case(8, context=2, tensor=2, shard=2, sequence=True),
    "FSDP, uneven": Case(3, shard=-1, context=3),
    "TP 4": Case(4, tensor=4),
}

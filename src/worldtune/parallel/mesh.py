"""The processes of a run: which one this is, with whom it works, and how they talk.

    with join_processes(timeout_s):
        mesh = ProcessMesh(layout, launched_rank(), timeout_s)

One process by itself has a mesh too: it holds everything, and talking to it costs nothing.
Small things (numbers, names) go between the CPUs, tensors of the network as the device
likes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from worldtune.errors import QuietError, StoppedEarlyError
from worldtune.parallel.layout import Layout

T = TypeVar("T")
FAILURE = "worldtune/failure"
# torch's own longest time; the default setting means for ever.
_LONGEST_S = 10**7


class ProcessMesh:
    """This process among those of its run."""

    def __init__(self, layout: Layout, rank: int = 0, timeout_s: int = _LONGEST_S) -> None:
        """Make the groups; every process of the run does so at the same time.

        `timeout_s` is how long a process waits for another.
        """
        self.layout, self.rank = layout, rank
        self.tensor_rank = rank % layout.tensor
        self.context_rank = rank // layout.tensor % layout.context
        self.data_rank = rank // layout.ranks_of_a_clip
        # Among the ranks that hold the same piece of the large matrices.
        self.replica, self.shard_rank = divmod(rank // layout.tensor, layout.shard)
        self.weights: DeviceMesh | None = None
        self.tensor_group: dist.ProcessGroup | None = None
        self.context_group: dist.ProcessGroup | None = None
        self.clip_group: dist.ProcessGroup | None = None
        if layout.world > 1:
            self._make_groups(timedelta(seconds=min(timeout_s, _LONGEST_S)))

    def _make_groups(self, timeout: timedelta) -> None:
        layout, kind = self.layout, "cuda" if torch.cuda.is_available() else "cpu"

        def group(ranks: Tensor, dim: int) -> dist.ProcessGroup:
            """This process's among the groups along a dim of the ranks; all processes call it."""
            rows = ranks.movedim(dim, -1).reshape(-1, ranks.shape[dim]).tolist()
            mine = dist.new_subgroups_by_enumeration(rows, timeout=timeout)[0]
            assert isinstance(mine, dist.ProcessGroup)
            return mine

        ranks = torch.arange(layout.world)
        holders = ranks.view(layout.replicate, layout.shard, layout.tensor)
        clips = ranks.view(layout.data, layout.context, layout.tensor)
        shard = group(holders, 1)
        mine = holders[:, :, self.tensor_rank]
        if layout.replicate == 1:
            self.weights = DeviceMesh.from_group(shard, kind, mesh_dim_names=("shard",))
        else:
            both = [group(holders, 0), shard]
            names = ("replicate", "shard")
            self.weights = DeviceMesh.from_group(both, kind, mesh=mine, mesh_dim_names=names)
        if layout.context > 1:
            self.context_group = group(clips, 1)
        if layout.tensor > 1:
            self.tensor_group = group(clips, 2)
        if layout.context > 1 and layout.tensor > 1:
            self.clip_group = group(clips.flatten(1), 1)
        else:
            self.clip_group = self.context_group or self.tensor_group

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.layout.world == 1

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def leads_clip(self) -> bool:
        """Whether this process reads and encodes the clips of its group."""
        return self.context_rank == 0 and self.tensor_rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        if not self.alone:
            self.add_up([0.0])

    def gather(self, values: Sequence[float]) -> Tensor:
        """Numbers of every process, float64 [ranks, numbers]."""
        mine = torch.tensor([list(values)], dtype=torch.float64)
        if self.alone:
            return mine
        rows = [torch.empty_like(mine) for _ in range(self.layout.world)]
        dist.all_gather(rows, mine)
        return torch.cat(rows)

    def add_up(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, the same in every bit on each."""
        return self.gather(values).sum(0).tolist()

    def over_clips(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers that all ranks of a clip have alike, each clip's counted once."""
        return self.gather(values)[:: self.layout.ranks_of_a_clip].sum(0).tolist()

    def any(self, said: bool) -> bool:
        """Whether any process says so."""
        return self.add_up([float(said)])[0] > 0

    def gather_things(self, thing: T) -> list[T]:
        """A thing of every process, by rank."""
        if self.alone:
            return [thing]
        things: list[T | None] = [None] * self.layout.world
        dist.all_gather_object(things, thing)
        return things  # pyright: ignore[reportReturnType]

    def from_first(self, make: Callable[[], T]) -> T:
        """Let the first process make a thing and give it to all; so too if it fails."""
        if self.alone:
            return make()
        made: list[T | Exception | None] = [None]
        if self.first:
            try:
                made[0] = make()
            except Exception as fault:
                made[0] = fault
        dist.broadcast_object_list(made, 0, device=torch.device("cpu"))
        if isinstance(made[0], Exception):
            raise made[0]
        return made[0]  # pyright: ignore[reportReturnType]

    def send_from(self, source: int, tensors: Sequence[Tensor], *, to_clip: bool) -> None:
        """Fill tensors with those of a rank: on all ranks, or on those of its clip."""
        if to_clip and self.layout.ranks_of_a_clip == 1:
            return
        for tensor in tensors:
            dist.broadcast(tensor, source, group=self.clip_group if to_clip else None)

    def thing_from(self, source: int, thing: T | None, *, to_clip: bool) -> T:
        """Give what one rank has, and the others do not know, to all or to those of its clip."""
        if to_clip and self.layout.ranks_of_a_clip == 1:
            assert thing is not None
            return thing
        things = [thing]
        group = self.clip_group if to_clip else None
        dist.broadcast_object_list(things, source, group=group, device=torch.device("cpu"))
        return things[0]  # pyright: ignore[reportReturnType]

    @property
    def clip_leader(self) -> int:
        """The rank that leads this rank's clip."""
        return self.data_rank * self.layout.ranks_of_a_clip


ALONE = ProcessMesh(Layout())


def launched_processes() -> int:
    """How many processes the launcher started; 1 without one."""
    if dist.is_initialized():
        return dist.get_world_size()
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes_here(world: int) -> int:
    """How many of the run's processes are on this machine: all, unless the launcher says less."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))


def choose_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


@contextmanager
def join_processes(timeout_s: int) -> Iterator[None]:
    """Meet the other processes of the launch, if there are any, and part at the end."""
    if launched_processes() == 1 or dist.is_initialized():
        yield
        return
    device = choose_device()
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        timeout=timedelta(seconds=min(timeout_s, _LONGEST_S)),
        device_id=device if device.type == "cuda" else None,
    )
    # Where a process fails it just ends: taking leave would wait for the others.
    try:
        yield
    except (StoppedEarlyError, QuietError) as stop:
        if stop.agreed:
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def speaks_first_of_failure() -> bool:
    """Whether this process is the first of the run to fail, and so the one to say why."""
    if not dist.is_initialized():
        return True
    store = dist.distributed_c10d._get_default_store()
    try:
        return store.add(FAILURE, 1) == 1
    except RuntimeError:
        # The machine that kept the store is gone, and cannot tell.
        return True

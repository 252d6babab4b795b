"""Clips that several processes work on together: read and encoded by one, given to the others."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldtune.data.batch import Batch
from worldtune.parallel.agreement import check_agreement
from worldtune.parallel.mesh import ProcessMesh
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.loop import TimedBatch
from worldtune.train.sources import ClipData, first_batch, timed
from worldtune.train.validation import HeldOut


@dataclass(frozen=True)
class _Told:
    """All of a batch that is no number on the device, and what the tensors will be."""

    names: tuple[str, ...]
    captions: tuple[str, ...]
    shapes: dict[str, tuple[tuple[int, ...], torch.dtype]]
    wait_s: float


def give_batch(
    batch: Batch | None,
    wait_s: float,
    mesh: ProcessMesh,
    device: torch.device,
    *,
    source: int,
    to_clip: bool,
) -> TimedBatch:
    """Give one rank's encoded batch to all ranks, or to those of its clip.

    The others pass no batch. All get the same tensors on their device, and how long the one
    waited for its video. By itself a process gets its own back.
    """
    if mesh.alone:
        assert batch is not None
        return TimedBatch(batch, wait_s)
    told = None
    if batch is not None:
        shapes = {name: (tuple(t.shape), t.dtype) for name, t in batch.tensors().items()}
        told = _Told(batch.names, batch.captions, shapes, wait_s)
    told = mesh.thing_from(source, told, to_clip=to_clip)
    if batch is None:
        tensors = {
            name: torch.empty(shape, dtype=dtype, device=device)
            for name, (shape, dtype) in told.shapes.items()
        }
        batch = Batch(names=told.names, captions=told.captions, **tensors)
    else:
        batch = replace(batch, **{n: t.contiguous() for n, t in batch.tensors().items()})
    sent = [tensor for tensor in batch.tensors().values() if tensor.numel()]
    mesh.send_from(source, sent, to_clip=to_clip)
    return TimedBatch(batch, told.wait_s)


def shared(
    batches: Iterator[TimedBatch] | None,
    clip_loss: ClipLoss,
    mesh: ProcessMesh,
    device: torch.device,
) -> Iterator[TimedBatch]:
    """This rank's batches, where those of its clip are read by the clip's leader only.

    The first batch is compared between ranks, with all that is drawn for it. RunError where
    they differ.
    """
    first = True
    while True:
        mine, wait_s = None, 0.0
        if batches is not None:
            timed = next(batches)
            mine, wait_s = clip_loss.encoded(timed.batch), timed.wait_s
        given = give_batch(mine, wait_s, mesh, device, source=mesh.clip_leader, to_clip=True)
        if first:
            check_agreement(_all_drawn(given.batch, clip_loss), mesh)
            first = False
        yield given


@contextmanager
def batches_of(
    data: ClipData, first_index: int, clip_loss: ClipLoss, mesh: ProcessMesh, device: torch.device
) -> Iterator[Iterator[TimedBatch]]:
    """This rank's batches from a place of the order on; their workers end with the body."""
    if not mesh.leads_clip:
        yield shared(None, clip_loss, mesh, device)
        return
    with closing(data.loader(first_index)) as loader:
        own = timed(loader, device)
        yield own if mesh.alone else shared(own, clip_loss, mesh, device)


def _all_drawn(batch: Batch, clip_loss: ClipLoss) -> dict[str, Tensor]:
    """Everything that the loss of a batch depends on beside the weights, by name."""
    latents = clip_loss.latents(batch)
    draws = clip_loss.draw(latents, batch)
    seen = {
        "latents": latents,
        "text": draws.text,
        "noise": draws.noise,
        "noise level": draws.sigma,
        "mask of given frames": draws.given.mask,
        "frame rate": batch.fps,
        "padding mask": batch.padding_mask,
    }
    places = ", ".join(str(place) for place in batch.index.tolist())
    return {f"'{name}' of the clips at {places}": tensor for name, tensor in seen.items()}


def encode_pass(
    data: ClipData, most: int | None, clip_loss: ClipLoss, mesh: ProcessMesh, device: torch.device
) -> tuple[HeldOut, ...]:
    """This rank's share of the clips of one pass, at most so many batches in all, encoded."""
    dealt, loader = data.one_pass(most)
    clips = []
    with closing(loader):
        batches = iter(loader) if mesh.leads_clip else None
        for counts in dealt.counts:
            mine = None if batches is None else clip_loss.encoded(next(batches).to(device))
            given = give_batch(mine, 0.0, mesh, device, source=mesh.clip_leader, to_clip=True)
            clips.append(HeldOut(given.batch.to("cpu"), counts))
    return tuple(clips)


def first_clips(
    clips: tuple[HeldOut, ...],
    count: int,
    clip_loss: ClipLoss,
    mesh: ProcessMesh,
    device: torch.device,
) -> tuple[HeldOut, ...]:
    """The first batches of a pass, the same on every rank, whoever had them."""
    total = int(mesh.over_clips([float(sum(held.counts for held in clips))])[0])
    chosen = []
    for number in range(min(count, total)):
        place, owner = divmod(number, mesh.layout.data)
        source, mine = owner * mesh.layout.ranks_of_a_clip, None
        if mesh.rank == source:
            mine = clips[place].batch.to(device)
        given = give_batch(mine, 0.0, mesh, device, source=source, to_clip=False)
        chosen.append(HeldOut(given.batch.to("cpu")))
    return tuple(chosen)


def first_of_training(
    data: ClipData, clip_loss: ClipLoss, mesh: ProcessMesh, device: torch.device
) -> HeldOut:
    """The batch that the first rank begins with, encoded, the same on every rank."""
    mine = clip_loss.encoded(first_batch(data).to(device)) if mesh.first else None
    given = give_batch(mine, 0.0, mesh, device, source=0, to_clip=False)
    return HeldOut(given.batch.to("cpu"))

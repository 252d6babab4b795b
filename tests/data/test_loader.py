"""Batches by worker processes."""

import os
import subprocess
from time import perf_counter, sleep

import pytest
import torch

from tests.data.sources import Still
from worldtune.data import loader as loader_module
from worldtune.data.batch import Batch
from worldtune.data.loader import Loader
from worldtune.data.order import ClipOrder
from worldtune.data.sampler import EndlessBatches, OnePass, Shares
from worldtune.errors import DataError

ORDER = ClipOrder((20,), seed=1)


def endless(source: Still, workers: int, batch_size: int = 2, first_index: int = 0) -> Loader:
    batches = EndlessBatches(ORDER, Shares(batch_size), first_index)
    return Loader(source, batches, batch_size=batch_size, num_workers=workers)


def take(loader: Loader, count: int) -> list[Batch]:
    return [batch for batch, _ in zip(loader, range(count), strict=False)]


def test_a_batch_holds_its_clips_in_the_order_of_their_places():
    with endless(Still(), workers=0, first_index=4) as loader:
        batch = take(loader, 1)[0]

    clips = [ORDER.at(4).clip, ORDER.at(5).clip]
    assert batch.index.tolist() == [4, 5]
    assert batch.video[:, 0, 0, 0, 0].tolist() == clips
    assert batch.text[:, 0, 0].tolist() == clips
    assert batch.names == tuple(f"clip_{clip}" for clip in clips)
    assert batch.captions == tuple(f"caption {clip}" for clip in clips)
    assert batch.fps.tolist() == [24.0, 24.0]
    assert batch.padding_mask.shape == (2, 1, 1, 1)
    assert not batch.padding_mask.any()
    assert len(batch) == 2


def test_a_batch_moves_whole():
    batch = take(endless(Still(), workers=0), 1)[0].to("meta")

    assert {t.device.type for t in (batch.video, batch.text, batch.fps, batch.index)} == {"meta"}
    assert batch.names


def test_the_wait_for_a_batch_is_measured():
    loader = endless(Still(takes_s=0.02), workers=0)
    take(loader, 1)

    assert 0.04 <= loader.wait_s < 1


def test_a_bad_clip_is_an_error_with_its_own_message():
    loader = endless(Still(bad=ORDER.at(3).clip), workers=0)

    with pytest.raises(DataError, match=r"^videos/bad\.mp4: frame 3 is damaged$"):
        take(loader, 2)


def test_validation_passes_are_alike():
    batches = OnePass(ORDER, 8, drop_last=False)
    loader = Loader(Still(), batches, batch_size=8)

    first, second = ([batch.names for batch in loader] for _ in range(2))

    assert first == second
    assert [len(names) for names in first] == [8, 8, 4]


def test_workers_that_would_overfill_shared_memory_are_refused(monkeypatch):
    free = os.statvfs("/dev/shm")
    size = free.f_bavail * free.f_frsize // 3

    with pytest.raises(DataError, match=r"2 loader workers need .* MiB of shared memory .* lower"):
        endless(Still(item_bytes=size), workers=2)
    monkeypatch.setattr(loader_module, "_SHARED_MEMORY", loader_module.Path("/nowhere"))
    endless(Still(item_bytes=size), workers=2).close()


def test_few_batches_are_kept_ready_where_shared_memory_is_short():
    free = os.statvfs("/dev/shm")
    free_bytes = free.f_bavail * free.f_frsize

    assert loader_module._batches_ahead(Still(item_bytes=free_bytes // 4), 1, 2) == 1
    assert loader_module._batches_ahead(Still(item_bytes=free_bytes // 100), 1, 2) == 2


def gone(pids: list[int], within_s: float) -> bool:
    until = perf_counter() + within_s
    while perf_counter() < until:
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return True
        sleep(0.05)
    return False


def worker_pids(loader: Loader) -> list[int]:
    return [int(pid) for pid, _ in loader._board._rows]


def test_two_workers_give_what_none_gives_ahead_of_need_and_end_when_closed():
    with endless(Still(takes_s=0.02), workers=2) as loader:
        batches = iter(loader)
        got = [next(batches) for _ in range(3)]
        sleep(0.5)
        got.append(next(batches))
        assert loader.wait_s < 0.04  # it lay ready; reading it takes as long
        pids = worker_pids(loader)
        assert os.getpid() not in pids
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    del batches

    assert gone(pids, within_s=10)
    for ours, expected in zip(got, take(endless(Still(), workers=0), 4), strict=True):
        assert ours.names == expected.names
        assert torch.equal(ours.video, expected.video)
        assert torch.equal(ours.index, expected.index)


def test_a_bad_clip_in_a_worker_has_the_same_message_and_no_traceback():
    with (
        endless(Still(bad=ORDER.at(3).clip), workers=1) as loader,
        pytest.raises(DataError, match=r"^videos/bad\.mp4: frame 3 is damaged$"),
    ):
        take(loader, 3)


def test_a_batch_that_was_lost_with_its_worker_names_the_clip():
    """Seen now and then: the worker's socket broke before torch had seen its end."""
    ended = subprocess.Popen(["true"])
    ended.wait()

    def broken():
        raise ConnectionResetError("connection reset by peer")
        yield

    loader = endless(Still(), workers=0)
    batches = iter(loader)
    loader._board._rows[0] = torch.tensor([ended.pid, 3])
    loader._running = broken()

    with pytest.raises(DataError, match="a loader worker died while it read clip_3"):
        next(batches)


def test_a_fault_of_the_program_is_no_mistake_of_the_users():
    loader = endless(Still(clips=2), workers=0)
    batches = iter(loader)
    loader._running = (1 / 0 for _ in range(1))

    with pytest.raises(ZeroDivisionError):
        next(batches)


@pytest.mark.multi
def test_a_worker_that_dies_names_the_clip_it_read():
    deadly = ORDER.at(5).clip
    with (
        endless(Still(deadly=deadly), workers=2) as loader,
        pytest.raises(DataError, match=rf"a loader worker died while it read clip_{deadly}: mem"),
    ):
        take(loader, 5)

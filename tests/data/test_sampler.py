"""How the global order is shared out."""

import pytest

from worldtune.data.order import ClipOrder
from worldtune.data.sampler import Dealt, EndlessBatches, OnePass, Shares

ORDER = ClipOrder((11,), seed=3)


def taken(shares: Shares, count: int, first_index: int = 0) -> list[list[int]]:
    batches = iter(EndlessBatches(ORDER, shares, first_index))
    return [[place.index for place in next(batches)] for _ in range(count)]


def test_four_ranks_a_batch_of_four_and_four_accumulated_take_the_same_clips_a_step():
    ranks = [taken(Shares(1, rank, 4), 3) for rank in range(4)]
    by_ranks = [{rank[step][0] for rank in ranks} for step in range(3)]
    by_batch = [set(batch) for batch in taken(Shares(4), 3)]
    alone = taken(Shares(1), 12)
    by_accumulation = [{batch[0] for batch in alone[4 * s : 4 * s + 4]} for s in range(3)]

    assert (
        by_ranks == by_batch == by_accumulation == [{4 * s + i for i in range(4)} for s in range(3)]
    )


def test_a_resumed_run_goes_on_where_the_other_stopped():
    shares = Shares(2, 1, 2)

    assert taken(shares, 3) + taken(shares, 3, first_index=12) == taken(shares, 6)


def test_a_run_may_go_on_with_another_number_of_ranks():
    before = [i for rank in range(4) for batch in taken(Shares(1, rank, 4), 2) for i in batch]
    after = [i for rank in range(2) for batch in taken(Shares(1, rank, 2), 2, 8) for i in batch]

    assert sorted(before + after) == list(range(12))


def test_epochs_follow_one_another_without_a_gap():
    clips = [place.clip for batch in _first(Shares(4), 11) for place in batch]

    assert sorted(clips) == sorted(list(range(11)) * 4)


def _first(shares: Shares, count: int):
    batches = iter(EndlessBatches(ORDER, shares))
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_one_pass_is_dealt_out_so_that_every_clip_counts_once(ranks, batch_size):
    batches = list(OnePass(ORDER, batch_size, drop_last=False))
    dealt = [Dealt(batches, rank, ranks) for rank in range(ranks)]
    own = [
        batch
        for share in dealt
        for batch, counts in zip(share, share.counts, strict=True)
        if counts
    ]

    assert sorted(place.clip for batch in own for place in batch) == list(range(11))
    assert len({len(share) for share in dealt}) == 1


def test_one_pass_may_drop_what_fills_no_batch():
    batches = OnePass(ORDER, 4, drop_last=True)

    assert [len(batch) for batch in batches] == [4, 4]
    assert len(batches) == 2

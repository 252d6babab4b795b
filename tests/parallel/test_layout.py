"""A recipe's sizes and the processes of a launch, before anything is built."""

from hypothesis import given
from hypothesis import strategies as st

from worldtune.config.compose import compose
from worldtune.parallel.layout import Layout, Wanted, choose_layout, launch_mistakes, wanted_by
from worldtune.recipes.predict2 import PREDICT2

ITS = "predict2_video2world_training_2b_its"
sizes = st.integers(1, 8)


def layout_of(name: str, world: int, *words: str) -> Layout:
    recipe = compose(PREDICT2, name, list(words), environment={}).recipe
    layout, mistakes = choose_layout(wanted_by(recipe), world)
    assert mistakes == []
    return layout


def test_the_recipe_on_eight_processes_has_four_data_ranks_of_two():
    layout = layout_of(ITS, 8)

    assert (layout.context, layout.data, layout.tensor) == (2, 4, 1)
    assert (layout.shard, layout.replicate) == (8, 1)


def test_a_shard_size_below_the_world_makes_replicas():
    layout = layout_of(ITS, 16)

    assert (layout.shard, layout.replicate, layout.data) == (8, 2, 8)


def test_a_shard_size_beyond_the_ranks_means_all_of_them():
    assert layout_of(ITS, 2).shard == 2
    assert layout_of("predict2_video2world_training_14b_its", 16).shard == 16


def test_ddp_shares_no_weights_whatever_the_shard_size_is():
    assert layout_of(ITS, 8, "trainer.distributed_parallelism=ddp").shard == 1


def test_tensor_ranks_hold_pieces_that_the_others_share_out():
    layout = layout_of(ITS, 16, "model_parallel.tensor_model_parallel_size=4")

    assert (layout.tensor, layout.shard, layout.replicate, layout.data) == (4, 4, 1, 2)


def test_sequence_parallelism_with_one_tensor_rank_cuts_nothing():
    layout = layout_of(ITS, 2, "model_parallel.sequence_parallel=True")

    assert not layout.sequence
    assert layout.frame_pieces == 2


def test_a_shard_size_that_divides_nothing_is_told_with_those_that_would():
    mistakes = choose_layout(Wanted(1, 2, 5, False), 24)[1]

    assert [mistake.text for mistake in mistakes] == [
        "model.config.fsdp_shard_size=5 shares the weights out over 5 ranks, and the 12 ranks "
        "that hold the same pieces do not divide by that; choose one of 1, 2, 3, 4, 6 or 12"
    ]


def test_where_no_context_size_fits_the_tensor_size_is_what_must_change():
    mistakes = choose_layout(Wanted(2, 8, 1, False), 4)[1]

    assert [mistake.text for mistake in mistakes] == [
        "model_parallel.context_parallel_size=2 and model_parallel.tensor_model_parallel_size=8 "
        "need a multiple of 16 processes, and the run was launched as 4; launch it with torchrun "
        "--nproc_per_node=16 or a multiple of it, or set model_parallel.tensor_model_parallel_size "
        "to 1, 2 or 4"
    ]


def test_a_trial_on_a_few_clips_is_of_one_process():
    name = "predict2_video2world_training_tiny"
    recipe = compose(PREDICT2, name, ["overfit=4"], environment={}).recipe

    assert launch_mistakes(recipe, 1) == []
    assert [mistake.text for mistake in launch_mistakes(recipe, 2)] == [
        "overfit=4 is a trial of one process, and there are 2; launch it without torchrun"
    ]


@given(context=sizes, tensor=sizes, shard=st.integers(-1, 16), world=st.integers(1, 64))
def test_every_layout_that_is_given_uses_every_process_once(
    context: int, tensor: int, shard: int, world: int
):
    layout, mistakes = choose_layout(Wanted(context, tensor, shard, False), world)
    if mistakes:
        return
    assert layout.data * layout.context * layout.tensor == world
    assert layout.replicate * layout.shard * layout.tensor == world

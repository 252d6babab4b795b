"""One recipe, many layouts, one result: real training steps against one process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.golden.test_predict2_train_steps import hold_to_the_original
from tests.golden.train_steps import Taken, take_steps
from tests.multi.conftest import Pools, Runs
from tests.multi.layouts import CASES
from tests.multi.runs import facts_of, hold_to
from worldtune.parallel.layout import Layout
from worldtune.parallel.mesh import ProcessMesh, launched_rank

TOLERANCE = 1e-6
NET = "model.config.pipe_config.net"
LORA = (
    "model.config.train_architecture=lora",
    "model.config.lora_rank=4",
    "model.config.lora_alpha=8",
    # B drawn too: at 0 it hides whatever is wrong with A.
    "model.config.init_lora_weights=False",
)
IN_DEFAULT_SUITE = ("FSDP", "CP x TP with SP", "TP")


def check(runs: Runs, pools: Pools, name: str, *words: str, tolerance: float = TOLERANCE) -> Path:
    """Hold a layout's run to that of one process with the same words."""
    case, named = CASES[name], " ".join([name, *(w.rpartition(".")[2] for w in words)])
    ours = runs.together(pools[case.world], named, *case.words(), *words)
    hold_to(ours, runs.alone(" ".join(words), *words), tolerance)
    return ours


def test_three_layouts_take_the_steps_of_one_process(runs: Runs, pools: Pools):
    for name in IN_DEFAULT_SUITE:
        check(runs, pools, name)


@pytest.mark.multi
@pytest.mark.parametrize("name", [name for name in CASES if name not in IN_DEFAULT_SUITE])
def test_a_layout_takes_the_steps_of_one_process(runs: Runs, pools: Pools, name: str):
    check(runs, pools, name)


@pytest.mark.multi
@pytest.mark.parametrize("name", ["FSDP x CP", "FSDP x TP with SP", "CP x TP"])
def test_adapters_train_alike_on_a_layout(runs: Runs, pools: Pools, name: str):
    ours = check(runs, pools, name, *LORA)

    assert facts_of(ours)["base"] == facts_of(runs.alone(" ".join(LORA), *LORA))["base"]


@pytest.mark.multi
def test_adapters_of_any_layer_train_on_uneven_shards(runs: Runs, pools: Pools):
    """Rank 4 over three processes leaves one of them without rows."""
    targets = "q_proj,output_proj,adaln_modulation_mlp.1,x_embedder.proj.1"
    check(runs, pools, "FSDP, uneven", *LORA, f"model.config.lora_target_modules='{targets}'")


@pytest.mark.multi
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("FSDP x CP", "predict2_2b_720"),
        ("FSDP x TP with SP", "block_wise"),
        ("CP x TP", "mm_only"),
    ],
)
def test_recompute_changes_no_number_on_a_layout(runs: Runs, pools: Pools, name: str, mode: str):
    case = CASES[name]
    words = (*case.words(), f"{NET}.sac_config.mode={mode}")
    hold_to(runs.together(pools[case.world], f"{name} {mode}", *words), runs.alone(""), TOLERANCE)


@pytest.mark.multi
@pytest.mark.parametrize("name", ["FSDP", "FSDP x CP", "FSDP x TP with SP"])
def test_bfloat16_is_held_to_bfloat16_on_one_process(runs: Runs, pools: Pools, name: str):
    """Sums in another order differ by some roundings of 2^-9."""
    check(runs, pools, name, "model.config.precision=bfloat16", tolerance=1e-2)


@pytest.mark.multi
def test_validation_and_samples_are_those_of_one_process(runs: Runs, pools: Pools):
    """Five held-out clips in batches of two do not come out even on any number of ranks."""
    words = (
        "trainer.run_validation=True",
        "dataloader_val.batch_size=2",
        "trainer.sample_iter=3",
        "model.config.pipe_config.timestamps.nfe=1",
    )
    alone = runs.alone("validated", *words)
    case = CASES["FSDP x CP"]
    ours = runs.together(pools[case.world], "validated together", *case.words(), *words)

    hold_to(ours, alone, TOLERANCE)
    samples = [sorted((run / "samples").rglob("*.*")) for run in (ours, alone)]
    assert [file.name for file in samples[0]] == [file.name for file in samples[1]]
    assert len(samples[0]) == 3
    strips = [np.asarray(Image.open(files[-1])).astype(int) for files in samples]
    assert np.abs(strips[0] - strips[1]).max() <= 2  # of 255: the solver's own rounding


@pytest.mark.multi
def test_clips_of_a_step_may_come_from_ranks_a_batch_or_accumulated_steps(runs: Runs, pools: Pools):
    together = runs.together(pools[4], "four data ranks", *CASES["FSDP"].words())
    parts = ("dataloader_train.batch_size=1", "trainer.grad_accum_iter=4")

    hold_to(together, runs.alone(""), TOLERANCE)
    hold_to(runs.alone("accumulated", *parts), runs.alone(""), TOLERANCE)


GOLDEN = {
    "CP 4": Layout(4, context=4, shard=4),
    "CP 4, all weights on each": Layout(4, context=4),
    "TP 4": Layout(4, tensor=4),
    "TP 4 with SP": Layout(4, tensor=4, sequence=True),
    "CP 2 x TP 2": Layout(4, context=2, tensor=2, shard=2),
    "CP 2 x TP 2 with SP": Layout(4, context=2, tensor=2, shard=2, sequence=True),
}


def _golden(layout: Layout, *words: Any) -> Taken:
    return take_steps(*words, mesh=ProcessMesh(layout, launched_rank()))


@pytest.mark.multi
@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("variant", ["clip1", "noclip"])
def test_a_layout_takes_the_original_steps(
    pools: Pools, predict2: Any, close: Any, name: str, variant: str
):
    layout, sizes = GOLDEN[name], predict2.json("config")
    if layout.frame_pieces > sizes["T"] or sizes["num_heads"] % layout.tensor:
        pytest.skip("these vectors have too few frames or heads")
    told, vectors = predict2.json("train_steps"), predict2.tensors("train_steps")
    run = next(run for run in told["runs"] if run["variant"] == variant)
    words = (told, run, sizes, vectors, predict2.tensors("dit_state"))

    taken = pools[4].run(_golden, layout, *words)[0]

    hold_to_the_original(taken, told, run, vectors, close)

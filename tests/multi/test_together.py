"""Processes of one run agree, stop together, and tell of all of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.multi.conftest import Pools, Runs
from tests.multi.layouts import CASES, PLACES
from tests.multi.runs import run
from tests.train.tiny import differences, forget_after, log_of, metrics, state_of
from worldtune.config.compose import Composed
from worldtune.data.batch import Batch, Item
from worldtune.data.dataset import VideoClips
from worldtune.errors import QuietError, RunError
from worldtune.models import initialise
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.plan import PLAN
from worldtune.parallel.mesh import launched_rank
from worldtune.train import run as module
from worldtune.train import spread_start
from worldtune.train.clip_loss import ClipLoss, Draws
from worldtune.train.logs import read_metrics
from worldtune.train.setup import Learner

FRESH = "model.config.fresh_weights=True"


def failure(composed: Composed, folder: Path, spoil: str) -> str:
    """Train with something on rank 1 that is not as on rank 0; tell how the run ends."""
    with pytest.MonkeyPatch.context() as patch:
        if launched_rank() == 1:
            _SPOIL[spoil](patch)
        try:
            run(composed, folder)
        except (RunError, QuietError) as fault:
            return str(fault)
    return "it trained"


def _another_noise(patch: pytest.MonkeyPatch) -> None:
    draw = ClipLoss.draw

    def spoilt(loss: ClipLoss, latents: Tensor, batch: Batch) -> Draws:
        draws = draw(loss, latents, batch)
        draws.noise[0, 0, 0, 0, 0] += 1e-6
        return draws

    patch.setattr(ClipLoss, "draw", spoilt)


def _another_norm(patch: pytest.MonkeyPatch) -> None:
    fresh = initialise.fresh_weight

    def spoilt(name: str, *words: Any) -> Tensor:
        weight = fresh(name, *words)
        return weight * 1.0001 if name == "blocks.1.cross_attn.k_norm.weight" else weight

    patch.setattr(spread_start, "fresh_weight", spoilt)


def the_one_that_speaks(told: list[str]) -> str:
    """What the one process says that says why; the others end quietly."""
    spoken = [line for line in told if not line.startswith("another process of the run")]
    assert len(spoken) == 1
    return spoken[0]


_SPOIL = {"noise": _another_noise, "norm": _another_norm}


@pytest.mark.multi
def test_another_noise_on_one_rank_stops_the_run_at_the_first_step(runs: Runs, pools: Pools):
    words = (*CASES["CP by Ulysses"].words(), FRESH)
    told = pools[2].run(failure, runs.recipe(*words), runs.folder / "noise", "noise")
    pools.renew(2)

    assert the_one_that_speaks(told).startswith(
        "the processes disagree: rank 1 has another 'noise' of the clips at 0, 1, 2, 3 than rank 0."
    )
    assert not (runs.folder / "noise" / "metrics.jsonl").read_text()


@pytest.mark.multi
def test_another_weight_on_one_tensor_rank_stops_the_run_before_the_first_step(
    runs: Runs, pools: Pools
):
    words = (*CASES["TP"].words(), FRESH)
    told = pools[2].run(failure, runs.recipe(*words), runs.folder / "norm", "norm")
    pools.renew(2)

    assert the_one_that_speaks(told).startswith(
        "the processes disagree: rank 1 has another weight 'blocks.1.cross_attn.k_norm.weight' "
        "from [0] on than rank 0; rank 1 has another average 'blocks.1.cross_attn.k_norm.weight'"
    )


def replicated(composed: Composed, folder: Path) -> dict[str, Tensor]:
    """Train, and give every weight that the plan does not cut, as it is on this rank."""
    kept: list[Learner] = []
    with pytest.MonkeyPatch.context() as patch:
        build = module.build_learner

        def kept_too(*things: Any) -> Learner:
            kept.append(build(*things))
            return kept[0]

        patch.setattr(module, "build_learner", kept_too)
        run(composed, folder)
    held = kept[0].pieces.held
    return {name: held[name].clone() for name in held if PLAN.cut_of(name) is None}


@pytest.mark.multi
@pytest.mark.parametrize("name", ["TP", "TP with SP"])
def test_whole_weights_are_equal_on_all_tensor_ranks_after_twenty_steps(
    runs: Runs, pools: Pools, name: str
):
    words = (*runs.start, *CASES[name].words(), "trainer.max_iter=20", "optimizer.lr=1e-3")
    one, other = pools[2].run(replicated, runs.recipe(*words), runs.folder / f"{name} 20")

    assert len(one) > 20
    assert one.keys() == other.keys()
    assert [weight for weight in one if not torch.equal(one[weight], other[weight])] == []


@pytest.mark.multi
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FSDP x CP", ()),
        ("HSDP", ("model.config.precision=bfloat16",)),
        ("CP x TP with SP", ()),
        ("FSDP x TP", ("model.config.train_architecture=lora", "model.config.lora_rank=4")),
    ],
)
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    runs: Runs, pools: Pools, name: str, words: tuple[str, ...]
):
    said = (*CASES[name].words(), *words, "trainer.max_iter=4", "checkpoint.save_iter=2")
    folder = runs.together(pools[4], f"unbroken {name}", *said)
    unbroken, lines = state_of(folder, 4)[0], metrics(folder)
    unbroken = {s: {n: t.clone() for n, t in some.items()} for s, some in unbroken.items()}
    forget_after(folder, 2)
    runs.together(pools[4], f"unbroken {name}", *said)

    assert "Resuming from iteration 2" in log_of(folder)
    assert differences(state_of(folder, 4)[0], unbroken) == []
    assert metrics(folder) == lines


@pytest.mark.multi
def test_each_process_writes_its_part_and_nothing_is_written_twice(runs: Runs, pools: Pools):
    folder = runs.together(pools[4], "parts", *CASES["FSDP x TP"].words())
    state = folder / "checkpoints" / "state" / "iter_000000003"
    alone = runs.alone("") / "checkpoints" / "state" / "iter_000000003"

    def size(folder: Path) -> int:
        return sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    assert len(list(state.glob("shard_*_of_00004.safetensors"))) == 4
    assert size(state) == pytest.approx(size(alone), rel=0.05)


@pytest.mark.multi
def test_published_files_are_those_of_one_process(runs: Runs, pools: Pools):
    files = ("checkpoint.native=all",)
    ours = runs.together(pools[4], "published", *CASES["FSDP x TP"].words(), *files)
    theirs = runs.alone("published", *files)

    names = [sorted(p.relative_to(run) for p in (run / "checkpoints").rglob("*.pt"))
             for run in (ours, theirs)]  # fmt: skip
    assert names[0] == names[1]
    assert len(names[0]) == 4
    for name in names[0]:
        mine, other = (torch.load(run / name, weights_only=True) for run in (ours, theirs))
        assert _leaves(mine).keys() == _leaves(other).keys()
        for key, value in _leaves(other).items():
            torch.testing.assert_close(_leaves(mine)[key], value, rtol=1e-5, atol=1e-6)


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key in tree for k, v in _leaves(tree[key], f"{path}/{key}").items()}
    return {path: tree} if isinstance(tree, int | float | Tensor) else {}


@pytest.mark.multi
def test_figures_are_of_all_ranks(runs: Runs, pools: Pools):
    folder = runs.together(pools[4], "figures", *CASES["FSDP"].words())

    for line in read_metrics(folder / "metrics.jsonl"):
        for figure in ("step_s", "wait_s", "memory_gib"):
            assert 0 <= line[f"{figure}_min"] <= line[f"{figure}_max"]
    assert "; over ranks: memory " in log_of(folder)
    assert log_of(folder).count("Iteration 3/3") == 1


def reads(composed: Composed, folder: Path) -> tuple[int, int]:
    """Train, and count the clips that this rank decodes and encodes."""
    counts = [0, 0]
    with pytest.MonkeyPatch.context() as patch:
        read, encode = VideoClips.read, BuiltinTokenizer.encode

        def read_too(source: VideoClips, *place: Any) -> Item:
            counts[0] += 1
            return read(source, *place)

        def encode_too(tokenizer: BuiltinTokenizer, video: Tensor) -> Tensor:
            counts[1] += len(video)
            return encode(tokenizer, video)

        patch.setattr(VideoClips, "read", read_too)
        patch.setattr(BuiltinTokenizer, "encode", encode_too)
        run(composed, folder)
    return counts[0], counts[1]


@pytest.mark.multi
@pytest.mark.parametrize(
    ("name", "leaders"), [("CP x TP", [0]), ("FSDP x CP", [0, 2]), ("FSDP x TP with SP", [0, 2])]
)
def test_a_clip_is_decoded_and_encoded_by_one_of_those_that_share_it(
    runs: Runs, pools: Pools, name: str, leaders: list[int]
):
    words = (*runs.start, *CASES[name].words(), "trainer.max_iter=2")
    counts = pools[4].run(reads, runs.recipe(*words), runs.folder / f"reads {name}")

    assert [rank for rank, (read, _) in enumerate(counts) if read] == leaders
    assert [rank for rank, (_, encoded) in enumerate(counts) if encoded] == leaders
    assert sum(encoded for _, encoded in counts) == 2 * PLACES  # two steps

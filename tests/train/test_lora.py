"""Training adapters on a frozen base: what is told, saved, resumed and refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.sizes import PREDICT2_2B
from tests.train.tiny import (
    WITHOUT_VALIDATION,
    Tiny,
    differences,
    forget_after,
    log_of,
    metrics,
    state_of,
)
from worldtune.checkpoint.adapters import read_adapter
from worldtune.checkpoint.base import Base
from worldtune.checkpoint.inspect import describe
from worldtune.errors import CheckpointError, RecipeError, RunError
from worldtune.models.build import build
from worldtune.models.lora import adapter_weights, add_lora
from worldtune.models.lora_config import LoraConfig, is_adapter, read_targets
from worldtune.train import adapters as module
from worldtune.train.adapters import adapter_lines, check_no_change

ROOT = Path(__file__).parents[2]
LORA = ("model.config.train_architecture=lora", "model.config.lora_rank=2")
QUIET = (*WITHOUT_VALIDATION, *LORA)
TARGETS = read_targets("q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2")
DIT = "model.config.model_manager_config.dit_path"
AT_ONCE = "scheduler.warm_up_steps=[0]"
LAYERS_A_BLOCK = 10  # q, k, v and output of two attentions, and the MLP's two


def on(base: Path) -> tuple[str, ...]:
    """Words for a frozen base out of a file."""
    return ("model.config.fresh_weights=False", f"{DIT}={base}")


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, clips: Path, trained: Path) -> Path:
    """Four steps of adapters on a trained base, with validation."""
    return Tiny(tmp_path_factory.mktemp("lora"), clips).run("lora", *LORA, *on(trained), AT_ONCE)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, clips: Path, trained: Path) -> Path:
    """The same without validation, with the publishers' four files."""
    runs = Tiny(tmp_path_factory.mktemp("all"), clips)
    return runs.run("all", *QUIET, *on(trained), AT_ONCE, "checkpoint.native=all")


def blocks_of(base: Path) -> int:
    """Blocks of the network in a file."""
    names = torch.load(base, weights_only=True)
    return sum(n.startswith("net.") and n.endswith(".mlp.layer1.weight") for n in names)


def adapters_of(run: Path, iteration: int = 4, which: str = "") -> Path:
    return run / "checkpoints" / "adapters" / f"iter_{iteration:09d}{which}.safetensors"


# --- what a run says ---


def test_the_documents_lines_carry_the_documents_numbers():
    """28 blocks, rank 16, six targets; in the network and its average."""
    network = build(PREDICT2_2B, device="meta", dtype=torch.bfloat16)
    config = LoraConfig(rank=16, alpha=16.0, targets=TARGETS)
    add_lora(network, config, seed=0)
    lines = adapter_lines(network, config, average=True)

    printed = (ROOT / "tests" / "seeds" / "its_recipe" / "lora_log.txt").read_text().splitlines()
    assert lines[:2] == printed
    assert lines[2] == (
        "Held in memory: the base once, 3.64 GiB in bfloat16 (1,956,413,440 weights); adapters, "
        "87.5 MiB in float32 (22,937,600 weights, LoRA); their average, 87.5 MiB"
    )


def test_without_an_average_the_lines_count_the_network_alone():
    network = build(PREDICT2_2B, device="meta", dtype=torch.bfloat16)
    config = LoraConfig(rank=8, alpha=4.5, targets=TARGETS, rslora=True)
    add_lora(network, config, seed=0)
    lines = adapter_lines(network, config, average=False)

    assert lines[0].startswith("Adding LoRA adapters: rank=8, alpha=4.5, targets=['q_proj', ")
    assert lines[1] == (
        "Total parameters: 1.97B, Frozen parameters: 1,956,413,440, "
        "Trainable parameters: 11,468,800"
    )
    assert lines[2].endswith("adapters, 43.8 MiB in float32 (11,468,800 weights, rsLoRA)")


def test_a_run_says_what_its_base_is_and_what_it_trains(lora: Path, trained: Path):
    told = log_of(lora)

    assert f" tensors from {trained} (network, names net.*;" in told
    assert "Adding LoRA adapters: rank=2, alpha=16, targets=['q_proj'," in told
    assert "Held in memory: the base once, " in told
    assert f"Training from scratch, on the weights of {trained}" in told
    assert f"Checkpoint saved: {adapters_of(lora)}" in told


def test_a_random_base_is_told(runs: Tiny):
    run = runs.run("fresh", *QUIET, "trainer.max_iter=1")

    assert "[WARNING] The frozen base is random weights (model.config.fresh_weights)" in log_of(run)
    assert state_of(run, 1)[1]["base"]["seed"] == 0


# --- what a run saves ---


def test_a_state_holds_adapters_alone_and_says_what_they_are_on(lora: Path, trained: Path):
    sections, info = state_of(lora, 4)
    layers = LAYERS_A_BLOCK * blocks_of(trained)

    for name in ("masters", "average", "exp_avg", "exp_avg_sq"):
        assert len(sections[name]) == 2 * layers
        assert all(is_adapter(weight) for weight in sections[name])
        assert all(tensor.dtype == torch.float32 for tensor in sections[name].values())
    assert info["adapter"] == {
        "rank": 2,
        "alpha": 16.0,
        "targets": list(TARGETS),
        "rslora": False,
        "dora": False,
    }
    assert info["base"]["path"] == str(trained)
    moved = [w for n, w in sections["masters"].items() if "lora_B" in n and w.any()]
    assert len(moved) == layers, "else nothing was trained"


def test_adapters_and_their_average_are_files_that_need_nothing_else(lora: Path, trained: Path):
    sections, info = state_of(lora, 4)
    files = sorted(path.name for path in (lora / "checkpoints" / "adapters").iterdir())
    assert files == [
        "iter_000000002.safetensors",
        "iter_000000002_average.safetensors",
        "iter_000000004.safetensors",
        "iter_000000004_average.safetensors",
    ]
    for which, section in (("", "masters"), ("_average", "average")):
        saved = read_adapter(adapters_of(lora, 4, which))
        assert differences({"": saved.adapter.weights}, {"": sections[section]}) == []
        assert saved.notes.which == ("average" if which else "network")
        assert saved.notes.base == Base.from_json(info["base"])
        assert saved.notes.iteration == 4
        assert saved.notes.recipe == info["recipe"]
        assert saved.notes.pieces == {key: info[key] for key in ("tokenizer", "text_encoder")}
    assert not (lora / "checkpoints" / "model").exists(), "the base twice"


def test_inspect_tells_a_lora_run_and_what_it_wrote(lora: Path):
    lines = "\n".join(describe(lora).lines())

    assert "adapters: iter_000000002, iter_000000002_average, iter_000000004, " in lines
    assert "LoRA, rank 2, alpha 16, on q_proj,k_proj," in lines
    assert "recipe: posttraining/video2world/tiny" in lines


def test_in_bfloat16_the_base_is_held_once_and_adapters_are_float32(runs: Tiny, trained: Path):
    run = runs.run("half", *QUIET, *on(trained), "model.config.precision=bfloat16", AT_ONCE)

    masters = state_of(run, 4)[0]["masters"]
    assert {weight.dtype for weight in masters.values()} == {torch.float32}
    assert "in bfloat16 (" in log_of(run)
    saved = read_adapter(adapters_of(run)).adapter.weights
    assert all(torch.equal(saved[name], w.bfloat16()) for name, w in masters.items())


def test_no_adapter_files_are_written_where_none_are_wanted(runs: Tiny):
    run = runs.run("none", *QUIET, "checkpoint.native=none", "trainer.max_iter=1")

    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["state"]


def test_old_adapters_go_with_old_states(runs: Tiny):
    words = ("checkpoint.save_iter=1", "checkpoint.keep_last=1", "trainer.max_iter=3")
    run = runs.run("few", *QUIET, *words)

    names = [path.name for path in (run / "checkpoints" / "adapters").iterdir()]
    assert sorted(names) == ["iter_000000003.safetensors", "iter_000000003_average.safetensors"]


# --- the loss ---


def test_the_first_loss_is_the_base_s_and_then_it_moves(runs: Tiny, lora: Path, trained: Path):
    still = runs.run("base", *LORA, *on(trained), "optimizer.lr=1e-30", "trainer.max_iter=2")
    (first, *_), (other, *_) = metrics(lora, ["validation"]), metrics(still, ["validation"])

    assert first == other, "before the first step adapters change nothing"
    last = metrics(lora, ["validation"])[-1]
    assert last["network"] != first["network"]
    assert last["average"] != last["network"]


# --- going on ---


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="float32"),
        pytest.param(
            ("model.config.precision=bfloat16", "trainer.grad_accum_iter=2"),
            id="bfloat16",
            marks=pytest.mark.slow,
        ),
        pytest.param(("model.config.use_dora=True",), id="DoRA", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    runs: Tiny, trained: Path, words: tuple[str, ...]
):
    every = (*QUIET, *on(trained), AT_ONCE, *words)
    unbroken = runs.run("unbroken", *every)
    forget_after(runs.copied(unbroken, "resumed"), 2)
    resumed = runs.run("resumed", *every)

    assert "Resuming from iteration 2" in log_of(resumed)
    equal_adapters(resumed, unbroken)


def equal_adapters(one: Path, other: Path) -> None:
    assert differences(state_of(one, 4)[0], state_of(other, 4)[0]) == []
    assert metrics(one) == metrics(other)
    for which in ("", "_average"):
        pair = [read_adapter(adapters_of(run, 4, which)).adapter.weights for run in (one, other)]
        assert differences({"": pair[0]}, {"": pair[1]}) == []


def test_adapter_files_that_a_kill_prevented_are_written_on_the_resume(
    runs: Tiny, lora: Path, trained: Path
):
    run = forget_after(runs.copied(lora, "killed"), 2)
    for path in (run / "checkpoints" / "adapters").iterdir():
        if path.name >= "iter_000000002_average":
            path.unlink()
    runs.run("killed", *LORA, *on(trained), AT_ONCE)

    assert adapters_of(run, 2, "_average").exists()
    equal_adapters(run, lora)


def test_another_base_is_refused_on_a_resume(runs: Tiny, lora: Path, trained: Path, plain: Path):
    runs.copied(lora, "other")
    other = plain / "checkpoints" / "model" / "iter_000000004.pt"
    with pytest.raises(CheckpointError) as refused:
        runs.run("other", *LORA, *on(other), AT_ONCE, "trainer.max_iter=5")

    told = str(refused.value)
    assert f"were trained on {trained} (fingerprint " in told
    assert f"the base that was found, {other}, has fingerprint" in told
    assert told.endswith("Bring the former back")


def test_the_same_base_may_have_moved(runs: Tiny, lora: Path, trained: Path, tmp_path: Path):
    runs.copied(lora, "moved")
    base = Path(shutil.copy(trained, tmp_path / "base.pt"))
    run = runs.run("moved", *LORA, *on(base), AT_ONCE, "trainer.max_iter=5")

    assert state_of(run, 5)[1]["base"]["path"] == str(base)


def test_other_adapters_are_refused_on_a_resume(runs: Tiny, lora: Path, trained: Path):
    runs.copied(lora, "other")
    words = ("model.config.lora_rank=3", "model.config.use_rslora=True")
    with pytest.raises(CheckpointError) as refused:
        runs.run("other", *LORA, *on(trained), *words)

    assert "are not those of the settings: rank 2, now 3; rslora False, now True." in str(
        refused.value
    )


def test_a_run_of_whole_weights_is_not_gone_on_with_adapters(runs: Tiny, plain: Path):
    runs.copied(plain, "changed")
    with pytest.raises(CheckpointError, match=r"holds whole weights, and .* is 'lora'"):
        runs.run("changed", *QUIET)


def test_adapters_of_another_run_are_taken_over_with_or_without_their_state(
    runs: Tiny, lora: Path, trained: Path
):
    still = (*QUIET, *on(trained), "optimizer.lr=1e-30", "trainer.max_iter=1")
    for path in (lora, adapters_of(lora)):
        run = runs.run(f"from_{path.stem}", *still, f"checkpoint.load_path={path}")
        pair = [dict(state_of(r, i)[0]["masters"]) for r, i in ((run, 1), (lora, 4))]
        assert differences({"": pair[0]}, {"": pair[1]}) == []
        assert state_of(run, 1)[1]["progress"]["next_index"] == 1
    words = (f"checkpoint.load_path={lora}", "checkpoint.load_training_state=True")
    longer = runs.run("longer", *LORA, *on(trained), AT_ONCE, "trainer.max_iter=5", *words)
    assert state_of(longer, 5)[1]["progress"]["next_index"] == 5


@pytest.mark.slow
def test_whole_weights_at_load_path_are_the_base(runs: Tiny, trained: Path):
    """A run's state in float32 and its published file in bfloat16 are the same base."""
    folder, words = trained.parents[2], (*QUIET, "trainer.max_iter=1")
    run = runs.run("run", *words, f"checkpoint.load_path={folder}")
    file = runs.run("file", *words, f"checkpoint.load_path={trained}")
    of_average = (f"checkpoint.load_path={folder}", "checkpoint.load_ema_to_reg=True")
    average = runs.run("average", *words, *of_average)

    bases = [state_of(run, 1)[1]["base"] for run in (run, file, average)]
    assert bases[0]["path"].endswith("state/iter_000000040")
    assert bases[1]["path"] == str(trained)
    assert [base["which"] for base in bases] == ["network", "network", "average"]
    assert bases[0]["fingerprint"] == bases[1]["fingerprint"] != bases[2]["fingerprint"]
    again = runs.run("average", *QUIET, "trainer.max_iter=2", *of_average)
    assert "Resuming from iteration 1" in log_of(again)
    state = (f"checkpoint.load_path={folder}", "checkpoint.load_training_state=True")
    with pytest.raises(CheckpointError, match="their training state is not that of adapters"):
        runs.run("state", *words, *state)


# --- the publishers' files ---


def test_with_native_all_the_publishers_files_hold_base_and_adapters_in_peft_s_names(
    everything: Path, trained: Path
):
    run = everything
    held = torch.load(run / "checkpoints" / "model" / "iter_000000004.pt", weights_only=True)
    optim = torch.load(run / "checkpoints" / "optim" / "iter_000000004.pt", weights_only=True)
    base = torch.load(trained, weights_only=True)
    sections = state_of(run, 4)[0]
    layer = "blocks.0.mlp.layer2"

    assert torch.equal(
        held[f"net.{layer}.base_layer.weight"], base[f"net.{layer}.weight"].bfloat16()
    )
    for prefix, section in (("net.", "masters"), ("net_ema.", "average")):
        ours = sections[section][f"{layer}.lora_B.weight"]
        theirs = held[f"{prefix}{layer}.lora_B.default.weight"]
        assert torch.equal(theirs, ours.to(theirs.dtype))
    layers = LAYERS_A_BLOCK * blocks_of(trained)
    assert len([name for name in held if "lora_" in name]) == 4 * layers
    assert f"pipe.dit.{layer}.lora_A.default.weight" in optim["state"]
    assert len(optim["state"]) == 2 * layers
    assert (run / "checkpoints" / "latest_checkpoint.txt").exists()


def test_a_run_goes_on_from_the_publishers_lora_file(runs: Tiny, everything: Path, trained: Path):
    words = (*QUIET, *on(trained), AT_ONCE, "checkpoint.native=none")
    run = runs.copied(everything, "theirs")
    sections = state_of(run, 4)[0]
    shutil.rmtree(run / "checkpoints" / "state")
    shutil.rmtree(run / "checkpoints" / "adapters")
    longer = runs.run("theirs", *words, "trainer.max_iter=5", "optimizer.lr=1e-30")

    assert "Notice: resuming from iteration 4 of" in log_of(longer)
    after = state_of(longer, 5)[0]
    for name, weight in sections["masters"].items():
        assert torch.equal(after["masters"][name], weight.bfloat16().float()), name
    assert state_of(longer, 5)[1]["base"]["path"].endswith("model/iter_000000004.pt")
    again = runs.run("theirs", *words, "trainer.max_iter=6")
    assert "Resuming from iteration 5" in log_of(again)


def test_adapters_beside_a_base_are_no_base_by_accident(runs: Tiny, everything: Path):
    """Fresh adapters on such a file would silently leave the trained ones out."""
    file = everything / "checkpoints" / "model" / "iter_000000004.pt"
    with pytest.raises(CheckpointError, match=r"holds adapters \(rank 2\) beside their base"):
        runs.run("other", *QUIET, *on(file))


def test_peft_itself_reads_the_publishers_file(everything: Path, trained: Path):
    """As the original's script does: adapters injected first, then every name that is `net.`."""
    peft = pytest.importorskip("peft")
    held = torch.load(everything / "checkpoints" / "model" / "iter_000000004.pt", weights_only=True)
    network = tiny_network(blocks_of(trained))
    settings = peft.LoraConfig(r=2, lora_alpha=16, target_modules=list(TARGETS))
    theirs = peft.inject_adapter_in_model(settings, network)
    named = {n.removeprefix("net."): w for n, w in held.items() if n.startswith("net.")}
    found = theirs.load_state_dict(named, strict=False)

    assert found.missing_keys == []
    assert all(name.startswith(("accum_", "pos_embedder.")) for name in found.unexpected_keys)


def tiny_network(blocks: int) -> torch.nn.Module:
    return build(
        replace(
            PREDICT2_2B, model_channels=32, num_blocks=blocks, num_heads=2, adaln_lora_dim=8,
            text_channels=16,
        ), seed=0,
    )  # fmt: skip


# --- what never trains ---


def test_a_base_that_did_not_load_whole_never_trains(runs: Tiny, trained: Path, tmp_path: Path):
    weights = torch.load(trained, weights_only=True)
    del weights["net.blocks.0.mlp.layer1.weight"]
    torch.save(weights, tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match=r"missing in the file \(1\): net.blocks.0.mlp"):
        runs.run("part", *QUIET, *on(tmp_path / "part.pt"))
    with pytest.raises(CheckpointError, match=r"gone\.pt is not there"):
        runs.run("gone", *QUIET, *on(tmp_path / "gone.pt"))

    assert not (runs.folder / "part" / "metrics.jsonl").exists()


def test_a_target_that_matches_nothing_stops_the_run(runs: Tiny):
    with pytest.raises(RecipeError, match=r"names 'o_proj', .* mean .* or 'output_proj'\?"):
        runs.run("wrong", *QUIET, "model.config.lora_target_modules='q_proj,o_proj'")


def test_fresh_adapters_that_change_something_stop_the_run(
    runs: Tiny, monkeypatch: pytest.MonkeyPatch
):
    def spoilt(network: torch.nn.Module, *words: object, **more: object) -> tuple[str, ...]:
        names = add_lora(network, *words, **more)
        with torch.no_grad():
            adapter_weights(network)["blocks.0.mlp.layer2.lora_B.weight"][3, 0] = 1e-3
        return names

    monkeypatch.setattr(module, "add_lora", spoilt)
    with pytest.raises(RunError, match="fresh adapters change the network's output by "):
        runs.run("spoilt", *QUIET)


def test_dora_may_change_a_millionth():
    config = LoraConfig(rank=1, alpha=1.0, targets=("x",), dora=True)
    before = torch.tensor([1.0, -2.0])
    check_no_change(before, before + 1.9e-6, config)
    for wrong in (before + 3e-6, before * float("nan")):
        with pytest.raises(RunError):
            check_no_change(before, wrong, config)
    with pytest.raises(RunError):
        check_no_change(before, before + 1e-6, replace(config, dora=False))


def test_adapters_that_shall_start_as_a_change_do(runs: Tiny):
    run = runs.run("random", *QUIET, "model.config.init_lora_weights=False", "optimizer.lr=1e-30")

    ups = [w for n, w in state_of(run, 2)[0]["masters"].items() if "lora_B" in n]
    assert all(bool(up.any()) for up in ups)
    assert "adapters start as random changes" in log_of(run)

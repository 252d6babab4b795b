"""Transfer1's files at a tiny size, with the names and the nesting that the publishers use."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.reference.tensor_parallel import part_of
from worldtune.checkpoint.names import TRANSFER1
from worldtune.models.config import TransformerConfig
from worldtune.models.control import ControlBranch
from worldtune.models.transformer import Transformer

# Eight heads, so that it divides into 8 parts.
SINGLE_VIEW = TransformerConfig(
    model_channels=96,
    num_blocks=2,
    num_heads=8,
    mlp_ratio=2.0,
    text_channels=16,
    adaln_lora_dim=8,
    max_img_h=16,
    max_img_w=16,
    max_frames=8,
    rope_fps_modulation=True,
    position_table="learned",
    family="transfer1",
)
MULTI_VIEW = replace(
    SINGLE_VIEW,
    condition_mask=True,
    view_channels=6,
    num_view_embeddings=7,
    repeat_frame_embedding=True,
    num_views=3,
    position_table="sincos",
)
CONFIGS = {"single": SINGLE_VIEW, "multi": MULTI_VIEW}
Tensors = dict[str, Tensor]


def entries(part: str, views: str = "single", dtype: torch.dtype = torch.bfloat16) -> Tensors:
    """Every entry of the file of a "base" or a "branch", random and no two alike."""
    config = CONFIGS[views]
    with torch.device("meta"):
        network: nn.Module = Transformer(config) if part == "base" else ControlBranch(config, 1, 16)
    seed = sum(map(ord, f"{part} {views}"))
    generator = torch.Generator().manual_seed(seed)
    named = {
        f"net.{TRANSFER1.to_file(name)}": torch.randn(weight.shape, generator=generator).to(dtype)
        for name, weight in network.state_dict().items()
    }
    named["net.pos_embedder.seq"] = torch.arange(8.0)
    named["logvar.0.freqs"] = torch.randn(4, generator=generator)
    named["logvar.0.phases"] = torch.randn(4, generator=generator)
    named["logvar.1.weight"] = torch.randn(1, 4, generator=generator).to(dtype)
    return named


def few_entries(seed: int = 7, dtype: torch.dtype = torch.float32) -> Tensors:
    """The least that a branch is cut by: one block, a tensor for every rule."""
    block, width, head = "net.blocks.block0.blocks.", 32, 4
    shapes = {
        "net.x_embedder.proj.1.weight": (width, 68),
        "net.x_embedder2.proj.1.weight": (width, 68),
        "net.input_hint_block.0.weight": (16, width),
        "net.zero_blocks.block0.bias": (width,),
        f"{block}0.block.attn.to_q.1.weight": (head,),
        **{
            f"{block}0.block.attn.to_{layer}.0.weight": (width, width)
            for layer in ("q", "k", "v", "out")
        },
        f"{block}2.block.layer1.weight": (4 * width, width),
        f"{block}2.block.layer2.weight": (width, 4 * width),
        "net.affline_norm.weight": (width,),
        "net.pos_embedder.seq": (8,),
        "logvar.0.freqs": (4,),
        "logvar.0.phases": (4,),
        "logvar.1.weight": (1, 4),
    }
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(shape, generator=generator).to(dtype) for n, shape in shapes.items()}


def run_weights() -> Tensors:
    """What a run's "model" holds: the branch, and the frozen base beside it."""
    frozen = few_entries(seed=8, dtype=torch.bfloat16)
    return few_entries(dtype=torch.bfloat16) | {f"base_model.{n}": w for n, w in frozen.items()}


def run_average(weights: Tensors) -> Tensors:
    """What a run's "ema" holds: float32 that bfloat16 cannot hold, under mangled names."""
    return {
        name.replace(".", "-"): tensor.float() + 1e-4 * torch.rand(tensor.shape)
        for name, tensor in weights.items()
        if name.startswith("net.") and name != "net.pos_embedder.seq"
    }


def save_run(folder: Path, size: int, iteration: int = 100) -> tuple[Tensors, Tensors]:
    """Save a run's parts and master as its trainer does; give weights and average."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = run_weights()
    average = run_average(weights)
    stem = f"iter_{iteration:09d}"
    record = {"image": 0, "video": 8 * iteration, "iteration": iteration}
    for rank in range(size):
        part = {
            "model": part_of(weights, rank, size),
            "ema": part_of(average, rank, size),
            "trained_data_record": record,
        }
        torch.save(part, folder / f"{stem}_model_mp_{rank}.pt")
    torch.save({"grad_scaler": {}, "iteration": iteration}, folder / f"{stem}.pt")
    return weights, average


def same_file(path: Path, expected: Tensors) -> None:
    """Assert that torch reads exactly these tensors, in bits."""
    same_tensors(torch.load(path, weights_only=True), expected)


def same_tensors(found: Tensors, expected: Tensors) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name

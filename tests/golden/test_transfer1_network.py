"""The Transfer1 networks, base and control branch, against the vectors of the original."""

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, multi_view_config, single_view_config
from worldtune.checkpoint.names import TRANSFER1
from worldtune.models.build import build, build_branch
from worldtune.models.control import ControlBranch, ControlledTransformer
from worldtune.models.inputs import Conditions
from worldtune.models.positions import FrameShare, sincos_axis, sincos_table
from worldtune.models.rope import angles, frame_numbers
from worldtune.models.transformer import Transformer

OUTPUTS = 3e-6
GRADIENTS = 1e-5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pair:
    """A base, its branch, and what the original made of them."""

    base: Transformer
    branch: ControlBranch
    io: dict[str, Tensor]
    batch2: dict[str, Tensor]

    @property
    def both(self) -> ControlledTransformer:
        return ControlledTransformer(self.base, self.branch)


def read_pair(transfer1, views: str) -> Pair:
    sizes = transfer1.json("manifest")["config"]
    config = {"sv": single_view_config, "mv": multi_view_config}[views](sizes)
    blocks, hint_channels = sizes["num_control_blocks"], sizes["hint_channels"]
    base = build(config)
    branch = build_branch(config, num_control_blocks=blocks, hint_channels=hint_channels)
    load_network(base, transfer1.tensors(f"{views}_base_model"), TRANSFER1)
    load_network(branch, transfer1.tensors(f"{views}_control"), TRANSFER1)
    io, batch2 = transfer1.tensors(f"{views}_io"), transfer1.tensors(f"{views}_io_batch2")
    return Pair(base, branch, io, batch2)


@pytest.fixture(scope="module")
def sv(transfer1) -> Pair:
    return read_pair(transfer1, "sv")


@pytest.fixture(scope="module")
def mv(transfer1) -> Pair:
    return read_pair(transfer1, "mv")


def conditions(io: dict[str, Tensor]) -> dict[str, Tensor | None]:
    """What the files say beside latents, time and text; with all cameras' masks 0 by default."""
    return {
        "condition_mask": io.get("in.condition_video_input_mask"),
        "padding_mask": io.get("in.padding_mask"),
        "fps": io["in.fps"],
        "view_indices": io.get("in.view_indices_B_T"),
        "frame_repeat": io.get("in.frame_repeat"),
    }


def run(network: Any, io: dict[str, Tensor], *more: Tensor, **changes: Any) -> Any:
    inputs = (io["in.x"], io["in.timesteps"], io["in.crossattn_emb"], *more)
    return network(*inputs, **(conditions(io) | changes))


def batch_last(tokens_BTHWD: Tensor) -> Tensor:
    """[B,T,h,w,D] as the original's [T,h,w,B,D]."""
    return tokens_BTHWD.movedim(0, 3)


def test_the_base_gives_the_original_s_output_for_one_camera(sv, close):
    close(run(sv.base, sv.io), sv.io["base.out"], OUTPUTS)


def test_the_base_gives_the_original_s_output_for_several_cameras(mv, close):
    close(run(mv.base, mv.io), mv.io["base.out"], OUTPUTS)


def test_without_indices_camera_v_has_row_v(mv, close):
    ours = run(mv.base, mv.io, view_indices=None)

    close(ours, mv.io["base.out_default_view_indices"], OUTPUTS)


def test_the_number_of_repeated_frames_reaches_the_view_channels(mv, close):
    ours = run(mv.base, mv.io, frame_repeat=mv.io["in.frame_repeat_nonzero"])

    close(ours, mv.io["base.out_frame_repeat_nonzero"], OUTPUTS)


@pytest.mark.parametrize("views", ["sv", "mv"])
def test_two_samples_with_masks_and_rates_of_their_own(views, request, close):
    pair = request.getfixturevalue(views)
    hint = pair.batch2["in.hint_latent"]

    close(run(pair.base, pair.batch2), pair.batch2["base.out"], OUTPUTS)
    close(run(pair.both, pair.batch2, hints=[hint]), pair.batch2["control.out_weight1"], OUTPUTS)


@pytest.mark.parametrize("views", ["sv", "mv"])
def test_samples_of_different_rates_equal_each_sample_alone(views, request, close):
    pair = request.getfixturevalue(views)
    mixed = pair.batch2 | {"in.fps": torch.tensor([30.0, 10.0])}
    together = run(pair.base, mixed)

    for i in range(2):
        alone = run(pair.base, {name: tensor[i : i + 1] for name, tensor in mixed.items()})
        close(together[i : i + 1], alone, OUTPUTS)
    assert not torch.allclose(together, run(pair.base, pair.batch2))


def test_what_goes_into_the_blocks_is_the_original_s(sv, mv, close):
    for pair in (sv, mv):
        told = Conditions(**conditions(pair.io))
        inputs = (pair.io["in.x"], pair.io["in.timesteps"], pair.io["in.crossattn_emb"])
        prepared = pair.base.prepare(*inputs, told)
        views = pair.base.config.num_views
        table = prepared.table.repeat(views, 1, 1, 1)[:, :, :, None]

        close(batch_last(prepared.tokens), pair.io["base.x_embedded_T_H_W_B_D"], OUTPUTS)
        close(table, pair.io["base.extra_pos_emb_T_H_W_B_D"], OUTPUTS)
        if "base.adaln_lora_B_3D" in pair.io:
            close(prepared.offsets[:, 0], pair.io["base.adaln_lora_B_3D"], OUTPUTS)
            close(prepared.time[:, 0], pair.io["base.affline_emb_B_D"], OUTPUTS)


def test_the_angles_start_again_for_every_camera(sv, mv, close):
    for pair in (sv, mv):
        config, fps = pair.base.config, pair.io["in.fps"]
        frames, rows, columns = pair.io["base.x_embedded_T_H_W_B_D"].shape[:3]
        numbers = frame_numbers(0, frames // config.num_views, fps, CPU)[0]
        ours = angles(config, numbers.repeat(config.num_views), rows, columns)
        theirs = pair.io["base.rope_angles_L_1_1_D"][:, 0, 0]

        close(torch.cat((ours, ours), -1), theirs, OUTPUTS)


def test_every_block_yields_the_original_s_tokens(sv, close):
    seen: dict[int, Tensor] = {}
    run(sv.base, sv.io, behind_block=lambda i, tokens: seen.setdefault(i, tokens))

    assert len(seen) == len(sv.base.blocks)
    for number, tokens in seen.items():
        close(tokens, sv.io[f"base.block{number}_out_B_T_H_W_D"], OUTPUTS)


def test_the_branch_yields_the_original_s_residuals(sv, mv, close):
    for pair in (sv, mv):
        residuals = run(pair.branch, pair.io, pair.io["in.hint_latent"])

        assert len(residuals) == len(pair.branch.blocks)
        for number, residual in enumerate(residuals):
            theirs = pair.io[f"control.residual_block{number}_T_H_W_B_D"]
            close(batch_last(residual), theirs, OUTPUTS)


def test_the_hint_enters_as_in_the_original(sv, close):
    hint = sv.branch.embed_hint(sv.io["in.hint_latent"], sv.io["in.x"], sv.io["in.padding_mask"])

    close(batch_last(hint), sv.io["control.guided_hint_T_H_W_B_D"], OUTPUTS)


def test_the_branch_steers_the_base_with_every_weight_given(sv, mv, close):
    for pair in (sv, mv):
        stored = [name for name in pair.io if name.startswith("control.out_weight")]

        assert stored
        for name in stored:
            weight = float(name.removeprefix("control.out_weight"))
            hints = [pair.io["in.hint_latent"]]
            ours = run(pair.both, pair.io, hints=hints, hint_weights=[weight])
            close(ours, pair.io[name], OUTPUTS)


def test_a_weight_of_0_gives_the_bits_of_the_base(sv):
    hints = [sv.io["in.hint_latent"]]

    assert torch.equal(run(sv.both, sv.io, hints=hints, hint_weights=[0.0]), run(sv.base, sv.io))


def test_two_hints_add_up_with_their_weights(sv, close):
    hints = list(sv.io["in.hint_latent_two"].split(1))
    ours = run(sv.both, sv.io, hints=hints, hint_weights=[0.3, 0.7])

    close(ours, sv.io["control.out_two_hints_w0.3_0.7"], OUTPUTS)


def test_a_weight_map_of_one_number_equals_the_number(sv, close):
    hints = [sv.io["in.hint_latent"]]
    grid = sv.io["base.x_embedded_T_H_W_B_D"].shape[:3]
    ours = run(sv.both, sv.io, hints=hints, hint_weights=[torch.full((1, 1, *grid), 0.35)])

    close(ours, sv.io["control.out_weight0.35"], OUTPUTS)


def test_gradients_of_the_branch_are_the_original_s(transfer1, sv, mv, close):
    """The loss of the vectors, written out: its own tests are the objective's."""
    for pair, name in ((sv, "sv_loss"), (mv, "mv_t2w_loss"), (mv, "mv_v2w_loss")):
        vectors = transfer1.tensors(name)
        pair.branch.zero_grad()
        kendall_loss(pair, vectors).backward()
        weights = dict(pair.branch.named_parameters())
        named = [key for key in vectors if key.startswith("grad.net.")]

        assert named
        for key in named:
            module = TRANSFER1.to_module(key.removeprefix("grad.net.")) or ""
            close(weights[module].grad, vectors[key], GRADIENTS)


def kendall_loss(pair: Pair, vectors: dict[str, Tensor]) -> Tensor:
    """mean(weight * error^2 * exp(-u) + u), from the stored levels and masks."""
    sigma = vectors["in.sigma"].reshape(-1, 1, 1, 1, 1)
    scale = (sigma**2 + 0.25).sqrt()
    composed = vectors.get("net_in_before_c_in_xt_composed", vectors["xt"])
    mask = vectors.get("condition_video_input_mask")
    io = pair.io | {"in.x": composed / scale, "in.timesteps": vectors["in.sigma"].log() / 4}
    if mask is not None:
        io["in.condition_video_input_mask"] = mask
    output = run(pair.both, io, hints=[io["in.hint_latent"]])
    x0 = 0.25 / scale**2 * composed + 0.5 * sigma / scale * output
    if "condition_video_indicator" in vectors:
        x0 = torch.where(vectors["condition_video_indicator"] > 0, vectors["in.x0"], x0)
    error = (scale / (0.5 * sigma)) ** 2 * (vectors["in.x0"] - x0) ** 2
    u = vectors["logvar"].reshape(-1, 1, 1, 1, 1)
    return (error * (-u).exp() + u).mean()


def test_the_fixed_table_is_the_original_s(transfer1, mv, close):
    scalars = transfer1.tensors("scalars")
    t, h, w = (scalars[f"sincos_axis.pos_emb_{axis}"] for axis in "thw")
    for theirs in (t, h, w):
        positions = torch.arange(len(theirs), dtype=torch.float32)
        close(sincos_axis(positions, theirs.shape[1]), theirs, OUTPUTS)

    table = sincos_table(mv.base.config.model_channels, (2, 3, 4), FrameShare(), CPU)
    expected = torch.cat((t[1], h[2], w[3]))
    close(table[1, 2, 3], expected, OUTPUTS)


def test_full_size_angles_are_the_original_s(transfer1, sv, close):
    scalars = transfer1.tensors("scalars")
    rows = scalars["rope7b.row_index"]
    stored = [name for name in scalars if name.startswith("rope7b.rows_")]

    assert stored
    for name in stored:
        words = dict(numbers_in(name))
        config = replace(
            sv.base.config,
            model_channels=scalars[name].shape[1],
            num_heads=1,
            rope_ratio_t=words["tratio"],
        )
        numbers = frame_numbers(0, int(words["T"]), torch.tensor([words["fps"]]), CPU)[0]
        ours = angles(config, numbers, int(words["H"]), int(words["W"]))[rows]
        close(torch.cat((ours, ours), -1), scalars[name], OUTPUTS)


def numbers_in(name: str) -> list[tuple[str, float]]:
    """ "..._T16_H44_fps24" as pairs of word and number."""
    return [(word, float(n)) for word, n in re.findall(r"_([A-Za-z]+)([\d.]+)", name)]


@pytest.mark.parametrize("views", ["sv", "mv"])
@pytest.mark.parametrize("part", ["base_model", "control"])
def test_the_network_s_weights_and_rebuilt_entries_are_the_file_s(transfer1, views, part, request):
    pair = request.getfixturevalue(views)
    network = pair.base if part == "base_model" else pair.branch
    stored = transfer1.tensors(f"{views}_{part}")
    ours = {f"net.{TRANSFER1.to_file(n)}": w.shape for n, w in network.named_parameters()}
    rebuilt = TRANSFER1.rebuilt(network.config)
    ours |= {f"net.{name}": tensor.shape for name, tensor in rebuilt.items()}

    assert ours == {n: t.shape for n, t in stored.items() if n not in TRANSFER1.beside_names}
    for name, tensor in rebuilt.items():
        assert torch.equal(tensor, stored[f"net.{name}"])


def test_a_fresh_branch_has_the_original_s_zeros_and_copies(transfer1, sv):
    manifest = transfer1.json("manifest")
    sizes = manifest["config"]
    branch = build_branch(
        sv.base.config,
        num_control_blocks=sizes["num_control_blocks"],
        hint_channels=sizes["hint_channels"],
        seed=1,
    )
    zeros = {TRANSFER1.to_file(n) for n, w in branch.named_parameters() if not w.any()}
    copied = {TRANSFER1.to_file(name) for name in branch.copy_from_base(sv.base)}
    # A fresh base's adaLN layers are 0, and so are their copies.
    assert zeros == set(manifest["init_zero_ctrl_params"])
    assert copied == set(manifest["ctrl_params_copied_from_base_at_init"])


def test_only_the_final_layer_of_a_branch_gets_no_gradient(transfer1, sv):
    sv.branch.zero_grad()
    run(sv.both, sv.io, hints=[sv.io["in.hint_latent"]]).square().mean().backward()
    without = {
        f"net.{TRANSFER1.to_file(n)}" for n, w in sv.branch.named_parameters() if w.grad is None
    }

    assert without == set(transfer1.json("manifest")["sv_params_without_grad"])

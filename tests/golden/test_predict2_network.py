"""The Predict2 network against the vectors of the original."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.networks import load_network, predict2_config
from tests.models.sizes import PREDICT2_2B, PREDICT2_14B
from worldtune.checkpoint.names import PREDICT2
from worldtune.models.build import build
from worldtune.models.inputs import Conditions
from worldtune.models.rope import angles, frame_numbers
from worldtune.models.transformer import Transformer

TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def vectors(predict2) -> dict[str, Tensor]:
    return predict2.tensors("dit_forward")


@pytest.fixture(scope="module")
def network(predict2) -> Transformer:
    model = build(predict2_config(predict2.json("config")))
    load_network(model, predict2.tensors("dit_state"), PREDICT2)
    return model


def forward(network: Transformer, vectors: dict[str, Tensor], time: str, **more: Any) -> Tensor:
    return network(
        vectors["x"],
        vectors[time],
        vectors["crossattn_emb"],
        condition_mask=vectors["condition_mask"],
        padding_mask=vectors["padding_mask"],
        fps=vectors["fps"],
        **more,
    )


def test_the_network_has_the_stated_number_of_weights(network, predict2):
    count = sum(weight.numel() for weight in network.parameters())

    assert count == predict2.json("config")["num_parameters"]


def test_the_output_is_the_original_s_with_a_time_for_each_frame(network, vectors, close):
    close(forward(network, vectors, "timesteps"), vectors["output"], TOLERANCE)


def test_the_output_is_the_original_s_with_one_time_for_all_frames(network, vectors, close):
    close(forward(network, vectors, "timesteps_single"), vectors["output_single"], TOLERANCE)


def test_one_time_for_a_sample_may_come_without_a_frame_axis(network, vectors):
    flat = vectors | {"timesteps_single": vectors["timesteps_single"][:, 0]}

    assert torch.equal(
        forward(network, flat, "timesteps_single"), forward(network, vectors, "timesteps_single")
    )


def test_an_image_is_a_video_of_one_frame_with_no_given_frames(network, vectors, close):
    output = network(
        vectors["image_x"],
        vectors["timesteps_single"],
        vectors["crossattn_emb"],
        padding_mask=vectors["padding_mask"],
    )

    close(output, vectors["image_output"], TOLERANCE)


def test_what_goes_into_the_blocks_is_the_original_s(network, vectors, close):
    told = Conditions(vectors["condition_mask"], vectors["padding_mask"], vectors["fps"])
    prepared = network.prepare(vectors["x"], vectors["timesteps"], vectors["crossattn_emb"], told)
    wave, _ = network.t_embedder(vectors["timesteps"], torch.float32)

    close(prepared.tokens, vectors["mid.x_embed"], TOLERANCE)
    close(wave, vectors["mid.t_embed_sinusoid"], TOLERANCE)
    close(prepared.time, vectors["mid.t_embed_normed"], TOLERANCE)
    close(prepared.offsets, vectors["mid.adaln_lora"], TOLERANCE)


def test_every_block_yields_the_original_s_tokens(network, vectors, close):
    seen: dict[int, Tensor] = {}

    def watch(number: int, tokens: Tensor) -> Tensor:
        seen[number] = tokens
        return tokens

    forward(network, vectors, "timesteps", behind_block=watch)

    assert list(seen) == list(range(len(network.blocks)))
    for number, tokens in seen.items():
        close(tokens, vectors[f"mid.block_{number}"], TOLERANCE)


def test_the_angles_are_the_original_s(network, vectors, close):
    frames, rows, columns = vectors["mid.block_0"].shape[1:4]
    ours = angles(
        network.config, frame_numbers(0, frames, None, torch.device("cpu")), rows, columns
    )

    close(torch.cat((ours, ours), -1), vectors["mid.rope"][:, 0, 0], TOLERANCE)


def test_gradients_are_the_original_s(network, vectors, close):
    network.zero_grad()
    (forward(network, vectors, "timesteps") * vectors["grad_probe"]).sum().backward()
    weights = dict(network.named_parameters())
    named = [name for name in vectors if name.startswith("grad.")]

    assert named
    for name in named:
        close(weights[name.removeprefix("grad.")].grad, vectors[name], TOLERANCE)


def test_the_rebuilt_entries_are_those_of_the_published_file(predict2):
    state = predict2.tensors("dit_state")
    rebuilt = PREDICT2.rebuilt(predict2_config(predict2.json("config")))
    # A counter of samples seen: it starts at 0 here and does not enter the output.
    counters = {"accum_video_sample_counter"}

    for name, tensor in rebuilt.items():
        stored = state[f"net.{name}"]
        assert (tensor.dtype, tensor.shape) == (stored.dtype, stored.shape)
        if name not in counters:
            torch.testing.assert_close(tensor, stored, rtol=1e-7, atol=0)


@pytest.mark.parametrize("size", ["2b", "14b"])
def test_names_and_shapes_are_those_of_the_published_weights(predict2, size):
    config = {"2b": PREDICT2_2B, "14b": PREDICT2_14B}[size]
    model = build(config, device="meta")
    ours = {PREDICT2.to_file(name): list(w.shape) for name, w in model.named_parameters()}
    ours |= {name: list(tensor.shape) for name, tensor in PREDICT2.rebuilt(config).items()}
    text = (predict2.folder / f"names_dit_{size}.json").read_text()

    assert {f"net.{name}": shape for name, shape in ours.items()} == json.loads(text)

"""Pieces are built as the recipe says, or refused with the next step."""

import shutil

import pytest
import torch

from tests.inference.recipes import TINY_NET, tiny_recipe
from worldtune.errors import CheckpointError, RecipeError
from worldtune.inference import pieces
from worldtune.inference import t5_text as t5_module
from worldtune.inference.sample import Sampling
from worldtune.inference.t5_text import T5TextEncoder
from worldtune.models.build import build


def test_the_network_has_the_recipes_sizes_and_a_channel_for_given_frames():
    config = pieces.network_config(tiny_recipe())

    assert (config.model_channels, config.num_blocks, config.num_heads) == (64, 2, 4)
    assert config.condition_mask
    assert config.input_channels == 16 + 1 + 1
    assert build(config, device="meta").final_layer.linear.out_features == 64


def test_the_objective_follows_the_recipe():
    recipe = tiny_recipe({"rectified_flow_t_scaling_factor": 2.0, "sigma_conditional": 0.01})
    objective = pieces.objective(recipe)

    assert objective.given_sigma == 0.01
    assert objective.coefficients(torch.tensor(1.0)).c_noise == 1.0


def test_precision_is_the_recipes():
    assert pieces.network_dtype(tiny_recipe()) == torch.float32
    assert pieces.network_dtype(tiny_recipe(precision="bfloat16")) == torch.bfloat16


def test_builtin_text_has_the_recipes_width_and_length():
    encoder = pieces.build_text_encoder(tiny_recipe())

    assert encoder.encode(["a car"]).shape == (1, 12, TINY_NET["crossattn_emb_channels"])


def test_sampling_is_the_recipes_unless_steps_and_guidance_are_asked_for():
    recipe = tiny_recipe({"timestamps": {"nfe": 9, "t_max": 70.0, "t_min": 0.01, "order": 5.0}})

    assert pieces.sampling(recipe) == Sampling(
        steps=9, guidance=7.0, sigma_max=70.0, sigma_min=0.01, order=5.0
    )
    assert pieces.sampling(recipe, steps=2, guidance=0.0).levels() == pytest.approx(
        (70.0, ((70**0.2 + 0.01**0.2) / 2) ** 5, 0.01)
    )


def test_the_number_of_frames_follows_from_state_t_and_the_tokenizer():
    recipe = tiny_recipe({"state_t": 3})

    assert pieces.clip_frames(recipe, pieces.build_tokenizer(recipe)) == 9


def test_a_missing_wan_file_names_the_command_that_fetches_it():
    path = "checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth"
    recipe = tiny_recipe({"tokenizer": {"kind": "wan", "vae_pth": path}})

    with pytest.raises(CheckpointError, match=r"hf download nvidia/Cosmos-Predict2-2B-Video2World"):
        pieces.build_tokenizer(recipe)


def t5_recipe(path="checkpoints/google-t5/t5-11b", **t5):
    text = {"cls": "t5", "t5": {"ckpt_path": str(path), "embed_dim": 32, **t5}}
    return tiny_recipe({"text_encoder": text})


def test_a_missing_t5_folder_names_the_command_that_fetches_it():
    with pytest.raises(CheckpointError, match="hf download google-t5/t5-11b --local-dir"):
        pieces.build_text_encoder(t5_recipe())


def test_an_empty_t5_folder_setting_is_refused():
    with pytest.raises(RecipeError, match=r"t5\.ckpt_path is empty"):
        pieces.build_text_encoder(t5_recipe(""))


def test_a_missing_package_names_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(t5_module, "find_spec", lambda package: None)

    with pytest.raises(RecipeError, match=r"pip install 'worldtune\[cosmos\]'"):
        pieces.build_text_encoder(t5_recipe())


def test_cosmos_reason1_is_refused():
    recipe = tiny_recipe({"text_encoder": {"cls": "cosmos_reason1"}})

    with pytest.raises(RecipeError, match=r"'cosmos_reason1', which is not supported"):
        pieces.build_text_encoder(recipe)


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    """A random T5 of width 32 that knows five words."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("t5")
    vocabulary = {w: i for i, w in enumerate(["<pad>", "</s>", "<unk>", "a", "red", "car"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=6, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )
    torch.manual_seed(0)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    return folder


def test_t5_rows_are_zero_after_the_captions_end(t5_folder):
    encoder = pieces.build_text_encoder(t5_recipe(t5_folder, num_tokens=8))
    text = encoder.encode(["a red car", "car"])

    assert text.shape == (2, 8, 32)
    assert text.dtype == torch.float32
    assert [(row != 0).any(1).sum().item() for row in text] == [4, 2]  # the end token counts
    assert torch.equal(encoder.encode(["car"])[0], text[1])


def test_padding_does_not_change_what_t5_makes_of_the_words(t5_folder):
    short = T5TextEncoder(t5_folder, width=32, max_tokens=4).encode(["a red car"])
    long = T5TextEncoder(t5_folder, width=32, max_tokens=12).encode(["a red car"])

    torch.testing.assert_close(short, long[:, :4], rtol=1e-5, atol=1e-6)


def test_a_caption_that_is_too_long_is_cut_and_says_so(t5_folder, caplog):
    encoder = T5TextEncoder(t5_folder, width=32, max_tokens=4)
    text = encoder.encode(["a red red red car"])

    assert text.shape == (1, 4, 32)
    assert "a caption of 6 tokens is cut to the first 4" in caplog.text


def test_t5_of_another_width_is_refused(t5_folder):
    with pytest.raises(CheckpointError, match="holds a T5 of width 32; expected 64"):
        T5TextEncoder(t5_folder, width=64).encode(["a car"])


def test_a_folder_with_no_t5_in_it_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(CheckpointError, match="does not hold a T5 encoder"):
        T5TextEncoder(tmp_path).encode(["a car"])


def test_the_fingerprint_follows_the_weights_and_the_dtype(t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "t5")
    before = T5TextEncoder(folder).fingerprint()
    assert before == T5TextEncoder(t5_folder).fingerprint()
    assert before != T5TextEncoder(folder, dtype=torch.bfloat16).fingerprint()

    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert before != T5TextEncoder(folder).fingerprint()

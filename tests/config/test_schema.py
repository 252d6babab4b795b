"""The schema: described, used, and equal to its page."""

import ast
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import worldtune
from worldtune.config.inert import INERT, reason_of
from worldtune.config.refusals import CONTROL_REFUSALS, REFUSALS, VALIDATION
from worldtune.config.schema import schema_leaves
from worldtune.config.schema_page import schema_page
from worldtune.config.tree import dotted
from worldtune.recipes.roots import ROOTS

PACKAGE = Path(worldtune.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
SETTINGS_PAGES = {"predict2": "settings.md", "transfer1": "settings-transfer1.md"}
KEYS_OF = {
    name: {dotted(leaf.path): leaf for leaf in schema_leaves(root.schema)}
    for name, root in ROOTS.items()
}
KEYS = {key: leaf for keys in KEYS_OF.values() for key, leaf in keys.items()}

# Settings that nothing reads yet. An entry goes as soon as its setting is read.
NOT_YET_READ = {
    "predict2": {
        # Cosmos-Reason1, which a real run refuses.
        "model.config.pipe_config.text_encoder.cosmos_reason1.ckpt_path",
        "model.config.pipe_config.text_encoder.cosmos_reason1.num_tokens",
        "model.config.pipe_config.text_encoder.cosmos_reason1.embed_dim",
    },
    # Training comes later.
    "transfer1": {
        "checkpoint.type",
        "dataloader_train.dataset.caption_view_idx_map",
        "dataloader_train.dataset.hint_key",
        "dataloader_train.dataset.load_mv_emb",
        "dataloader_train.dataset.sample_n_views",
        "dataloader_train.dataset.view_keys",
        "dataloader_val.dataset.caption_view_idx_map",
        "dataloader_val.dataset.hint_key",
        "dataloader_val.dataset.load_mv_emb",
        "dataloader_val.dataset.sample_n_views",
        "dataloader_val.dataset.view_keys",
        "model.conditioner.video_cond_bool.apply_corruption_to_condition_region",
        "model.conditioner.video_cond_bool.augment_sigma_sample_multiplier",
        "model.conditioner.video_cond_bool.augment_sigma_sample_p_mean",
        "model.conditioner.video_cond_bool.augment_sigma_sample_p_std",
        "model.conditioner.video_cond_bool.condition_location",
        "model.conditioner.video_cond_bool.dropout_rate",
        "model.conditioner.video_cond_bool.first_random_n_num_condition_t_max",
        "model.conditioner.video_cond_bool.first_random_n_num_condition_t_min",
        "model.conditioner.video_cond_bool.n_cond_view_max",
        "model.conditioner.video_cond_bool.n_cond_view_min",
        "model.fsdp.sharding_group_size",
        "model.fsdp.sharding_strategy",
        "model.fsdp_enabled",
        "model.hint_key.grayscale",
        "model.hint_key.hint_key",
        "model.latent_shape",
        "model.loss_add_logvar",
        "model.net.sac_config.every_n_blocks",
        "model.net_ctrl.sac_config.every_n_blocks",
        "model.tokenizer.is_bf16",
        "model.tokenizer.pixel_chunk_duration",
        "model.tokenizer.temporal_compression_factor",
        "model.use_torch_compile",
        "model_parallel.context_parallel_size",
    },
}

READ_BY_RECIPES = {"root", "checkpoint.weights_dir"}
HANDED_TO_HOOKS = {
    f"model.config.pipe_config.{helper}_config.{name}"
    for helper in ("prompt_refiner", "guardrail")
    for name in ("checkpoint_dir", "offload_model_to_cpu")
}
READ_THROUGH_PROPERTIES = {
    "model.net_ctrl.is_extend_model",
    "model.net_ctrl.layer_mask",
    "model.net_ctrl.num_control_blocks",
}
HELD_TO_ONE_VALUE = {
    "model.hint_mask",
    "model_parallel.pipeline_model_parallel_size",
    "model.config.pipe_config.state_ch",
}


def read_names() -> set[tuple[str, str]]:
    """Pairs (what stands before the point, name) of every attribute read outside the schema."""
    pairs = set()
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[0] in ("config", "recipes") and file.name != "files.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                before = node.value
                name = (
                    before.attr if isinstance(before, ast.Attribute) else getattr(before, "id", "")
                )
                pairs.add((name, node.attr))
    return pairs


READ = read_names()
READ_ANYWHERE = {name for _, name in READ}
NAMES_OF = {root: Counter(key.rpartition(".")[2] for key in keys) for root, keys in KEYS_OF.items()}
# What a section may be called where it is handed on.
HANDED_ON = {
    "settings",
    "_settings",
    "levels",
    "recipe",
    "loader",
    "net",
    "encoder",
    "pipe",
    "config",
}


def is_read(key: str, root: str) -> bool:
    """Whether some code reads section.name, or name of a section handed on.

    A name of several words that only one setting has may be read from anything.
    """
    *above, name = key.split(".")
    if NAMES_OF[root][name] == 1 and "_" in name:
        return name in READ_ANYWHERE
    return any((before, name) in READ for before in {*above[-1:], *HANDED_ON})


def only_choice(key: str, root: str) -> bool:
    annotation = KEYS_OF[root][key].field.annotation
    options = [each for each in (annotation, *get_args(annotation)) if get_origin(each) is Literal]
    return bool(options) and len(get_args(options[0])) == 1


def test_every_setting_is_described():
    assert [key for key, leaf in KEYS.items() if not leaf.field.description] == []


def is_refused(key: str) -> bool:
    """Whether a real run refuses it, or the switch of its section."""
    rows = [row.key for row in (*REFUSALS, *CONTROL_REFUSALS, VALIDATION)]
    section = key.rpartition(".")[0]
    return key in rows or any(row.startswith(f"{section}.enable") for row in rows)


@pytest.mark.parametrize("root", ROOTS)
def test_every_setting_is_read_or_stands_in_a_table(root):
    """No setting is read and ignored."""
    unread = {
        key
        for key in KEYS_OF[root]
        if not (is_read(key, root) or reason_of(key) or is_refused(key) or only_choice(key, root))
    }

    accounted = READ_BY_RECIPES | HANDED_TO_HOOKS | READ_THROUGH_PROPERTIES | HELD_TO_ONE_VALUE
    assert unread - accounted == NOT_YET_READ[root]


def test_a_setting_of_the_recipes_is_used_by_one():
    options = [option for root in ROOTS.values() for group in root.groups for option in
               group.options.values()]  # fmt: skip

    assert "${checkpoint.weights_dir}" in str(options)


@pytest.mark.parametrize("pattern", INERT)
def test_a_row_of_the_inert_table_names_a_setting(pattern):
    assert any(fnmatchcase(key, pattern) for key in KEYS)


def test_a_refused_setting_exists_and_its_default_works():
    for row in (*REFUSALS, *CONTROL_REFUSALS):
        assert KEYS[row.key].field.default in row.works


@pytest.mark.parametrize("name", SETTINGS_PAGES)
def test_the_page_of_settings_is_current(name):
    """Made by `worldtune show --schema NAME`."""
    assert (DOCS / SETTINGS_PAGES[name]).read_text() == schema_page(ROOTS[name])

"""Checks of a Transfer1 model: two networks that fit each other, what they are told, the start."""

from collections.abc import Iterator

from worldtune.config.condition_location import parse_location
from worldtune.config.mistakes import Mistake, shown
from worldtune.config.network_checks import check_heads, check_modulation
from worldtune.config.transfer1_model import Transfer1ModelSettings, Transfer1TokenizerSettings
from worldtune.config.transfer1_network import ControlNetworkSettings, Transfer1NetworkSettings
from worldtune.errors import RecipeError

NET, BRANCH = "model.net", "model.net_ctrl"
FRAMES = "model.conditioner.video_cond_bool"
# What a branch has to have in common with its base, whose weights it starts from and whose
# inputs it sees.
SHARED = (
    "model_channels",
    "num_blocks",
    "num_heads",
    "mlp_ratio",
    "crossattn_emb_channels",
    "out_channels",
    "patch_spatial",
    "patch_temporal",
    "max_img_h",
    "max_img_w",
    "max_frames",
    "concat_padding_mask",
    "adaln_lora_dim",
    "extra_per_block_abs_pos_emb",
    "n_views",
    "n_views_emb",
    "view_condition_dim",
    "add_repeat_frame_embedding",
)
# The built-in tokenizer keeps every fourth frame.
FACTORS = {"cosmos": 8, "builtin": 4}


def check_model(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    """Everything about the model that needs neither weights nor clips."""
    yield from check_heads(model.net, NET)
    yield from check_modulation(model.net, NET)
    yield from _check_channels(model)
    yield from _check_views(model.net)
    yield from _check_branch(model.net, model.net_ctrl)
    yield from _check_given_frames(model)
    yield from _check_tokenizer(model.tokenizer)
    yield from _check_text(model)
    yield from _check_hint(model)
    yield from _check_start(model)


def _check_channels(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    latents = model.tokenizer.latent_ch
    nets = ((NET, model.net, False), (BRANCH, model.net_ctrl, model.net_ctrl.is_extend_model))
    for key, net, extended in nets:
        expected = (latents,) if extended else (latents, latents + 1)
        if net.in_channels not in expected:
            words = " or ".join(map(str, expected))
            text = (
                f"{key}.in_channels is {net.in_channels}; expected {words}: the tokenizer's "
                f"{latents}, and 1 more where a channel marks the given frames"
            )
            yield Mistake(text, (f"{key}.in_channels",))
    if model.net.out_channels != latents:
        key = f"{NET}.out_channels"
        text = f"{key} is {model.net.out_channels}; expected the tokenizer's {latents}"
        yield Mistake(text, (key,))
    if model.net.marks_given_frames != model.net_ctrl.marks_given_frames:
        keys = (f"{NET}.in_channels", f"{BRANCH}.in_channels", f"{BRANCH}.is_extend_model")
        has = ("branch", "base") if model.net_ctrl.marks_given_frames else ("base", "branch")
        text = (
            f"the {has[0]} has a channel that marks given frames and the {has[1]} has not "
            f"({keys[0]}, {keys[1]}, {keys[2]}); expected both or neither: their input is the same"
        )
        yield Mistake(text, keys)


def _check_views(net: Transfer1NetworkSettings) -> Iterator[Mistake]:
    keys = tuple(f"{NET}.{name}" for name in ("n_views", "n_views_emb", "view_condition_dim"))
    if net.n_views > 1 and not net.view_condition_dim:
        text = (
            f"{keys[0]} is {net.n_views} and {keys[2]} is 0; expected channels that tell cameras "
            "apart (6 in the published weights)"
        )
        yield Mistake(text, (keys[0], keys[2]))
    if bool(net.n_views_emb) != bool(net.view_condition_dim):
        text = f"{keys[1]} is {net.n_views_emb} and {keys[2]} is {net.view_condition_dim}; "
        yield Mistake(text + "expected both or neither", keys[1:])
    elif net.n_views_emb and net.n_views > net.n_views_emb:
        text = f"{keys[0]} is {net.n_views}; expected at most the {net.n_views_emb} of {keys[1]}"
        yield Mistake(text, keys[:2])
    if net.add_repeat_frame_embedding and not net.view_condition_dim:
        key = f"{NET}.add_repeat_frame_embedding"
        text = f"{key} is true and {keys[2]} is 0; expected the channels that it is added to"
        yield Mistake(text, (key, keys[2]))


def _check_branch(
    net: Transfer1NetworkSettings, branch: ControlNetworkSettings
) -> Iterator[Mistake]:
    for name in SHARED:
        ours, theirs = getattr(branch, name), getattr(net, name)
        if ours != theirs:
            keys = (f"{BRANCH}.{name}", f"{NET}.{name}")
            text = f"{keys[0]} is {shown(ours)}; expected the base's {shown(theirs)}"
            yield Mistake(text, keys)
    yield from _check_control_blocks(net, branch)


def _check_control_blocks(
    net: Transfer1NetworkSettings, branch: ControlNetworkSettings
) -> Iterator[Mistake]:
    number, mask = f"{BRANCH}.num_control_blocks", f"{BRANCH}.layer_mask"
    if branch.layer_mask is not None:
        kept = branch.layer_mask.count(False)
        published = (False,) * kept + (True,) * (net.num_blocks - kept)
        if branch.layer_mask != published or not kept:
            text = (
                f"{mask} is {shown(branch.layer_mask)}; expected {net.num_blocks} entries, one or "
                "more false and then true: the branch has the base's first blocks"
            )
            yield Mistake(text, (mask,))
            return
        if branch.num_control_blocks not in (None, kept):
            text = (
                f"{number} is {branch.num_control_blocks} and {mask} keeps {kept} blocks; give one "
                f"of them, the other as nothing (~{mask} or ~{number})"
            )
            yield Mistake(text, (number, mask))
            return
    blocks = branch.control_blocks
    if not blocks:
        text = f"{number} is not set; expected 1 to {net.num_blocks}, 3 in the published branches"
        yield Mistake(text, (number,))
    elif blocks > net.num_blocks:
        text = f"{number} is {blocks}; expected at most the {net.num_blocks} of {NET}.num_blocks"
        yield Mistake(text, (number, f"{NET}.num_blocks"))


def _check_given_frames(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    """The given frames fit in a clip, and the network has a channel to mark them."""
    frames, latent_frames = model.conditioner.video_cond_bool, model.latent_shape[1]
    fewest, most = (f"{FRAMES}.first_random_n_num_condition_t_{end}" for end in ("min", "max"))
    low = frames.first_random_n_num_condition_t_min
    high = frames.first_random_n_num_condition_t_max
    if low > high:
        yield Mistake(f"{fewest} is {low}; expected at most the {high} of {most}", (fewest, most))
    if high >= latent_frames:
        text = f"{most} is {high}; expected fewer than the {latent_frames} latent frames of a clip"
        yield Mistake(text, (most, "model.latent_shape"))
    location = f"{FRAMES}.condition_location"
    try:
        views = (frames.n_cond_view_min, frames.n_cond_view_max)
        where = parse_location(frames.condition_location, model.n_views, views)
    except RecipeError as error:
        yield Mistake(f"{location}: {error}", (location,))
        return
    gives = where.views != () or high > 0
    if gives and not model.net.marks_given_frames:
        keys = (f"{NET}.in_channels", location, most)
        text = (
            f"{keys[0]} is {model.net.in_channels}, so no channel marks given frames, and "
            f"condition_location={frames.condition_location} gives some (up to {most}={high}); "
            f"expected in_channels={model.tokenizer.latent_ch + 1}, or none given"
        )
        yield Mistake(text, keys)


def _check_tokenizer(tokenizer: Transfer1TokenizerSettings) -> Iterator[Mistake]:
    key = "model.tokenizer.temporal_compression_factor"
    factor = FACTORS[tokenizer.kind]
    if tokenizer.temporal_compression_factor != factor:
        text = (
            f"{key} is {tokenizer.temporal_compression_factor}; expected the {factor} of "
            f"tokenizer.kind={tokenizer.kind}"
        )
        yield Mistake(text, (key, "model.tokenizer.kind"))
    if tokenizer.kind == "builtin":
        return
    for name in ("enc_fp", "dec_fp", "mean_std_fp"):
        if not getattr(tokenizer, name):
            key = f"model.tokenizer.{name}"
            text = f"{key} is empty; expected a file of weights, or tokenizer.kind=builtin"
            yield Mistake(text, (key,))


def _check_text(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    encoder = model.text_encoder
    width = encoder.t5.embed_dim if encoder.cls == "t5" else encoder.builtin.embed_dim
    if width != model.net.crossattn_emb_channels:
        key, source = f"{NET}.crossattn_emb_channels", f"model.text_encoder.{encoder.cls}.embed_dim"
        text = f"{key} is {model.net.crossattn_emb_channels}; expected the {width} of {source}"
        yield Mistake(text, (key, source))


def _check_hint(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    key = "model.hint_key.hint_key"
    if not model.hint_key.hint_key.removeprefix("control_input_") or not (
        model.hint_key.hint_key.startswith("control_input_")
    ):
        text = f"{key} is '{model.hint_key.hint_key}'; expected control_input_ and the control's "
        yield Mistake(text + "folder, like control_input_lidar", (key,))
    if model.hint_mask != (True,):
        key = "model.hint_mask"
        text = f"{key} is {shown(model.hint_mask)}; expected [True]: a branch has one hint"
        yield Mistake(text, (key,))
    channels, latents = model.net_ctrl.hint_channels, model.tokenizer.latent_ch
    if channels < latents:
        key = f"{BRANCH}.hint_channels"
        text = f"{key} is {channels}; expected {latents} or more: the hint is a video's latents"
        yield Mistake(text, (key,))


def _check_start(model: Transfer1ModelSettings) -> Iterator[Mistake]:
    key = "model.base_load_from.load_path"
    if not (model.fresh_weights or model.base_load_from.load_path):
        text = (
            f"{key} is empty; expected the base's weights, or model.fresh_weights=true to start "
            "from random ones. A fresh branch too is trained on a base that was trained before"
        )
        yield Mistake(text, (key,))

"""The names and shapes of a network's weights, from its sizes, and the sizes from those.

Without torch, so that a file is told to be complete or not at once. Tests hold it against
the networks that `worldtune.models` builds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.plan import PLAN

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

LATENT_CHANNELS = 16
PATCH_VOLUME = 4  # 2 x 2 in space and 1 in time, in every published network
# Widths between the linear layers of a control branch's way in for the hint.
HINT_WIDTHS = (16, 16, 32, 32, 96, 96, 256)


@dataclass(frozen=True)
class Sizes:
    """A network as its weights tell it; `parts` is the number of tensor-parallel parts."""

    config: TransformerConfig
    hint_channels: int | None = None  # None for a base, which has no way in for a hint
    parts: int = 1

    @property
    def is_control_branch(self) -> bool:
        """Whether it steers another network."""
        return self.hint_channels is not None


def network_shapes(sizes: Sizes) -> Shapes:
    """Shape of every weight by its name in the network; of one part, where it is cut."""
    shapes = _whole_shapes(sizes)
    return {name: _part(name, shape, sizes.parts) for name, shape in shapes.items()}


def count_weights(sizes: Sizes) -> int:
    """Weights of the whole network."""
    return sum(prod(shape) for shape in _whole_shapes(sizes).values())


def _whole_shapes(sizes: Sizes) -> Shapes:
    config = sizes.config
    width = config.model_channels
    shapes = {
        "x_embedder.proj.1.weight": (width, config.input_channels * config.patch_volume),
        "t_embedder.1.linear_1.weight": (width, width),
        "t_embedder.1.linear_2.weight": (3 * width, width),
        "t_embedding_norm.weight": (width,),
        **_modulation("final_layer.adaln_modulation", config, 2),
        "final_layer.linear.weight": (config.patch_volume * config.out_channels, width),
    }
    for number in range(config.num_blocks):
        shapes |= _block(f"blocks.{number}", config)
    shapes |= _switched(config)
    if sizes.hint_channels is not None:
        shapes |= _branch(sizes.hint_channels, config)
    return shapes


def _modulation(name: str, config: TransformerConfig, parts: int) -> Shapes:
    width, inner = config.model_channels, config.adaln_lora_dim
    return {f"{name}.1.weight": (inner, width), f"{name}.2.weight": (parts * width, inner)}


def _block(block: str, config: TransformerConfig) -> Shapes:
    width, inner, head = config.model_channels, config.mlp_channels, (config.head_dim,)
    shapes: Shapes = {
        f"{block}.mlp.layer1.weight": (inner, width),
        f"{block}.mlp.layer2.weight": (width, inner),
    }
    for part in ("self_attn", "cross_attn", "mlp"):
        shapes |= _modulation(f"{block}.adaln_modulation_{part}", config, 3)
    for part, source in {"self_attn": width, "cross_attn": config.text_channels}.items():
        shapes |= {
            f"{block}.{part}.q_proj.weight": (width, width),
            f"{block}.{part}.k_proj.weight": (width, source),
            f"{block}.{part}.v_proj.weight": (width, source),
            f"{block}.{part}.output_proj.weight": (width, width),
            f"{block}.{part}.q_norm.weight": head,
            f"{block}.{part}.k_norm.weight": head,
        }
    return shapes


def _switched(config: TransformerConfig) -> Shapes:
    """Weights that only some networks have."""
    width, shapes = config.model_channels, Shapes()
    if config.text_input_channels is not None:
        shapes["crossattn_proj.0.weight"] = (config.text_channels, config.text_input_channels)
        shapes["crossattn_proj.0.bias"] = (config.text_channels,)
    if config.position_table == "learned":
        for axis, length in zip("thw", config.max_grid, strict=True):
            shapes[f"extra_pos_embedder.pos_emb_{axis}"] = (length, width)
    if config.view_channels:
        shapes["view_embeddings.weight"] = (config.num_view_embeddings, config.view_channels)
    if config.repeat_frame_embedding:
        shapes["repeat_frame_embedding.weight"] = (config.view_channels, 1)
        shapes["repeat_frame_embedding.bias"] = (config.view_channels,)
    return shapes


def _branch(hint_channels: int, config: TransformerConfig) -> Shapes:
    width = config.model_channels
    channels = hint_channels + int(config.padding_mask)
    shapes: Shapes = {"x_embedder2.proj.1.weight": (width, channels * config.patch_volume)}
    for number, (before, after) in enumerate(pairwise((width, *HINT_WIDTHS, width))):
        shapes[f"input_hint_block.{2 * number}.weight"] = (after, before)
        shapes[f"input_hint_block.{2 * number}.bias"] = (after,)
    for number in range(config.num_blocks):
        shapes[f"zero_blocks.{number}.weight"] = (width, width)
        shapes[f"zero_blocks.{number}.bias"] = (width,)
    return shapes


def _part(name: str, shape: Shape, parts: int) -> Shape:
    cut = PLAN.cut_of(name)
    if cut is None or parts == 1:
        return shape
    return tuple(size // parts if dim == cut.value else size for dim, size in enumerate(shape))


def read_sizes(shapes: Mapping[str, Shape], family: str) -> Sizes | None:
    """Tell a network's sizes from the shapes of its weights, by the network's names.

    None where too little is there, or what is there fits no network.
    """
    try:
        return _read_sizes(shapes, family)
    except (KeyError, IndexError, ValueError, ZeroDivisionError, RecipeError):
        return None


def _read_sizes(shapes: Mapping[str, Shape], family: str) -> Sizes:
    (width,) = shapes["t_embedding_norm.weight"]
    numbers = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")}
    (head,) = _of_a_block(shapes, "self_attn.q_norm.weight")
    parts = width // _of_a_block(shapes, "self_attn.q_proj.weight")[0]
    inner = _of_a_block(shapes, "mlp.layer1.weight")[0] * parts
    channels = shapes["x_embedder.proj.1.weight"][1] // PATCH_VOLUME
    views, view_channels = shapes.get("view_embeddings.weight", (0, 0))
    out_rows, out_width = shapes.get("final_layer.linear.weight", (0, 0))
    masks = channels - LATENT_CHANNELS - view_channels
    config = TransformerConfig(
        model_channels=width,
        num_blocks=max(numbers) + 1,
        num_heads=width // head,
        mlp_ratio=inner / width,
        text_channels=_of_a_block(shapes, "cross_attn.k_proj.weight")[1],
        text_input_channels=shapes.get("crossattn_proj.0.weight", (0, None))[1],
        adaln_lora_dim=_of_a_block(shapes, "adaln_modulation_mlp.1.weight")[0],
        out_channels=out_rows // PATCH_VOLUME if out_width == width else LATENT_CHANNELS,
        condition_mask=masks == 2,
        padding_mask=masks >= 1,
        view_channels=view_channels,
        num_view_embeddings=views,
        repeat_frame_embedding="repeat_frame_embedding.weight" in shapes,
        family="predict2" if family == "predict2" else "transfer1",
        **_table(shapes, view_channels, family),
    )
    hint = shapes.get("x_embedder2.proj.1.weight")
    hint_channels = None if hint is None else hint[1] // PATCH_VOLUME - int(config.padding_mask)
    return Sizes(config, hint_channels, parts)


def _of_a_block(shapes: Mapping[str, Shape], layer: str) -> Shape:
    """The shape of a layer in the first block that has it: a damaged file may lack any."""
    for name, shape in shapes.items():
        words = name.split(".", 2)
        if words[0] == "blocks" and words[2] == layer:
            return shape
    raise KeyError(layer)


def _table(shapes: Mapping[str, Shape], view_channels: int, family: str) -> dict:
    """The position table, and with it the largest grid."""
    if "extra_pos_embedder.pos_emb_t" in shapes:
        frames, rows, columns = (shapes[f"extra_pos_embedder.pos_emb_{a}"][0] for a in "thw")
        grid = {"max_frames": frames, "max_img_h": 2 * rows, "max_img_w": 2 * columns}
        return {"position_table": "learned", **grid}
    # The network of several cameras has a fixed table, which no file holds.
    fixed = family == "transfer1" and view_channels > 0
    return {"position_table": "sincos" if fixed else "none"}

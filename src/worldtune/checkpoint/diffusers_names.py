"""The names of the same network in diffusers' `CosmosTransformer3DModel`."""

from worldtune.checkpoint.names import NameTable, Row

_PARTS = (("self_attn", "attn1"), ("cross_attn", "attn2"))
_LAYERS = (
    ("q_proj", "to_q"),
    ("k_proj", "to_k"),
    ("v_proj", "to_v"),
    ("output_proj", "to_out.0"),
    ("q_norm", "norm_q"),
    ("k_norm", "norm_k"),
)
_MODULATIONS = (("self_attn", "norm1"), ("cross_attn", "norm2"), ("mlp", "norm3"))

# (module in diffusers, module in the network)
ROWS: tuple[Row, ...] = (
    ("patch_embed.proj", "x_embedder.proj.1"),
    ("learnable_pos_embed", "extra_pos_embedder"),
    *((f"time_embed.t_embedder.linear_{n}", f"t_embedder.1.linear_{n}") for n in (1, 2)),
    ("time_embed.norm", "t_embedding_norm"),
    *(
        (
            f"transformer_blocks.{{i}}.{theirs}.linear_{n}",
            f"blocks.{{i}}.adaln_modulation_{ours}.{n}",
        )
        for ours, theirs in _MODULATIONS
        for n in (1, 2)
    ),
    *(
        (f"transformer_blocks.{{i}}.{attn}.{theirs}", f"blocks.{{i}}.{part}.{ours}")
        for part, attn in _PARTS
        for ours, theirs in _LAYERS
    ),
    ("transformer_blocks.{i}.ff.net.0.proj", "blocks.{i}.mlp.layer1"),
    ("transformer_blocks.{i}.ff.net.2", "blocks.{i}.mlp.layer2"),
    *((f"norm_out.linear_{n}", f"final_layer.adaln_modulation.{n}") for n in (1, 2)),
    ("proj_out", "final_layer.linear"),
)

# Its positions are no entries of its files.
DIFFUSERS = NameTable(
    family="predict2", rows=ROWS, rebuild=lambda config: {}, rebuilt_names=frozenset()
)

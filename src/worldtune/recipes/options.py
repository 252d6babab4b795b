"""Options of groups that several roots have."""

from worldtune.config.tree import Tree

LAMBDALINEAR: Tree = {
    "kind": "lambdalinear",
    "warm_up_steps": [1000],
    "cycle_lengths": [10_000_000_000_000],
    "f_start": [1e-6],
    "f_max": [1.0],
    "f_min": [1.0],
}
EVERY_STEP: Tree = {
    "low_prec": {"update_iter": 1},
    "iter_speed": {"every_n": "${trainer.logging_iter}"},
    "grad_clip": {"clip_norm": 1.0, "force_finite": True},
}
"""Callbacks that all recipes have."""

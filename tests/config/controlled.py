"""Composing Transfer1's recipes as the tests of this room do it."""

from functools import cache
from pathlib import Path
from typing import Any

from worldtune.config.compose import Composed, compose
from worldtune.config.user_file import UserFile
from worldtune.recipes.transfer1 import TRANSFER1

ONE = "CTRL_7Bv1pt3_t2w_121frames_control_input_lidar_block3_pretrain"
SEVERAL = "CTRL_7Bv1pt3_t2w_sv2mv_57frames_control_input_hdmap_block3_pretrain"
SEVERAL_FIRST_FRAMES = "CTRL_7Bv1pt3_v2w_sv2mv_57frames_control_input_lidar_block3_posttrain"
CLIP = "CTRL_7Bv1pt3_lvg_tp_121frames_control_input_edge_block3_pretrain"
TINY = "CTRL_tiny_t2w_17frames_control_input_hdmap_block3_pretrain"
TINY_SEVERAL = "CTRL_tiny_t2w_sv2mv_17frames_control_input_hdmap_block3_pretrain"


@cache
def controlled(experiment: str, *words: str) -> Composed:
    """One of Transfer1's recipes, with words of a command line."""
    return compose(TRANSFER1, experiment, words, environment={})


def controlled_from(values: dict[str, Any], *words: str) -> Composed:
    """A recipe of a user's, built on a tiny one."""
    mine = {"mine": {"defaults": [f"/experiment/{TINY}", "_self_"], **values}}
    file = UserFile(Path("my_run.py"), mine)
    return compose(TRANSFER1, "mine", words, file, environment={})

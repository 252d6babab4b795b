"""Rotary positions of a token grid: angles in float32, and turning heads by them.

Tokens are ordered frame, row, column (column fastest). The pairs of a head are split
among the three axes; each axis has its own stretch of the wave lengths.
"""


def split_head_dim(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that follow (time, rows, columns); 128 gives 44, 42, 42."""
    spatial = head_dim // 6 * 2
    return head_dim - 2 * spatial, spatial, spatial

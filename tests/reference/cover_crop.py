"""Scale to cover, then cut the middle out: pixel by pixel, in float64, from the definition."""

from math import ceil

import numpy as np


def triangle_weights(source: int, target: int) -> np.ndarray:
    """[target, source]: bilinear weights, widened when scaling down (antialiasing)."""
    scale = source / target
    reach = max(scale, 1.0)
    weights = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        for j in range(source):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / reach)
    return weights / weights.sum(1, keepdims=True)


def cover_and_crop(image_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float64 values 0 to 255 of (height, width), before they are made whole numbers."""
    height, width = image_HWC.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    scaled = ceil(scale * height), ceil(scale * width)
    rows, columns = triangle_weights(height, scaled[0]), triangle_weights(width, scaled[1])
    large = np.einsum("yi,xj,ijc->yxc", rows, columns, image_HWC.astype(np.float64))
    top, left = (round((have - want) / 2) for have, want in zip(scaled, size, strict=True))
    return large[top : top + size[0], left : left + size[1]]

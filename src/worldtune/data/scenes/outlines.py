"""Plane geometry: outlines of bodies, lines beside lines, points in polygons."""

import numpy as np


def offset_line(line: np.ndarray, right: float) -> np.ndarray:
    """Return a line that runs beside another [n, 2], so far to the right of it."""
    steps = np.diff(line, axis=0)
    steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    before = np.vstack([steps[:1], steps])
    after = np.vstack([steps, steps[-1:]])
    middle = before + after
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-9)
    # At a bend the corner lies further out than the offset; sharp ones are held in.
    reach = right / np.maximum((middle * after).sum(1, keepdims=True), 0.5)
    return line + reach * np.stack([middle[:, 1], -middle[:, 0]], 1)


def strip(line: np.ndarray, left: float, right: float) -> np.ndarray:
    """Return the polygon along a line, so far to its left and right."""
    return np.vstack([offset_line(line, right), offset_line(line, -left)[::-1]])


def corners(x: np.ndarray, y: np.ndarray, heading: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the corners [..., 4, 2] of oriented boxes; size is [..., 2], length and width."""
    forward = np.stack([np.cos(heading), np.sin(heading)], -1)
    left = np.stack([-forward[..., 1], forward[..., 0]], -1)
    along = forward * size[..., :1] / 2
    across = left * size[..., 1:] / 2
    centre = np.stack(np.broadcast_arrays(x, y), -1)
    ring = [along + across, across - along, -along - across, along - across]
    return np.stack([centre + corner for corner in ring], -2)


def depth(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far boxes [..., 4, 2] sink into each other; below 0 they are apart.

    The smallest overlap over the four directions of their sides (separating axes).
    """
    one, other = np.broadcast_arrays(one, other)
    least = np.full(one.shape[:-2], np.inf)
    for box in (one, other):
        for first, second in ((0, 1), (1, 2)):
            axis = box[..., first, :] - box[..., second, :]
            axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
            a = (one * axis[..., None, :]).sum(-1)
            b = (other * axis[..., None, :]).sum(-1)
            room = np.minimum(a.max(-1), b.max(-1)) - np.maximum(a.min(-1), b.min(-1))
            least = np.minimum(least, room)
    return least


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return which points [..., 2] lie in a polygon [n, 2] (crossings of a ray)."""
    x, y = points[..., 0, None], points[..., 1, None]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    spans = (y0 > y) != (y1 > y)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    return (spans & (x < x0 + (y - y0) * (x1 - x0) / rise)).sum(-1) % 2 == 1


def outside_by(points: np.ndarray, polygons: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return how far points [n, 2] lie outside all polygons; 0 in one of them."""
    out = np.arange(len(points))
    for polygon in polygons:
        low, high = polygon.min(0), polygon.max(0)
        near = ((points[out] >= low) & (points[out] <= high)).all(1)
        within = near.copy()
        within[near] = inside(points[out[near]], polygon)
        out = out[~within]
    far = np.zeros(len(points))
    if len(out):
        far[out] = np.min([distance_to_ring(points[out], polygon) for polygon in polygons], axis=0)
    return far


def distance_to_ring(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return the distance of points [n, 2] to a polygon's boundary."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    side = end - start
    length = np.maximum((side**2).sum(1), 1e-12)
    offset = points[..., None, :] - start
    share = np.clip((offset * side).sum(-1) / length, 0, 1)
    return np.linalg.norm(offset - share[..., None] * side, axis=-1).min(-1)

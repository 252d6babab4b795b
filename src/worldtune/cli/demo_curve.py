"""The loss curve of a run as a picture inside a page (SVG)."""

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _HEIGHT = 720, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 34
_TICKS = (1, 2, 2.5, 5, 10)
Points = list[tuple[float, float]]


def curve_of(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Draw the running mean of the steps' loss and the held-out losses, with a legend."""
    steps = _points(metrics, "step", "loss")
    if not steps:
        return "<p>No steps were taken.</p>"
    mean = running_mean(steps)
    held_out = _points(metrics, "validation", "average") or _points(
        metrics, "validation", "network"
    )
    first = _points(metrics, "validation", "network")[:1]
    held_out = sorted({**dict(first), **dict(held_out)}.items())
    last = max(x for x, _ in [*steps, *held_out])
    values = [y for _, y in [*mean, *held_out]]
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * point[0] / last
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - point[1]) / (high - low)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for tick in ticks:
        _, y = place((0.0, tick)).split(",")
        lines.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for step in nice_ticks(0.0, last):
        if step <= last:
            x, _ = place((step, low)).split(",")
            anchor = "end" if step == last else "middle"
            lines.append(f'<text x="{x}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{step:g}</text>')
    dots = "".join(
        '<circle cx="{}" cy="{}" r="4" fill="var(--tuned)"/>'.format(*place(point).split(","))
        for point in held_out
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Loss over training steps">'
        f"{''.join(lines)}"
        f'<polyline points="{" ".join(map(place, mean))}" fill="none" stroke="var(--soft)" '
        'stroke-width="1.5" stroke-linejoin="round"/>'
        f'<polyline points="{" ".join(map(place, held_out))}" fill="none" stroke="var(--tuned)" '
        f'stroke-width="2"/>{dots}</svg>'
        '<div class="legend"><span class="real">— each step, running mean</span>'
        '<span class="tuned">● held-out clips of both kinds</span>'
        '<span class="soft">across: steps</span></div>'
    )


def running_mean(points: Points, share: float = 0.06) -> Points:
    """Mean over a window of a share of all points, where the window is whole."""
    size = max(1, min(len(points), round(share * len(points))))
    total, means = 0.0, []
    for place, (x, y) in enumerate(points):
        total += y - (points[place - size][1] if place >= size else 0.0)
        if place >= size - 1:
            means.append((x, total / size))
    return means


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from below low to above high, about as many as wanted."""
    span = max(high - low, 1e-6)
    power = 1.0
    while power * 10 < span / wanted:
        power *= 10
    while power > span / wanted:
        power /= 10
    step = next(tick * power for tick in _TICKS if tick * power >= span / wanted - 1e-12)
    start = int(low // step)
    ticks = [start * step]
    while ticks[-1] < high - 1e-9:
        start += 1
        ticks.append(start * step)
    return [round(tick, 10) for tick in ticks]


def _points(metrics: Sequence[Mapping[str, Any]], kind: str, key: str) -> Points:
    return [
        (float(line["iteration"]), float(line[key]))
        for line in metrics
        if line["kind"] == kind and line.get(key) is not None
    ]

"""What a crash does to two bodies: rigid bodies on a plane, with tyres.

At the contact an impulse changes both velocities and spins; afterwards tyres brake, hold sideways
and damp the spin. While the bodies touch, further impulses keep them from sinking in.
"""

from dataclasses import dataclass, replace
from math import cos, hypot, sin, sqrt

import numpy as np

from worldtune.data.scenes.outlines import corners, inside

RESTITUTION = 0.15
_FRICTION = 0.45  # of sheet metal on sheet metal
_GRIP_MPS2 = 6.0  # of tyres pushed sideways
_TURN_GRIP = 0.4  # of tyres that a spin drags along, as a share of gravity
_STEPS_HZ = 240
# Slower than this bodies no longer bounce.
_BOUNCE_MPS = 1.0
_GAP_M = 0.02
_STILL_MPS, _STILL_RAD_S = 0.03, 0.02


@dataclass(frozen=True)
class Moving:
    """A body in motion: metres, seconds, radians, kilograms."""

    x: float
    y: float
    heading: float
    vx: float
    vy: float
    spin: float
    length: float
    width: float
    mass: float
    brakes: float = 4.0  # of the driver, m/s2

    @property
    def inertia(self) -> float:
        """About the upright axis through the middle, in kg m2."""
        return self.mass * (self.length**2 + self.width**2) / 12

    def box(self, margin: float = 0.0) -> np.ndarray:
        """Return the corners [4, 2], moved out by a margin."""
        size = np.array([self.length + 2 * margin, self.width + 2 * margin])
        return corners(np.array(self.x), np.array(self.y), np.array(self.heading), size)


@dataclass(frozen=True)
class Touch:
    """Where two bodies touch: a point, the normal from one to the other, how deep they are."""

    point: tuple[float, float]
    normal: tuple[float, float]
    depth: float


def touch(one: Moving, other: Moving, margin: float = _GAP_M) -> Touch | None:
    """Return where two bodies come nearer than twice a margin, or None."""
    if hypot(one.x - other.x, one.y - other.y) > (one.length + other.length) / 2 + 2.5:
        return None
    a, b = one.box(margin), other.box(margin)
    best, normal = np.inf, (0.0, 0.0)
    for heading in (one.heading, other.heading):
        for axis in ((cos(heading), sin(heading)), (-sin(heading), cos(heading))):
            along_a, along_b = a @ axis, b @ axis
            ahead = along_a.max() - along_b.min()
            behind = along_b.max() - along_a.min()
            if min(ahead, behind) <= 0:
                return None
            if min(ahead, behind) < best:
                sign = 1.0 if ahead < behind else -1.0
                best, normal = min(ahead, behind), (sign * axis[0], sign * axis[1])
    meeting = np.vstack([a[inside(a, b)], b[inside(b, a)]])
    if not len(meeting):
        meeting = np.array([[(one.x + other.x) / 2, (one.y + other.y) / 2]])
    x, y = meeting.mean(0)
    return Touch((float(x), float(y)), normal, float(best) - 2 * margin)


def collide(one: Moving, other: Moving, at: Touch) -> tuple[Moving, Moving]:
    """Return both bodies after the impulse of a touch; unchanged where they part already."""
    (px, py), (nx, ny) = at.point, at.normal
    ax, ay, bx, by = px - one.x, py - one.y, px - other.x, py - other.y
    # Of the other's point, seen from the one's.
    vx = other.vx - other.spin * by - (one.vx - one.spin * ay)
    vy = other.vy + other.spin * bx - (one.vy + one.spin * ax)
    closing = vx * nx + vy * ny
    if closing >= 0:
        return one, other
    tx, ty = -ny, nx
    sliding = vx * tx + vy * ty

    def yields(dx: float, dy: float) -> float:
        turn_a, turn_b = ax * dy - ay * dx, bx * dy - by * dx
        return 1 / one.mass + 1 / other.mass + turn_a**2 / one.inertia + turn_b**2 / other.inertia

    bounce = RESTITUTION if -closing > _BOUNCE_MPS else 0.0
    push = -(1 + bounce) * closing / yields(nx, ny)
    rub = max(-_FRICTION * push, min(_FRICTION * push, -sliding / yields(tx, ty)))
    jx, jy = push * nx + rub * tx, push * ny + rub * ty
    return (
        replace(
            one,
            vx=one.vx - jx / one.mass,
            vy=one.vy - jy / one.mass,
            spin=one.spin - (ax * jy - ay * jx) / one.inertia,
        ),
        replace(
            other,
            vx=other.vx + jx / other.mass,
            vy=other.vy + jy / other.mass,
            spin=other.spin + (bx * jy - by * jx) / other.inertia,
        ),
    )


def slide(one: Moving, other: Moving, seconds: float, rate_hz: int) -> np.ndarray:
    """Return where both bodies go from a contact on, [2, n, 3] x, y, heading at rate_hz.

    Row 0 is the contact itself.
    """
    every = _STEPS_HZ // rate_hz
    rows = [[(b.x, b.y, b.heading) for b in (one, other)]]
    for step in range(1, round(seconds * _STEPS_HZ) + 1):
        at = touch(one, other)
        was = one, other
        if at is not None:
            one, other = _part(*collide(one, other, at), at)
        one, other = _roll(one), _roll(other)
        if step % every == 0:
            rows.append([(b.x, b.y, b.heading) for b in (one, other)])
        if (one, other) == was:
            break
    rows += rows[-1:] * (round(seconds * rate_hz) + 1 - len(rows))
    return np.array(rows).transpose(1, 0, 2)


def _part(one: Moving, other: Moving, at: Touch) -> tuple[Moving, Moving]:
    """Move bodies apart that sank into each other, the lighter further."""
    if at.depth <= -_GAP_M:
        return one, other
    room = min(at.depth + _GAP_M, 0.02)
    share = other.mass / (one.mass + other.mass)
    (nx, ny), back, on = at.normal, room * share, room * (1 - share)
    return (
        replace(one, x=one.x - nx * back, y=one.y - ny * back),
        replace(other, x=other.x + nx * on, y=other.y + ny * on),
    )


def _roll(body: Moving) -> Moving:
    """Move a body on by one step."""
    step = 1 / _STEPS_HZ
    ahead, aside = cos(body.heading), sin(body.heading)
    forward = _toward_zero(body.vx * ahead + body.vy * aside, body.brakes * step)
    sideways = _toward_zero(-body.vx * aside + body.vy * ahead, _GRIP_MPS2 * step)
    # The wheels' lever is about a quarter of the length.
    turn = _TURN_GRIP * 9.81 * body.mass * body.length / 4 / body.inertia
    spin = _toward_zero(body.spin, turn * step)
    vx, vy = forward * ahead - sideways * aside, forward * aside + sideways * ahead
    if hypot(vx, vy) < _STILL_MPS and abs(spin) < _STILL_RAD_S:
        return replace(body, vx=0.0, vy=0.0, spin=0.0)
    return replace(
        body,
        x=body.x + vx * step,
        y=body.y + vy * step,
        heading=body.heading + spin * step,
        vx=vx,
        vy=vy,
        spin=spin,
    )


def _toward_zero(value: float, by: float) -> float:
    return value - by if value > by else value + by if value < -by else 0.0


def speed_change(before: Moving, after: Moving) -> float:
    """Return how much a body's velocity changed, in metres a second."""
    return sqrt((after.vx - before.vx) ** 2 + (after.vy - before.vy) ** 2)

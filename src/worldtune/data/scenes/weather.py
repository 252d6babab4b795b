"""Light and air: what the hour and the weather do to colours.

Colours are linear, 0 black, 1 white paper, until `develop` makes pixels of them.
"""

from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin
from typing import Literal

import numpy as np

Weather = Literal["clear", "overcast", "rain", "fog"]
Hour = Literal["morning", "noon", "afternoon", "dusk"]
WEATHERS: tuple[Weather, ...] = ("clear", "overcast", "rain", "fog")
HOURS: tuple[Hour, ...] = ("morning", "noon", "afternoon", "dusk")

Colour = tuple[float, float, float]

# Sun: degrees of azimuth (counter-clockwise from east) and elevation; its light; the sky's light.
_SUNS: dict[Hour, tuple[float, float, Colour, Colour]] = {
    "morning": (20.0, 30.0, (2.10, 1.74, 1.30), (0.46, 0.54, 0.70)),
    "noon": (-82.0, 58.0, (2.10, 2.00, 1.82), (0.50, 0.57, 0.68)),
    "afternoon": (208.0, 36.0, (2.15, 1.82, 1.42), (0.47, 0.53, 0.66)),
    "dusk": (172.0, 9.0, (0.85, 0.42, 0.22), (0.40, 0.41, 0.58)),
}
# Above and at the horizon, when the sky is clear.
_SKIES: dict[Hour, tuple[Colour, Colour]] = {
    "morning": ((0.22, 0.42, 0.78), (0.86, 0.80, 0.72)),
    "noon": ((0.16, 0.38, 0.80), (0.66, 0.78, 0.90)),
    "afternoon": ((0.20, 0.40, 0.76), (0.88, 0.80, 0.68)),
    "dusk": ((0.14, 0.17, 0.36), (0.92, 0.46, 0.26)),
}
# A closed sky's light beside the clear one's, its colour, and the air's thickness per metre.
_CLOSED: dict[Weather, tuple[Colour, Colour, float]] = {
    "overcast": ((1.34, 1.40, 1.48), (0.70, 0.74, 0.80), 0.0012),
    "rain": ((1.04, 1.10, 1.20), (0.50, 0.54, 0.60), 0.0065),
    "fog": ((1.24, 1.28, 1.32), (0.76, 0.78, 0.80), 0.0120),
}
_CLEAR_AIR = 0.0010
_DIM_AT_DUSK = 0.52

_STEPS = 4096
_BRIGHTEST = 6.0
_GAMMA = 1 / 2.2
_CONTRAST = 0.38


def _curve() -> np.ndarray:
    """Build the table from light to pixels: film's soft shoulder and steep middle, then gamma."""
    light = np.linspace(0, _BRIGHTEST, _STEPS)
    tone = (1 - np.exp(-1.02 * light)) ** _GAMMA
    steep = tone * tone * (3 - 2 * tone)
    return np.round(255 * (tone + _CONTRAST * (steep - tone))).astype(np.uint8)


_TABLE = _curve()


def develop(light: np.ndarray) -> np.ndarray:
    """Turn linear light [...] into pixels, uint8."""
    steps = np.clip(light, 0, _BRIGHTEST)
    steps *= (_STEPS - 1) / _BRIGHTEST
    return _TABLE[steps.astype(np.int16)]


@dataclass(frozen=True)
class Light:
    """The light of one clip."""

    weather: Weather
    hour: Hour
    turn: float = 0.0  # of the sun about its hour's place, radians

    @cached_property
    def closed(self) -> bool:
        """Whether clouds hide the sun: shadows are soft."""
        return self.weather != "clear"

    @cached_property
    def wet(self) -> bool:
        """Whether the ground shines."""
        return self.weather == "rain"

    @cached_property
    def lamps(self) -> bool:
        """Whether street lamps and headlights are lit."""
        return self.hour == "dusk" or self.weather in ("rain", "fog")

    @cached_property
    def dark(self) -> bool:
        """Whether lamps are the brightest things in sight."""
        return self.hour == "dusk"

    @cached_property
    def towards_sun(self) -> np.ndarray:
        """A unit vector, float64 [3]."""
        azimuth, elevation, _, _ = _SUNS[self.hour]
        around, up = radians(azimuth) + self.turn, radians(elevation)
        return np.array([cos(up) * cos(around), cos(up) * sin(around), sin(up)])

    @cached_property
    def sun(self) -> np.ndarray:
        """The sun's light on what faces it, float64 [3]."""
        return np.zeros(3) if self.closed else np.array(_SUNS[self.hour][2])

    @cached_property
    def ambient(self) -> np.ndarray:
        """The sky's light on what faces up, float64 [3]."""
        if not self.closed:
            return np.array(_SUNS[self.hour][3])
        return np.array(_CLOSED[self.weather][0]) * (_DIM_AT_DUSK if self.dark else 1.0)

    @cached_property
    def sky(self) -> tuple[np.ndarray, np.ndarray]:
        """The sky's colour overhead and at the horizon, float64 [3] each."""
        if not self.closed:
            above, low = _SKIES[self.hour]
            return np.array(above), np.array(low)
        grey = np.array(_CLOSED[self.weather][1]) * (_DIM_AT_DUSK if self.dark else 1.0)
        tint = np.array([1.06, 0.98, 0.98]) if self.dark else np.ones(3)
        return grey * 0.86, grey * 1.04 * tint

    @cached_property
    def thickness(self) -> float:
        """How much the air takes, per metre."""
        return _CLOSED[self.weather][2] if self.closed else _CLEAR_AIR

    def shade(
        self, albedo: np.ndarray, normals: np.ndarray, sunlit: float | np.ndarray = 1.0
    ) -> np.ndarray:
        """Return the light that faces [n, 3] of some normals [n, 3] send back."""
        facing = np.maximum((normals * self.towards_sun).sum(axis=1), 0.0) * sunlit
        # From below comes what the ground reflects, about a third of the sky.
        upward = 0.66 + 0.34 * normals[:, 2]
        return albedo * (facing[:, None] * self.sun + upward[:, None] * self.ambient)

    def through_air(self, light: np.ndarray, distance: float | np.ndarray) -> np.ndarray:
        """Return light [..., 3] as it arrives after a distance [...] in metres."""
        kept = np.exp(-self.thickness * np.asarray(distance))[..., None]
        return light * kept + self.sky[1] * (1 - kept)

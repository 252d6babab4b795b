"""Colours of bodies and clothes, by names that a caption can use."""

import numpy as np

from worldtune.data.scenes.paint_people import Clothes
from worldtune.data.scenes.recording import BodyKind
from worldtune.data.scenes.weather import Colour

# Albedo; each stands out from asphalt.
BODY_COLOURS: dict[str, Colour] = {
    "white": (0.78, 0.78, 0.76),
    "red": (0.52, 0.025, 0.025),
    "blue": (0.03, 0.11, 0.46),
    "yellow": (0.72, 0.47, 0.03),
    "green": (0.03, 0.26, 0.09),
    "orange": (0.68, 0.20, 0.02),
    "light blue": (0.16, 0.40, 0.60),
    "black": (0.012, 0.012, 0.014),
    "silver": (0.44, 0.45, 0.47),
    "beige": (0.52, 0.43, 0.30),
    "dark red": (0.22, 0.012, 0.03),
}
# Those of clear contrast to any road, dry or wet, in any hour.
VIVID = ("white", "red", "blue", "yellow", "orange", "light blue", "green")
_COMMON = tuple(BODY_COLOURS)
_WEIGHTS = np.array([0.2, 0.13, 0.12, 0.05, 0.06, 0.05, 0.06, 0.12, 0.12, 0.05, 0.04])

_BUS_COLOURS = ("red", "blue", "white", "green", "yellow", "orange")

_TOPS: tuple[Colour, ...] = (
    (0.55, 0.06, 0.06), (0.06, 0.12, 0.38), (0.62, 0.60, 0.56), (0.60, 0.40, 0.06),
    (0.05, 0.05, 0.06), (0.10, 0.28, 0.16), (0.40, 0.12, 0.30), (0.30, 0.42, 0.52),
    (0.58, 0.26, 0.10),
)  # fmt: skip
_LEGS: tuple[Colour, ...] = (
    (0.03, 0.05, 0.12), (0.02, 0.02, 0.025), (0.16, 0.15, 0.13), (0.30, 0.25, 0.18),
    (0.07, 0.10, 0.18),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = (
    (0.02, 0.016, 0.012), (0.07, 0.04, 0.02), (0.25, 0.17, 0.08), (0.22, 0.22, 0.22),
)  # fmt: skip
_SKIN: tuple[Colour, ...] = (
    (0.52, 0.33, 0.24), (0.42, 0.25, 0.17), (0.26, 0.14, 0.09), (0.12, 0.065, 0.045),
)  # fmt: skip


def choose_colour(kind: BodyKind, random: np.random.Generator) -> str:
    """Return the name of a vehicle's colour."""
    if kind == "bus":
        return str(random.choice(_BUS_COLOURS))
    return str(random.choice(_COMMON, p=_WEIGHTS / _WEIGHTS.sum()))


def choose_vivid(taken: str, random: np.random.Generator) -> str:
    """Return the name of a colour that stands out, and is not the one taken."""
    return str(random.choice([name for name in VIVID if name != taken]))


def choose_clothes(colour: str, random: np.random.Generator) -> Clothes:
    """Return the clothes of a person, and the colour of what he or she rides."""

    def one_of(colours: tuple[Colour, ...]) -> Colour:
        return colours[int(random.integers(len(colours)))]

    return Clothes(
        one_of(_TOPS), one_of(_LEGS), one_of(_HAIR), one_of(_SKIN),
        machine=BODY_COLOURS[colour], bag=bool(random.uniform() < 0.3),
    )  # fmt: skip

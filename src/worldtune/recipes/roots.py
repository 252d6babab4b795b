"""The table of roots."""

from worldtune.config.root import Root
from worldtune.recipes.predict2 import PREDICT2

ROOTS: dict[str, Root] = {root.name: root for root in (PREDICT2,)}

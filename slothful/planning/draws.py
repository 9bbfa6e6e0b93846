"""What is drawn: each thing by its own name, so that none follows from another."""

from __future__ import annotations

import random

from .moment import Moment
from .site import Site

KEPT, KEPT_IN_WINDOWS, TILE_SIZE, TILE_SHIFT, DESTINATIONS = DRAWS = (
    "kept",
    "kept in windows",
    "tile size",
    "tile shift",
    "destinations",
)

# no method draws two of these; without a name, as the first versions drew them, images stay as
# they were
_NAMELESS = (KEPT, TILE_SIZE, DESTINATIONS)


def generator(site: Site, moment: Moment, draw: str) -> random.Random:
    """A generator of its own for one of `DRAWS` at a site and a moment, so that the image's seed
    alone decides the image.
    """
    name = "" if draw in _NAMELESS else f" {draw}"
    return random.Random(f"{site.name} {moment.timestep}{name}")

"""Looks at a picture of several objects and says what lies where: the judge of related scenes.

Knows nothing of the model or the caption; `evaluate --truth --kind related` measures it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from standalone.model.analyse import (
    LEAST_OVERLAP,
    background_colour,
    best_shape,
    colour_inside,
    object_mask,
    separate,
)
from standalone.model.scenes.related import DIRECTIONS, LINES


@dataclasses.dataclass(frozen=True)
class SeenObject:
    """One object of a picture: its middle, in parts of the picture's width and height, and what
    it is; `shape` is "unclear" below `LEAST_OVERLAP`.
    """

    colour: str
    shape: str
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class SeenGroup:
    """All that is in a picture; the objects are in no particular order."""

    background: str
    objects: tuple[SeenObject, ...]


def analyse_group(picture: np.ndarray) -> SeenGroup:
    """What a picture, uint8 (height, width, 3), shows, each object for itself."""
    masks = separate(object_mask(picture))
    objects = tuple(_seen_object(picture, mask) for mask in masks)
    return SeenGroup(background_colour(picture), objects)


def in_order(objects: tuple[SeenObject, ...], relation: str) -> tuple[SeenObject, ...]:
    """The objects as a caption with that relation names them, by their places alone."""
    # "a left of b" names first what lies further that way, "a, b and c in a row" what lies less far
    step_x, step_y = DIRECTIONS.get(relation) or LINES[relation]
    along = sorted(objects, key=lambda seen: seen.x * step_x + seen.y * step_y)
    return tuple(along[::-1] if relation in DIRECTIONS else along)


def lies_along(objects: tuple[SeenObject, ...], relation: str) -> bool:
    """Whether there are several objects, spread along the relation's axis more than across it."""
    if not objects:
        return False
    step_x, _ = DIRECTIONS.get(relation) or LINES[relation]
    across, down = np.ptp([(seen.x, seen.y) for seen in objects], axis=0)
    return bool(across > down if step_x else down > across)


def _seen_object(picture: np.ndarray, mask: np.ndarray) -> SeenObject:
    name, overlap = best_shape(mask)
    y, x = ndimage.center_of_mass(mask)
    return SeenObject(
        colour=colour_inside(picture, mask),
        shape=name if overlap >= LEAST_OVERLAP else "unclear",
        x=float(x + 0.5) / mask.shape[1],
        y=float(y + 0.5) / mask.shape[0],
    )

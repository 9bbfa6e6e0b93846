"""Looks at a picture and says what is in it: the judge of samples of simple scenes.

Knows nothing of the model or the caption; `evaluate --truth` measures it on drawn scenes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import numpy as np
from scipy import ndimage

from standalone.model.scenes.canvas import COLOURS, SHAPES, signed_distance

OBJECT_CONTRAST = 42.0
"""Distance from the background, in RGB values of 0 to 255, from which a pixel is an object's."""
LEAST_AREA = 0.005
"""Smaller spots, in parts of the picture, are not counted; the smallest drawn stars have 0.019."""
LEAST_OVERLAP = 0.8
"""Intersection over union with the best of the ideal shapes, from which it counts as clear; drawn
shapes have 0.95 and more, a square and a circle of the same area have 0.83 between them."""
ANGLES = np.linspace(-0.3, 0.3, 9)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is in a picture. `shape` and `colour` are "nothing" without objects, and `shape` is
    "unclear" below `LEAST_OVERLAP`; `overlap` is the largest object's with its best ideal shape.
    """

    background: str
    colour: str
    shape: str
    count: int
    overlap: float


def analyse(picture: np.ndarray) -> Seen:
    """What a picture, uint8 (height, width, 3), shows."""
    ground, everything = background_colour(picture), object_mask(picture)
    objects = separate(everything)
    if not objects:
        return Seen(ground, "nothing", "nothing", 0, 0.0)
    fits = [best_shape(mask) for mask in objects]
    names = Counter(name if overlap >= LEAST_OVERLAP else "unclear" for name, overlap in fits)
    return Seen(
        background=ground,
        colour=colour_inside(picture, everything),
        shape=names.most_common(1)[0][0],
        count=len(objects),
        overlap=fits[0][1],
    )


def object_mask(picture: np.ndarray) -> np.ndarray:
    """Where the objects of a picture, uint8 (height, width, 3), are: bool (height, width).

    They stand out from the picture's left and right edges by their colour. Textures are filled,
    spots and slivers dropped; without objects all is False.
    """
    values = picture.astype(np.float32)
    contrast = np.linalg.norm(values - _background(values)[:, None], axis=2)
    mask = contrast > OBJECT_CONTRAST
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(mask, iterations=2) | mask)
    labels, _ = ndimage.label(ndimage.binary_opening(filled, iterations=1))
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    large = areas >= max(LEAST_AREA * mask.size, 0.25 * areas.max())
    return large[labels]


def separate(mask: np.ndarray) -> list[np.ndarray]:
    """The objects of an `object_mask`, a mask for each, the largest first."""
    labels, count = ndimage.label(mask)
    objects = [labels == label for label in range(1, count + 1)]
    return sorted(objects, key=np.count_nonzero, reverse=True)


def background_colour(picture: np.ndarray) -> str:
    """The palette's name for the colour along the upper edge, where gradients begin."""
    upper = picture[: max(len(picture) // 40, 2)]
    return nearest_colour(np.median(upper, axis=(0, 1)))


def colour_inside(picture: np.ndarray, mask: np.ndarray) -> str:
    """The palette's name for the colour of an object, away from its outline."""
    inside = ndimage.binary_erosion(mask, iterations=2)
    return nearest_colour(np.median(picture[inside if inside.any() else mask], axis=0))


def nearest_colour(colour: np.ndarray) -> str:
    """The palette's name for a colour (3,)."""
    distances = {name: np.linalg.norm(colour - np.array(c)) for name, c in COLOURS.items()}
    return min(distances, key=distances.__getitem__)


def best_shape(mask: np.ndarray) -> tuple[str, float]:
    """The shape that overlaps most with a mask (height, width), and that overlap.

    Each ideal shape has the mask's area and centre of mass; it is tried at several angles.
    """
    centre_y, centre_x = ndimage.center_of_mass(mask)
    y, x = np.indices(mask.shape, dtype=np.float32)
    y, x, area = y - centre_y, x - centre_x, mask.sum()
    overlaps: dict[str, float] = {}
    for shape in SHAPES:
        unit_area, unit_y = _unit(shape)
        radius = np.sqrt(area / unit_area)
        for angle in ANGLES if shape != "circle" else (0.0,):
            turned_x = np.cos(angle) * x + np.sin(angle) * y
            turned_y = np.cos(angle) * y - np.sin(angle) * x
            ideal = signed_distance(shape, turned_x / radius, turned_y / radius + unit_y) < 0
            overlap = (ideal & mask).sum() / (ideal | mask).sum()
            overlaps[shape] = max(overlaps.get(shape, 0.0), float(overlap))
    return max(overlaps.items(), key=lambda item: item[1])


@functools.cache
def _unit(shape: str) -> tuple[float, float]:
    """Area and height of the centre of mass of a shape with half width 1."""
    y, x = np.mgrid[-1.2:1.2:481j, -1.2:1.2:481j]
    inside = signed_distance(shape, x, y) < 0
    return float(inside.sum() * 0.005**2), float(y[inside].mean())


def _background(values: np.ndarray) -> np.ndarray:
    """The background's colour in each row (height, 3), from the picture's left and right edges."""
    width = max(values.shape[1] // 40, 2)
    edges = np.concatenate([values[:, :width], values[:, -width:]], axis=1)
    rows = np.median(edges, axis=1)
    return ndimage.median_filter(rows, size=(len(rows) // 4 | 1, 1), mode="nearest")

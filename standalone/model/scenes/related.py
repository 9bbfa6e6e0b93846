"""Two objects with a relation between them, or three in a row or a column."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS, SHAPES, Canvas, Point, colour_of
from standalone.model.scenes.wording import random_wording, with_article, worded

DIRECTIONS: dict[str, Point] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
"""Where the first of two objects lies from the second, x to the right and y downwards."""
LINES: dict[str, Point] = {"in a row": (1, 0), "in a column": (0, 1)}
"""Where each of three objects lies from the one named before it."""
ORDINALS = ("", "second_", "third_")


@dataclasses.dataclass(frozen=True)
class PlacedShape:
    """One object: centre and half width in parts of the picture's side, the angle in radians."""

    shape: str
    colour: str
    centre: Point
    radius: float
    angle: float

    @property
    def words(self) -> str:
        """As "a red circle"."""
        return with_article(f"{self.colour} {self.shape}")


@dataclasses.dataclass(frozen=True)
class RelatedScene:
    """Objects in the caption's order; `relation` is one of `DIRECTIONS`, of `LINES` for three."""

    objects: tuple[PlacedShape, ...]
    relation: str
    background: str
    wording: str

    @property
    def caption(self) -> str:
        """As "a red circle left of a blue square on a white background"."""
        words = [thing.words for thing in self.objects]
        if len(words) == 2:
            things = f"{words[0]} {self.relation} {words[1]}"
        else:
            things = f"{words[0]}, {words[1]} and {words[2]} {self.relation}"
        return worded(self.wording, things, self.background)

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        said = {"relation": self.relation, "background": self.background}
        for ordinal, thing in zip(ORDINALS, self.objects):
            said |= {f"{ordinal}colour": thing.colour, f"{ordinal}shape": thing.shape}
        return said

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.background))
        for thing in self.objects:
            ink = colour_of(thing.colour)
            canvas.shape(thing.shape, thing.centre, thing.radius, thing.angle, ink)
        return canvas.values


def random_related_scene(generator: np.random.Generator) -> RelatedScene:
    """Two objects, or three in a quarter of the scenes; all colours differ."""
    count = 3 if generator.random() < 0.25 else 2
    *colours, background = generator.choice(list(COLOURS), size=count + 1, replace=False)
    relation = str(generator.choice(list(LINES if count == 3 else DIRECTIONS)))
    if count == 3:
        step, spots, size = LINES[relation], (-0.32, 0.0, 0.32), (0.125, 0.145)
    else:
        step, spots, size = DIRECTIONS[relation], (0.23, -0.23), (0.16, 0.19)
    objects = []
    for spot, colour in zip(spots, colours):
        drift, side = generator.uniform(-0.02, 0.02), generator.uniform(-0.06, 0.06)
        along = spot + drift
        centre = tuple(0.5 + along * part + side * (1 - abs(part)) for part in step)
        objects.append(
            PlacedShape(
                shape=str(generator.choice(SHAPES)),
                colour=str(colour),
                centre=(float(centre[0]), float(centre[1])),
                radius=float(generator.uniform(*size)),
                angle=float(generator.uniform(-0.1, 0.1)),
            )
        )
    return RelatedScene(tuple(objects), relation, str(background), random_wording(generator))

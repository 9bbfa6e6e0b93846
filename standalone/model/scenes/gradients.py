"""One colour that turns into another across the whole picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from standalone.model.scenes.canvas import COLOURS, Canvas, colour_of
from standalone.model.scenes.wording import with_article


@dataclasses.dataclass(frozen=True)
class GradientScene:
    """One colour that turns into another; `course` is one of `COURSES`."""

    course: str
    colour: str
    second_colour: str

    @property
    def caption(self) -> str:
        """As "a vertical gradient from red to blue"."""
        return f"{with_article(self.course)} gradient from {self.colour} to {self.second_colour}"

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("course", "colour", "second_colour")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.colour))
        x, y = canvas.coordinates()
        part = np.broadcast_to(COURSES[self.course](x, y), (size, size))
        canvas.paint(colour_of(self.second_colour), part)
        return canvas.values


COURSES: dict[str, Callable[..., np.ndarray]] = {
    "vertical": lambda x, y: y,
    "horizontal": lambda x, y: x,
    "diagonal": lambda x, y: (x + y) / 2,
    "round": lambda x, y: np.clip(np.hypot(x - 0.5, y - 0.5) * 1.6, 0, 1),
}
"""The second colour's part, 0 to 1: downwards, to the right, both, or outwards."""


def random_gradient_scene(generator: np.random.Generator) -> GradientScene:
    """Any course between any two colours."""
    colour, second = generator.choice(list(COLOURS), size=2, replace=False)
    return GradientScene(str(generator.choice(list(COURSES))), str(colour), str(second))

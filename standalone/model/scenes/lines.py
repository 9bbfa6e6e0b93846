"""Hair-thin lines all over the picture, in five arrangements."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from standalone.model.scenes.canvas import COLOURS, Canvas, colour_of, rotate
from standalone.model.scenes.wording import random_wording, worded


@dataclasses.dataclass(frozen=True)
class LineScene:
    """Lines of one colour, about a hundredth of the picture's side thick.

    `arrangement` is one of `ARRANGEMENTS`; `period` and `width` are in parts of the picture's
    side, `angle` in radians.
    """

    arrangement: str
    colour: str
    background: str
    period: float
    width: float
    angle: float
    wording: str

    @property
    def caption(self) -> str:
        """As "thin wavy black lines on a white background"."""
        things = f"thin {self.arrangement} {self.colour} lines"
        return worded(self.wording, things, self.background)

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("arrangement", "colour", "background")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.background))
        x, y = (axis - 0.5 for axis in canvas.coordinates())
        x, y = rotate(x, y, self.angle)
        covers = [
            canvas.line_cover(distance, self.width)
            for distance in ARRANGEMENTS[self.arrangement](x, y, self.period)
        ]
        canvas.paint(colour_of(self.colour), np.maximum.reduce(covers))
        return canvas.values


def _to_nearest(values: np.ndarray, period: float) -> np.ndarray:
    """Distance to the nearest multiple of a period, with its sign."""
    return (values + period / 2) % period - period / 2


def _parallel(x: np.ndarray, y: np.ndarray, period: float) -> list[np.ndarray]:
    return [_to_nearest(x, period)]


def _crossing(x: np.ndarray, y: np.ndarray, period: float) -> list[np.ndarray]:
    return [_to_nearest(x, period), _to_nearest(y, period)]


def _wavy(x: np.ndarray, y: np.ndarray, period: float) -> list[np.ndarray]:
    height, rate = 0.3 * period, 2 * np.pi / (2.5 * period)
    # a steep part of a wave is nearer than it is across; without this it would look thinner
    slope = np.hypot(1, height * rate * np.cos(rate * y))
    return [_to_nearest(x + height * np.sin(rate * y), period) / slope]


def _radiating(x: np.ndarray, y: np.ndarray, period: float) -> list[np.ndarray]:
    part = 2 * np.pi / round(2.2 / period)
    return [np.hypot(x, y) * np.sin(_to_nearest(np.arctan2(y, x), part))]


def _concentric(x: np.ndarray, y: np.ndarray, period: float) -> list[np.ndarray]:
    return [_to_nearest(np.hypot(x, y), period)]


ARRANGEMENTS: dict[str, Callable[..., list[np.ndarray]]] = {
    "parallel": _parallel,
    "crossing": _crossing,
    "wavy": _wavy,
    "radiating": _radiating,
    "concentric": _concentric,
}
"""Signed distances to the lines, an array for each family, for places from the picture's centre."""


def random_line_scene(generator: np.random.Generator) -> LineScene:
    """Lines 1 to 3 pixels thick at 256 pixels."""
    colour, background = generator.choice(list(COLOURS), size=2, replace=False)
    return LineScene(
        arrangement=str(generator.choice(list(ARRANGEMENTS))),
        colour=str(colour),
        background=str(background),
        period=float(generator.uniform(0.06, 0.14)),
        width=float(generator.uniform(0.005, 0.012)),
        angle=float(generator.uniform(-0.5, 0.5)),
        wording=random_wording(generator),
    )

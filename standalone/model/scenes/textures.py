"""Two colours in a fine pattern all over the picture, in five weaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from standalone.model.scenes.canvas import COLOURS, Canvas, colour_of, rotate


@dataclasses.dataclass(frozen=True)
class TextureScene:
    """Two colours in a fine pattern, one of `WEAVES`; `period` is in parts of the picture's side.

    Weaves and bricks repeat after two periods; `speckles` seeds the pattern that never does.
    """

    weave: str
    colour: str
    second_colour: str
    period: float
    angle: float
    speckles: int

    @property
    def caption(self) -> str:
        """As "a fine checked texture of red and white"."""
        return f"a fine {self.weave} texture of {self.colour} and {self.second_colour}"

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("weave", "colour", "second_colour")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.second_colour))
        x, y = rotate(*canvas.coordinates(), self.angle)
        if self.weave == "speckled":
            cover = _speckles(self.speckles, round(1 / self.period), size)
        else:
            cover = WEAVES[self.weave](x / self.period, y / self.period, self.period * size)
        canvas.paint(colour_of(self.colour), cover)
        return canvas.values


def _bands(place: np.ndarray, pixels: float) -> np.ndarray:
    """A square wave of period 1, 0 to 1, whose edges are one pixel soft at `pixels` a period."""
    return np.clip(0.5 + np.sin(2 * np.pi * place) * pixels / (2 * np.pi), 0, 1)


def _striped(x: np.ndarray, y: np.ndarray, pixels: float) -> np.ndarray:
    return _bands(x, pixels)


def _checked(x: np.ndarray, y: np.ndarray, pixels: float) -> np.ndarray:
    columns, rows = _bands(x, pixels), _bands(y, pixels)
    return columns + rows - 2 * columns * rows


def _woven(x: np.ndarray, y: np.ndarray, pixels: float) -> np.ndarray:
    """Threads over and under each other: each square is hatched along its thread."""
    over = _checked(x / 2, y / 2, 2 * pixels)
    return over * (0.3 + 0.7 * _bands(2 * x, pixels / 2)) + (1 - over) * 0.7 * _bands(
        2 * y, pixels / 2
    )


def _bricked(x: np.ndarray, y: np.ndarray, pixels: float) -> np.ndarray:
    """Bricks twice as wide as high, every second row moved by half a brick."""
    row = np.floor(y)
    joint = 0.12
    across, down = (x / 2 + 0.5 * (row % 2)) % 1, y % 1
    inside = np.minimum(np.minimum(across, 1 - across) * 2, np.minimum(down, 1 - down)) - joint
    return np.clip(0.5 + inside * pixels, 0, 1)


def _speckles(seed: int, cells: int, size: int) -> np.ndarray:
    """Random values (size, size) on a grid of cells, smooth between them: alike at any size."""
    grid = np.random.default_rng(seed).random((cells + 1, cells + 1), np.float32)
    place = (np.arange(size, dtype=np.float32) + 0.5) / size * cells
    low = place.astype(int)
    part = place - low
    part = part * part * (3 - 2 * part)
    rows = grid[low] + (grid[low + 1] - grid[low]) * part[:, None]
    smooth = rows[:, low] + (rows[:, low + 1] - rows[:, low]) * part[None]
    return np.clip(0.5 + 2.5 * (smooth - 0.5), 0, 1)


WEAVES: dict[str, Callable[..., np.ndarray] | None] = {
    "striped": _striped,
    "checked": _checked,
    "woven": _woven,
    "bricked": _bricked,
    "speckled": None,
}
"""The first colour's part, 0 to 1, for places in periods and the period's pixels; speckles have no
formula but a grid of random numbers."""


def random_texture_scene(generator: np.random.Generator) -> TextureScene:
    """A pattern whose smallest period is 11 to 22 pixels at 256 pixels."""
    colour, second = generator.choice(list(COLOURS), size=2, replace=False)
    return TextureScene(
        weave=str(generator.choice(list(WEAVES))),
        colour=str(colour),
        second_colour=str(second),
        period=float(generator.uniform(0.045, 0.085)),
        angle=float(generator.uniform(-0.1, 0.1)),
        speckles=int(generator.integers(2**31)),
    )

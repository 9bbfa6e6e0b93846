"""Lines of writing: words without meaning, from strokes like those of small letters."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS, Canvas, Point, colour_of
from standalone.model.scenes.wording import counted, random_wording, worded

BOWL = [(0.9, 0.5), (0.72, 0.86), (0.4, 1.0), (0.1, 0.75), (0.1, 0.25), (0.4, 0.0), (0.72, 0.14)]
ALPHABET: tuple[list[list[Point]], ...] = (
    [[*BOWL, (0.9, 0.5)]],  # o
    [[*BOWL[1:]]],  # c
    [[(0.1, 0.5), (0.85, 0.5), *BOWL[-1:-7:-1]]],  # e
    [[*BOWL, (0.9, 0.5)], [(0.9, 0.0), (0.9, 1.0)]],  # a
    [[*BOWL, (0.9, 0.5)], [(0.9, -0.7), (0.9, 1.0)]],  # d
    [[(0.1, 0.0), (0.1, 1.0)], [(0.1, 0.3), (0.5, 0.0), (0.85, 0.25), (0.85, 1.0)]],  # n
    [[(0.1, -0.7), (0.1, 1.0)], [(0.1, 0.3), (0.5, 0.0), (0.85, 0.25), (0.85, 1.0)]],  # h
    [[(0.1, 0.0), (0.1, 0.75), (0.45, 1.0), (0.85, 0.7)], [(0.85, 0.0), (0.85, 1.0)]],  # u
    [[(0.1, 0.0), (0.1, 1.0)], [(0.1, 0.35), (0.4, 0.05), (0.75, 0.1)]],  # r
    [[(0.45, -0.6), (0.45, 0.8), (0.75, 1.0)], [(0.15, 0.0), (0.8, 0.0)]],  # t
    [[(0.45, -0.7), (0.45, 1.0)]],  # l
    [[(0.45, 0.0), (0.45, 1.0)], [(0.45, -0.45), (0.45, -0.4)]],  # i
    [[(0.05, 0.0), (0.5, 1.0), (0.95, 0.0)]],  # v
    [[(0.1, 0.0), (0.9, 1.0)], [(0.9, 0.0), (0.1, 1.0)]],  # x
    [[(0.1, 0.0), (0.9, 0.0), (0.1, 1.0), (0.9, 1.0)]],  # z
    [[(0.8, 0.1), (0.3, 0.0), (0.2, 0.35), (0.8, 0.6), (0.7, 0.95), (0.15, 0.9)]],  # s
)
"""Strokes of each letter, from the line's middle height (y = 0) to the base line (y = 1)."""
SPACE = -1


@dataclasses.dataclass(frozen=True)
class WritingScene:
    """`rows` holds, for each line of writing, indices into `ALPHABET` or `SPACE`.

    `letter` is a letter's width and `height` that of a letter without ascender, `thickness` a
    stroke's, all in parts of the picture's side; `slant` is sideways over height.
    """

    rows: tuple[tuple[int, ...], ...]
    colour: str
    background: str
    letter: float
    height: float
    thickness: float
    slant: float
    wording: str

    @property
    def caption(self) -> str:
        """As "two lines of black writing on a white background"."""
        lines = counted(len(self.rows), "line")
        return worded(self.wording, f"{lines} of {self.colour} writing", self.background)

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        return {"count": len(self.rows), "colour": self.colour, "background": self.background}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.background))
        canvas.strokes(self._strokes(), self.thickness, colour_of(self.colour))
        return canvas.values

    def _strokes(self) -> list[list[Point]]:
        strokes, step = [], 1.3 * self.letter
        for index, row in enumerate(self.rows):
            left = 0.5 - step * len(row) / 2
            top = 0.5 + 2.9 * self.height * (index - (len(self.rows) - 1) / 2) - 0.3 * self.height
            for place, letter in enumerate(row):
                for stroke in ALPHABET[letter] if letter != SPACE else ():
                    strokes.append(self._placed(stroke, left + place * step, top))
        return strokes

    def _placed(self, stroke: list[Point], left: float, top: float) -> list[Point]:
        """A letter's stroke, with the letter's upper left corner at a place of the picture."""
        lean = self.slant * self.height
        return [(left + x * self.letter - lean * y, top + y * self.height) for x, y in stroke]


def random_writing_scene(generator: np.random.Generator) -> WritingScene:
    """One to three lines of 7 to 10 letters and spaces; fewer lines are written larger."""
    colour, background = generator.choice(list(COLOURS), size=2, replace=False)
    lines = int(generator.integers(1, 4))
    length = int(generator.integers(7, 11))
    letter = 0.9 / (1.3 * (length + 1))
    return WritingScene(
        rows=tuple(_random_row(generator, length) for _ in range(lines)),
        colour=str(colour),
        background=str(background),
        letter=letter,
        height=float(letter * generator.uniform(1.1, 1.4)),
        thickness=float(letter * generator.uniform(0.2, 0.28)),
        slant=float(generator.uniform(0, 0.2)),
        wording=random_wording(generator),
    )


def _random_row(generator: np.random.Generator, length: int) -> tuple[int, ...]:
    """Letters with one space at least two letters from either end."""
    row = [int(letter) for letter in generator.integers(len(ALPHABET), size=length)]
    row[int(generator.integers(2, length - 2))] = SPACE
    return tuple(row)

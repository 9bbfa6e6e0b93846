"""Faces, the same left and right but for the nose: a head, eyes, a mood and often hair."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS, Canvas, Point, colour_of, is_dark
from standalone.model.scenes.wording import random_wording, with_article, worded

MOODS = {"smiling": 0.16, "sad": -0.14, "surprised": None}
"""How far the middle of the mouth hangs below its corners, in half widths of the head; an open
mouth without a figure."""
STRANDS = 26
"""Hairs on each side of the parting."""


@dataclasses.dataclass(frozen=True)
class FaceScene:
    """A face from the front, on a background.

    `mood` is one of `MOODS` and `hair` a colour or "no"; `width` and `height` are the head's half
    width and half height in parts of the picture's side; `eye_distance` is from the middle, in half
    widths of the head; `hair_length` is 0 for above the ears to 1 for down to the chin.
    """

    mood: str
    colour: str
    hair: str
    background: str
    centre: Point
    width: float
    height: float
    eye_distance: float
    hair_length: float
    wording: str

    @property
    def caption(self) -> str:
        """As "a smiling yellow face with black hair on a blue background"."""
        things = with_article(f"{self.mood} {self.colour} face")
        return worded(self.wording, f"{things} with {self.hair} hair", self.background)

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("mood", "colour", "hair", "background")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        canvas = Canvas(size, colour_of(self.background))
        canvas.ellipse(self.centre, (self.width, self.height), colour_of(self.colour))
        features = colour_of("white" if is_dark(self.colour) else "black")
        for side in (-1, 1):
            self._eye(canvas, side, features)
        thick = 0.075 * self.width
        canvas.strokes([self._points([(0, -0.05), (-0.1, 0.22), (0.06, 0.24)])], thick, features)
        hang = MOODS[self.mood]
        if hang is None:
            radii = 0.16 * self.width, 0.2 * self.height
            canvas.ellipse(self._point(0, 0.55), radii, features)
        else:
            across = np.linspace(-1, 1, 9)
            mouth = [(0.42 * x, 0.52 + hang * (0.5 - x**2) * 1.4) for x in across]
            canvas.strokes([self._points(mouth)], 1.3 * thick, features)
        if self.hair != "no":
            canvas.strokes(self._strands(), 0.011, colour_of(self.hair))
        return canvas.values

    def _point(self, x: float, y: float) -> Point:
        """A place in the picture, from one in half widths and half heights of the head."""
        return self.centre[0] + x * self.width, self.centre[1] + y * self.height

    def _points(self, points: list[Point]) -> list[Point]:
        return [self._point(x, y) for x, y in points]

    def _eye(self, canvas: Canvas, side: int, features: np.ndarray) -> None:
        middle = self._point(side * self.eye_distance, -0.16)
        canvas.ellipse(middle, (0.21 * self.width, 0.15 * self.width), 255 - 0.9 * features)
        canvas.ellipse(middle, (0.11 * self.width, 0.13 * self.width), features)
        lift = {"sad": 0.1, "smiling": 0.02, "surprised": -0.05}[self.mood]
        inner, outer = side * (self.eye_distance - 0.22), side * (self.eye_distance + 0.2)
        brow = self._points([(inner, -0.42 - lift), (outer, -0.42 + lift)])
        canvas.strokes([brow], 0.075 * self.width, features)

    def _strands(self) -> list[list[Point]]:
        """Hairs from the parting down both sides, outside the face's oval where they are long."""
        strands = []
        for side in (-1, 1):
            for part in np.linspace(0, 1, STRANDS):
                angles = np.pi * np.linspace(0.02, 0.3 + 0.5 * self.hair_length, 9)
                rim, inset = 1.0 + 0.16 * part, 0.62 + 0.38 * part
                across, up = side * rim * np.sin(angles), (inset + 0.2 * part) * np.cos(angles)
                strands.append(self._points([(x, -y) for x, y in zip(across, up)]))
        return strands


def random_face_scene(generator: np.random.Generator) -> FaceScene:
    """A head in the middle; hair in four fifths of the scenes, unlike the head and background."""
    colour, background, hair = generator.choice(list(COLOURS), size=3, replace=False)
    width = float(generator.uniform(0.23, 0.29))
    return FaceScene(
        mood=str(generator.choice(list(MOODS))),
        colour=str(colour),
        hair=str(hair) if generator.random() < 0.8 else "no",
        background=str(background),
        centre=(float(generator.uniform(0.47, 0.53)), float(generator.uniform(0.5, 0.54))),
        width=width,
        height=float(width * generator.uniform(1.15, 1.35)),
        eye_distance=float(generator.uniform(0.38, 0.46)),
        hair_length=float(generator.uniform(0, 1)),
        wording=random_wording(generator),
    )

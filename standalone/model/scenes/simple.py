"""One to three equal shapes on a background: the scenes on which caption fidelity is measured."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS, SHAPES, Canvas, colour_of
from standalone.model.scenes.wording import PLAIN_WORDING, counted, random_wording, worded

TEXTURES = ("plain", "striped", "dotted")
TEXTURE_PERIOD = 0.11


@dataclasses.dataclass(frozen=True)
class SimpleScene:
    """`count` equal shapes of one colour on a background of another.

    `positions` are centres and `radius` the shapes' half width, both in parts of the picture's
    side; `angle` in radians; `texture` is drawn into the shapes; `shade` darkens the background
    from top to bottom by that part (0: flat); `wording` is the caption's form, of `WORDINGS`.
    """

    shape: str
    colour: str
    background: str
    count: int
    texture: str
    positions: tuple[tuple[float, float], ...]
    radius: float
    angle: float
    shade: float
    wording: str = PLAIN_WORDING

    @property
    def caption(self) -> str:
        """The scene in words: "two striped red circles on a blue background"."""
        texture = "" if self.texture == "plain" else f"{self.texture} "
        ground = self.background + (" gradient" if self.shade else "")
        thing = f"{texture}{self.colour} {self.shape}"
        return worded(self.wording, counted(self.count, thing), ground)

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("colour", "background", "shape", "count", "texture")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        y = (np.arange(size, dtype=np.float32) + 0.5) / size
        shade = 1 - self.shade * y[:, None, None]
        canvas = Canvas(size, colour_of(self.background) * shade)
        ink = self._textured if self.texture != "plain" else colour_of(self.colour)
        for centre in self.positions:
            canvas.shape(self.shape, centre, self.radius, self.angle, ink)
        return canvas.values

    def _textured(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The colour of a shape (rows, columns, 3) at places from its centre."""
        ink, period = colour_of(self.colour), TEXTURE_PERIOD
        other = texture_colour(self.colour)
        if self.texture == "striped":
            mask = np.sin(x * 2 * np.pi / period) > 0.35
        else:
            mask = np.hypot(x % period - period / 2, y % period - period / 2) < 0.03
        return np.where(mask[..., None], other, ink)


def texture_colour(colour: str) -> np.ndarray:
    """The other colour (3,) of a texture in a shape of that colour."""
    ink = colour_of(colour)
    # towards white on dark inks, towards black on light ones, so that the texture is seen
    return ink * 0.45 if ink.mean() > 110 else ink * 0.45 + 140


def random_simple_scene(generator: np.random.Generator) -> SimpleScene:
    """Mostly one plain shape on a flat ground."""
    colour, background = generator.choice(list(COLOURS), size=2, replace=False)
    count = int(generator.choice([1, 2, 3], p=[0.86, 0.07, 0.07]))
    texture = str(generator.choice(TEXTURES, p=[0.94, 0.03, 0.03]))
    radius = generator.uniform(*{1: (0.27, 0.33), 2: (0.17, 0.2), 3: (0.125, 0.145)}[count])
    spots = {1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}[count]
    jitter = 0.05 if count == 1 else 0.02
    positions = tuple(
        (float(x + generator.uniform(-jitter, jitter)), float(0.5 + generator.uniform(-0.05, 0.05)))
        for x in spots
    )
    return SimpleScene(
        shape=str(generator.choice(SHAPES)),
        colour=str(colour),
        background=str(background),
        count=count,
        texture=texture,
        positions=positions,
        radius=float(radius),
        angle=float(generator.uniform(-0.1, 0.1)),
        shade=float(generator.uniform(0.25, 0.5)) if generator.random() < 0.05 else 0.0,
        wording=random_wording(generator),
    )

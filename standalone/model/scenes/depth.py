"""A sharp object in front of lights that are out of focus, as a fast lens shows them."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS, SHAPES, Canvas, Point, colour_of
from standalone.model.scenes.wording import with_article


@dataclasses.dataclass(frozen=True)
class Light:
    """A blurred disc; centre, radius and blur in parts of the picture's side, strength 0 to 1."""

    centre: Point
    radius: float
    blur: float
    strength: float


@dataclasses.dataclass(frozen=True)
class DepthScene:
    """One shape in front of `lights` of `second_colour` on a background that darkens downwards."""

    shape: str
    colour: str
    second_colour: str
    background: str
    centre: Point
    radius: float
    angle: float
    lights: tuple[Light, ...]

    @property
    def caption(self) -> str:
        """As "a red circle in front of blurred blue lights on a black background"."""
        thing = with_article(f"{self.colour} {self.shape}")
        ground = with_article(self.background)
        return f"{thing} in front of blurred {self.second_colour} lights on {ground} background"

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        names = ("shape", "colour", "second_colour", "background")
        return {name: getattr(self, name) for name in names}

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255."""
        y = (np.arange(size, dtype=np.float32) + 0.5) / size
        canvas = Canvas(size, colour_of(self.background) * (1 - 0.25 * y[:, None, None]))
        ground, light_ink = colour_of(self.background), colour_of(self.second_colour)
        for light in self.lights:
            ink = ground + (light_ink - ground) * light.strength
            canvas.ellipse(light.centre, (light.radius, light.radius), ink, light.blur)
        canvas.shape(self.shape, self.centre, self.radius, self.angle, colour_of(self.colour))
        return canvas.values


def random_depth_scene(generator: np.random.Generator) -> DepthScene:
    """A large object in the middle; lights of one depth have about one size and blur."""
    colour, second, background = generator.choice(list(COLOURS), size=3, replace=False)
    radius, count = generator.uniform(0.05, 0.11), int(generator.integers(9, 17))
    lights = tuple(
        Light(
            centre=(float(generator.uniform(0, 1)), float(generator.uniform(0, 1))),
            radius=float(radius * generator.uniform(0.8, 1.2)),
            blur=float(radius * generator.uniform(0.5, 0.9)),
            strength=float(generator.uniform(0.45, 0.95)),
        )
        for _ in range(count)
    )
    return DepthScene(
        shape=str(generator.choice(SHAPES)),
        colour=str(colour),
        second_colour=str(second),
        background=str(background),
        centre=tuple(float(value) for value in generator.uniform(0.45, 0.55, 2)),
        radius=float(generator.uniform(0.24, 0.3)),
        angle=float(generator.uniform(-0.1, 0.1)),
        lights=lights,
    )

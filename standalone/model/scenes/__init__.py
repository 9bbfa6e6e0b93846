"""Draws captioned pictures: the training data of the small model.

A scene is a value that can be drawn at any size and put into words; both are pure functions of a
numpy generator, so that data, captions and held-out sets are reproducible from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from standalone.model.scenes.depth import random_depth_scene
from standalone.model.scenes.faces import random_face_scene
from standalone.model.scenes.gradients import random_gradient_scene
from standalone.model.scenes.lines import random_line_scene
from standalone.model.scenes.related import random_related_scene
from standalone.model.scenes.simple import SimpleScene, random_simple_scene
from standalone.model.scenes.textures import random_texture_scene
from standalone.model.scenes.writing import random_writing_scene

__all__ = ["KINDS", "Scene", "SimpleScene", "draw", "random_scene", "random_simple_scene"]


class Scene(Protocol):
    """What every kind of scene has.

    `parts` are the answers that the caption gives to questions like "colour"; `paint` gives the
    picture in float32 (size, size, 3), 0 to 255.
    """

    @property
    def caption(self) -> str: ...

    @property
    def parts(self) -> dict[str, object]: ...

    def paint(self, size: int) -> np.ndarray: ...


KINDS: dict[str, tuple[float, Callable[[np.random.Generator], Scene]]] = {
    "simple": (0.56, random_simple_scene),
    "related": (0.17, random_related_scene),
    "depth": (0.05, random_depth_scene),
    "face": (0.07, random_face_scene),
    "lines": (0.05, random_line_scene),
    "texture": (0.04, random_texture_scene),
    "gradient": (0.02, random_gradient_scene),
    "writing": (0.04, random_writing_scene),
}
"""Each kind's part of the training data, and what draws one at random."""


def random_scene(generator: np.random.Generator) -> Scene:
    """A scene drawn from the training distribution: more than half are simple ones."""
    kind = generator.choice(list(KINDS), p=[part for part, _ in KINDS.values()])
    return KINDS[str(kind)][1](generator)


def draw(scene: Scene, size: int) -> np.ndarray:
    """The picture: uint8 (size, size, 3)."""
    return np.clip(scene.paint(size), 0, 255).astype(np.uint8)

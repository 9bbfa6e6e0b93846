"""Draws captioned pictures: the training data of the small model.

A scene is a value that can be drawn at any size and put into words; both are pure functions of a
numpy generator, so that data, captions and held-out sets are reproducible from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from standalone.model.scenes.composed import (
    ComposedScene,
    random_landscape_scene,
    random_mirrored_scene,
    random_pair_scene,
    random_several_scene,
    random_thing_scene,
)
from standalone.model.scenes.related import random_related_scene
from standalone.model.scenes.simple import SimpleScene, random_simple_scene

__all__ = [
    "KINDS", "ComposedScene", "Scene", "SimpleScene", "draw", "random_kind", "random_scene",
    "random_simple_scene",
]  # fmt: skip


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
    "simple": (0.14, random_simple_scene),
    "related": (0.06, random_related_scene),
    "thing": (0.352, random_thing_scene),
    "landscape": (0.128, random_landscape_scene),
    "pair": (0.176, random_pair_scene),
    "several": (0.104, random_several_scene),
    "mirrored": (0.04, random_mirrored_scene),
}
"""Each kind's part of the training data, and what draws one at random."""
_NAMES, _SHARES = list(KINDS), [share for share, _ in KINDS.values()]


def random_kind(generator: np.random.Generator) -> str:
    """One of `KINDS`, as often as in the training data."""
    return _NAMES[generator.choice(len(_NAMES), p=_SHARES)]


def random_scene(generator: np.random.Generator) -> Scene:
    """A scene drawn from the training distribution."""
    return KINDS[random_kind(generator)][1](generator)


def draw(scene: Scene, size: int) -> np.ndarray:
    """The picture: uint8 (size, size, 3)."""
    return np.clip(scene.paint(size), 0, 255).astype(np.uint8)

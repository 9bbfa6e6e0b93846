"""Many scenes as arrays, from which `drawing` makes pictures of all of them at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from standalone.model.scenes import Scene
from standalone.model.scenes.canvas import SHAPES
from standalone.model.scenes.composed import ComposedScene
from standalone.model.scenes.grounds import GROUND_COLOURS, GROUNDS, Ground
from standalone.model.scenes.related import RelatedScene
from standalone.model.scenes.simple import TEXTURES, SimpleScene, texture_colour
from standalone.model.scenes.sprites import index_of

MOST_OBJECTS = 9
FIRST_SHAPE = 1000
"""Kinds of objects from here on are `SHAPES`, those below are sprites; -1 is no object."""
COLUMNS = ("kind", "x", "y", "radius", "angle", "flip", "standing", "texture",
           "red", "green", "blue", "other_red", "other_green", "other_blue")  # fmt: skip
NUMBERS = 4
"""Of a `Ground`, at most."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """`grounds` (scenes,) as places in `GROUNDS`, `colours` (scenes, 2, 3) from 0 to 1, `numbers`
    (scenes, NUMBERS) and `objects` (scenes, MOST_OBJECTS, columns), all on the processor.
    """

    grounds: np.ndarray
    colours: np.ndarray
    numbers: np.ndarray
    objects: np.ndarray

    def __len__(self) -> int:
        return len(self.grounds)

    def __getitem__(self, part: slice) -> Batch:
        arrays = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Batch(*(array[part] for array in arrays))


def batch_of(scenes: Sequence[Scene]) -> Batch:
    """The scenes as arrays."""
    count = len(scenes)
    grounds, colours = np.zeros(count, np.int64), np.zeros((count, 2, 3), np.float32)
    numbers = np.zeros((count, NUMBERS), np.float32)
    objects = np.full((count, MOST_OBJECTS, len(COLUMNS)), -1, np.float32)
    for index, scene in enumerate(scenes):
        ground, rows = _description(scene)
        grounds[index] = GROUNDS.index(ground.kind)
        for place, name in enumerate(ground.colours):
            colours[index, place] = _colour(name)
        numbers[index, : len(ground.numbers)] = ground.numbers
        for place, row in enumerate(rows):
            objects[index, place] = row
    return Batch(grounds, colours, numbers, objects)


def columns(objects: np.ndarray | torch.Tensor, *names: str):
    """Those columns of objects (..., columns), each (...)."""
    return tuple(objects[..., COLUMNS.index(name)] for name in names)


def _description(scene: Scene) -> tuple[Ground, list[tuple[float, ...]]]:
    """The ground, and a row of `COLUMNS` for each object."""
    if isinstance(scene, ComposedScene):
        return scene.ground, [
            (index_of(thing.thing, scene.style), thing.x, thing.y, thing.radius, thing.angle,
             -1.0 if thing.flipped else 1.0, float(thing.standing), *[0.0] * 7)
            for thing in scene.things
        ]  # fmt: skip
    if isinstance(scene, SimpleScene):
        kind = "shade" if scene.shade else "plain"
        ground = Ground(kind, (scene.background,), scene.background, (scene.shade,))
        ink = (*_colour(scene.colour), *(texture_colour(scene.colour) / 255))
        return ground, [
            _shape_row(scene.shape, centre, scene.radius, scene.angle, scene.texture, ink)
            for centre in scene.positions
        ]
    if isinstance(scene, RelatedScene):
        ground = Ground("plain", (scene.background,), scene.background)
        return ground, [
            _shape_row(each.shape, each.centre, each.radius, each.angle, TEXTURES[0],
                       (*_colour(each.colour), 0.0, 0.0, 0.0))
            for each in scene.objects
        ]  # fmt: skip
    raise TypeError(f"cannot draw a batch of {type(scene).__name__}")


def _shape_row(
    shape: str,
    centre: tuple[float, float],
    radius: float,
    angle: float,
    texture: str,
    inks: tuple[float, ...],
) -> tuple[float, ...]:
    kind = FIRST_SHAPE + SHAPES.index(shape)
    return (kind, *centre, radius, angle, 1.0, 0.0, float(TEXTURES.index(texture)), *inks)


def _colour(name: str) -> np.ndarray:
    return np.array(GROUND_COLOURS[name], np.float32) / 255

"""Chunks of scenes for training: what is drawn, the captions' numbers, and what the captions
say."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes import random_scene
from standalone.model.scenes.batch import Batch, batch_of
from standalone.model.scenes.canvas import COLOURS, SHAPES
from standalone.model.scenes.grounds import GROUND_COLOURS, GROUNDS
from standalone.model.scenes.related import DIRECTIONS, LINES
from standalone.model.scenes.simple import TEXTURES
from standalone.model.scenes.things import STYLES, THINGS
from standalone.model.scenes.wording import NUMBERS
from standalone.model.words import LENGTH, tokens_of

_NAMES = tuple(thing.name for thing in THINGS)
QUESTIONS: dict[str, tuple] = {
    "thing": _NAMES,
    "second_thing": _NAMES,
    "style": STYLES,
    "shape": SHAPES,
    "second_shape": SHAPES,
    "third_shape": SHAPES,
    "colour": tuple(COLOURS),
    "second_colour": tuple(COLOURS),
    "third_colour": tuple(COLOURS),
    "texture": TEXTURES,
    "count": tuple(NUMBERS),
    "relation": ("none", *DIRECTIONS, *LINES, "row", "column", "grid", "mirrored"),
    "ground": GROUNDS,
    "background": tuple(GROUND_COLOURS),
    "second_background": tuple(GROUND_COLOURS),
}
"""What the text stage asks of a caption, and the possible answers: the `parts` of scenes."""
NO_ANSWER = -100
"""For a question that a caption does not answer; cross entropy passes over it."""


@dataclasses.dataclass(frozen=True)
class Captioned:
    """Scenes with their captions: `tokens` (scenes, LENGTH), `lengths` (scenes,) before the
    padding, `answers` (scenes, QUESTIONS) as places among the possible ones.
    """

    drawn: Batch
    tokens: np.ndarray
    lengths: np.ndarray
    answers: np.ndarray


def captioned_chunk(count: int, seed: int, number: int) -> Captioned:
    """That many scenes, the chunk with that number of a seed's."""
    generator = np.random.default_rng([seed, number])
    return captioned([random_scene(generator) for _ in range(count)])


def captioned(scenes: list) -> Captioned:
    """Scenes as a chunk."""
    tokens = np.zeros((len(scenes), LENGTH), np.int64)
    lengths = np.zeros(len(scenes), np.int64)
    answers = np.full((len(scenes), len(QUESTIONS)), NO_ANSWER)
    places = {name: place for place, name in enumerate(QUESTIONS)}
    for index, scene in enumerate(scenes):
        tokens[index], lengths[index] = tokens_of(scene.caption)
        for name, answer in scene.parts.items():
            answers[index, places[name]] = QUESTIONS[name].index(answer)
    return Captioned(batch_of(scenes), tokens, lengths, answers)

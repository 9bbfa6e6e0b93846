"""Things on backgrounds and in landscapes: alone, beside each other, in rows, grids and pairs."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.grounds import Ground, random_background, random_land
from standalone.model.scenes.related import DIRECTIONS
from standalone.model.scenes.things import STYLES, THINGS, random_things
from standalone.model.scenes.wording import PLAIN_WORDING, counted, random_wording, worded

FLAT_SHARE = 0.42
SHADOW = 0.4
"""How dark the ground is under what stands in a landscape."""
FLAT_WORDS = (("a flat drawing of {}", 0.75), ("a flat picture of {}", 0.25))
SOLID_WORDS = (("{}", 0.62), ("a 3d picture of {}", 0.23), ("a 3d render of {}", 0.15))
"""The style in a caption and how often it is so put; flat is always said."""
GRID_SIDES = {4: 2, 9: 3}
SPACING = {2: (0.46, 0.19, 0.22), 3: (0.32, 0.13, 0.15), 4: (0.245, 0.1, 0.115)}
"""Of that many equal things in a line: distance of their middles, least and largest half width."""
GRID_SPACING = {4: (0.46, 0.18, 0.21), 9: (0.315, 0.125, 0.145)}


@dataclasses.dataclass(frozen=True)
class PlacedThing:
    """One of `THINGS` by its index, with its middle and half width in parts of the picture's side.

    What is `standing` has its foot at `y` and casts a shadow. `angle` is in radians.
    """

    thing: int
    x: float
    y: float
    radius: float
    angle: float = 0.0
    flipped: bool = False
    standing: bool = False


@dataclasses.dataclass(frozen=True)
class ComposedScene:
    """Things of one style on a ground; `relation` is the first one's to the second, the form of
    several equal ones ("row", "column", "grid", "mirrored"), or empty.
    """

    style: str
    things: tuple[PlacedThing, ...]
    relation: str
    ground: Ground
    caption: str

    @property
    def parts(self) -> dict[str, object]:
        """What the caption says, by the names of the text stage's questions."""
        first, last = self.things[0].thing, self.things[-1].thing
        said = {"thing": THINGS[first].name, "style": self.style, "count": len(self.things)}
        if last != first:
            said["second_thing"] = THINGS[last].name
        return said | {"relation": self.relation or "none"} | self.ground.parts

    def paint(self, size: int) -> np.ndarray:
        """Float32 (size, size, 3), 0 to 255.

        Raises `FileNotFoundError` where the sprites have not been fetched.
        """
        from standalone.model.scenes.drawing import draw_one  # torch is slow to import

        return draw_one(self, size)


def random_thing_scene(generator: np.random.Generator) -> ComposedScene:
    """One thing on a plain or patterned background."""
    (thing,) = random_things(generator)
    radius, (x, y) = generator.uniform(0.3, 0.41), 0.5 + generator.uniform(-0.04, 0.04, 2)
    placed = PlacedThing(thing, float(x), float(y), float(radius), _tilt(generator))
    return _on_background(generator, [placed], "", THINGS[thing].words, plain_share=0.62)


def random_landscape_scene(generator: np.random.Generator) -> ComposedScene:
    """One thing in a landscape."""
    (thing,) = random_things(generator)
    radius, foot = generator.uniform(0.24, 0.32), generator.uniform(0.8, 0.9)
    x = 0.5 + generator.uniform(-0.12, 0.12)
    placed = PlacedThing(thing, float(x), float(foot), float(radius), standing=True)
    return _in_land(generator, [placed], "", THINGS[thing].words)


def random_pair_scene(generator: np.random.Generator) -> ComposedScene:
    """Two different things in a relation."""
    pair = random_things(generator, 2)
    relation = list(DIRECTIONS)[generator.choice(4, p=[0.32, 0.32, 0.18, 0.18])]
    across, down = DIRECTIONS[relation]
    words = f"{THINGS[pair[0]].words} {relation} {THINGS[pair[1]].words}"
    placed = []
    if across and generator.random() < 0.45:
        foot = generator.uniform(0.8, 0.9)
        for thing, spot in zip(pair, (0.235, -0.235)):
            x = 0.5 + (spot + generator.uniform(-0.02, 0.02)) * across
            y, radius = foot + generator.uniform(-0.02, 0.02), generator.uniform(0.19, 0.225)
            placed.append(PlacedThing(thing, float(x), float(y), float(radius), standing=True))
        return _in_land(generator, placed, relation, words)
    for thing, spot in zip(pair, (0.24, -0.24)):
        side, along = generator.uniform(-0.04, 0.04), spot + generator.uniform(-0.015, 0.015)
        x, y = (0.5 + along * s + side * (1 - abs(s)) for s in (across, down))
        radius = generator.uniform(0.19, 0.23)
        placed.append(PlacedThing(thing, float(x), float(y), float(radius), _tilt(generator)))
    return _on_background(generator, placed, relation, words, plain_share=0.75)


def random_several_scene(generator: np.random.Generator) -> ComposedScene:
    """Two to four equal things in a row or a column, or four or nine in a grid."""
    (thing,) = random_things(generator, counted=True)
    form = ("row", "column", "grid")[generator.choice(3, p=[0.5, 0.15, 0.35])]
    if form == "grid":
        count = int(generator.choice(list(GRID_SIDES)))
        gap, least, most = GRID_SPACING[count]
        along = (np.arange(GRID_SIDES[count]) - (GRID_SIDES[count] - 1) / 2) * gap
        spots = [(x, y) for y in along for x in along]
    else:
        count = int(generator.choice(list(SPACING), p=[0.35, 0.45, 0.2]))
        gap, least, most = SPACING[count]
        spots = [(x, 0.0) for x in (np.arange(count) - (count - 1) / 2) * gap]
        spots = [(y, x) for x, y in spots] if form == "column" else spots
    words, radius = _several_words(generator, thing, count, form), generator.uniform(least, most)
    if form == "row" and generator.random() < 0.25:
        foot = generator.uniform(0.8, 0.88)
        standing = [
            PlacedThing(thing, float(0.5 + x), float(foot), float(radius), standing=True)
            for x, _ in spots
        ]
        return _in_land(generator, standing, form, words)
    (drift_x, drift_y), angle = generator.uniform(-0.01, 0.01, 2), _tilt(generator)
    placed = [
        PlacedThing(thing, float(0.5 + x + drift_x), float(0.5 + y + drift_y), float(radius), angle)
        for x, y in spots
    ]
    return _on_background(generator, placed, form, words, plain_share=0.75)


def random_mirrored_scene(generator: np.random.Generator) -> ComposedScene:
    """A thing and its mirror image."""
    (thing,) = random_things(generator, counted=True)
    radius, y = generator.uniform(0.2, 0.225), 0.5 + generator.uniform(-0.03, 0.03)
    turned = bool(generator.random() < 0.5)
    placed = [
        PlacedThing(thing, 0.5 + side * 0.245, float(y), float(radius), flipped=flipped)
        for side, flipped in ((-1, turned), (1, not turned))
    ]
    words = f"two mirrored {THINGS[thing].plural}"
    return _on_background(generator, placed, "mirrored", words, plain_share=0.75)


def _several_words(generator: np.random.Generator, thing: int, count: int, form: str) -> str:
    words, u = counted(count, THINGS[thing].name, THINGS[thing].plural), generator.random()
    if form == "grid":
        return f"{words} in a grid" if u < 0.75 else f"a grid of {words}"
    return f"{words} in a {form}" if form == "column" or u < 0.5 else words


def _tilt(generator: np.random.Generator) -> float:
    return float(generator.uniform(-0.06, 0.06))


def _styled(generator: np.random.Generator, words: str) -> tuple[str, str]:
    """A style, and the words with it."""
    flat = generator.random() < FLAT_SHARE
    forms, shares = zip(*(FLAT_WORDS if flat else SOLID_WORDS))
    return STYLES[flat], forms[generator.choice(len(forms), p=shares)].format(words)


def _on_background(
    generator: np.random.Generator,
    placed: list[PlacedThing],
    relation: str,
    words: str,
    plain_share: float,
) -> ComposedScene:
    ground = random_background(generator, plain_share)
    style, things = _styled(generator, words)
    # a style and most of the wordings would give "a picture of a 3d picture"
    wording = random_wording(generator) if things == words else PLAIN_WORDING
    caption = worded(wording, things, ground.words)
    return ComposedScene(style, tuple(placed), relation, ground, caption)


def _in_land(
    generator: np.random.Generator, placed: list[PlacedThing], relation: str, words: str
) -> ComposedScene:
    ground = random_land(generator)
    style, things = _styled(generator, words)
    return ComposedScene(style, tuple(placed), relation, ground, f"{things} {ground.words}")

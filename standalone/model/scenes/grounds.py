"""What lies behind the things of composed scenes: colours, patterns and landscapes."""

from __future__ import annotations

import dataclasses

import numpy as np

from standalone.model.scenes.canvas import COLOURS

PASTELS: dict[str, tuple[int, int, int]] = {
    "pink": (255, 190, 205),
    "light blue": (170, 216, 246),
    "light green": (186, 230, 180),
    "light yellow": (253, 241, 180),
    "beige": (241, 228, 204),
    "gray": (150, 152, 157),
    "teal": (34, 152, 152),
    "lavender": (207, 192, 242),
    "navy": (28, 38, 94),
    "brown": (134, 86, 54),
}
GROUND_COLOURS = COLOURS | PASTELS
_NAMES = list(GROUND_COLOURS)
_VALUES = np.array(list(GROUND_COLOURS.values()), float) / 255
LEAST_CONTRAST = 0.35
"""Sum of the differences of two colours of a ground, channels from 0 to 1."""
PATTERNS: dict[str, tuple[float, str]] = {
    "gradient": (0.32, "{0} to {1} gradient"),
    "stripes": (0.18, "{0} and {1} striped"),
    "diagonal": (0.14, "diagonally striped {0} and {1}"),
    "checks": (0.18, "{0} and {1} checkered"),
    "dots": (0.18, "{0} dotted {1}"),
}
"""Each pattern's share among them, and its words."""


@dataclasses.dataclass(frozen=True)
class Land:
    """A landscape: its captions, the first of them the usual one, and its share among them.

    Colours are of the sky above and at the horizon, of the ground there and below, and of the sun
    or moon, whose `radius` is in parts of the picture's side.
    """

    captions: tuple[str, ...]
    share: float
    colours: tuple[tuple[int, int, int], ...]
    radius: float


LANDS = {
    "meadow": Land(
        ("in a meadow", "in a green meadow under a blue sky", "on a green hill"),
        0.34,
        ((70, 150, 235), (196, 230, 252), (128, 196, 84), (66, 140, 52), (255, 236, 120)),
        0.075,
    ),
    "beach": Land(
        ("on a beach", "on a sandy beach by the sea"),
        0.16,
        ((96, 176, 240), (206, 236, 252), (246, 224, 168), (228, 192, 124), (255, 240, 150)),
        0.07,
    ),
    "snow": Land(
        ("in the snow", "in a snowy winter landscape"),
        0.16,
        ((150, 186, 222), (224, 236, 246), (244, 248, 253), (206, 220, 238), (255, 252, 232)),
        0.06,
    ),
    "sunset": Land(
        ("at sunset", "in a desert at sunset"),
        0.18,
        ((94, 60, 140), (255, 160, 84), (206, 118, 66), (132, 66, 50), (255, 228, 128)),
        0.105,
    ),
    "night": Land(
        ("at night", "on a hill at night under the moon"),
        0.16,
        ((14, 18, 52), (52, 66, 124), (40, 74, 66), (18, 38, 40), (246, 242, 214)),
        0.075,
    ),
}
GROUNDS = ("plain", "shade", *PATTERNS, *LANDS)
"""Every kind of ground; "shade" is a colour that gets darker downwards."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """One of `GROUNDS`: up to two colours by name, and the words for it in a caption.

    `numbers` are of a shade how much darker it gets; of a pattern its periods and where it begins;
    of a land the horizon's height, the phase of its hills and the place of its sun.
    """

    kind: str
    colours: tuple[str, ...]
    words: str
    numbers: tuple[float, ...] = ()

    @property
    def is_land(self) -> bool:
        """Whether it is a landscape, on which things stand."""
        return self.kind in LANDS

    @property
    def parts(self) -> dict[str, object]:
        """What it is, as answers to the text stage's questions."""
        names = ("background", "second_background")
        return {"ground": self.kind, **dict(zip(names, self.colours))}


def random_background(generator: np.random.Generator, plain_share: float) -> Ground:
    """A colour, or with what is left of that share a pattern of two that differ enough."""
    while True:
        first, second = generator.choice(len(_NAMES), 2, replace=False)
        if np.abs(_VALUES[first] - _VALUES[second]).sum() >= LEAST_CONTRAST:
            break
    colours = (_NAMES[first], _NAMES[second])
    if generator.random() < plain_share:
        return Ground("plain", colours[:1], colours[0])
    shares = [share for share, _ in PATTERNS.values()]
    kind = list(PATTERNS)[generator.choice(len(PATTERNS), p=shares)]
    begin = 0.0 if kind in ("checks", "dots") else generator.random()
    numbers = (float(generator.choice([6, 8])), float(begin))
    return Ground(kind, colours, PATTERNS[kind][1].format(*colours), numbers)


def random_land(generator: np.random.Generator) -> Ground:
    """A landscape, in its usual words in more than half of the cases."""
    kind = list(LANDS)[generator.choice(len(LANDS), p=[land.share for land in LANDS.values()])]
    horizon, phase = generator.uniform(0.56, 0.66), generator.uniform(0, 2 * np.pi)
    sun_x = generator.uniform(*((0.12, 0.24) if generator.random() < 0.5 else (0.76, 0.88)))
    sun_y = generator.uniform(*((0.3, 0.42) if kind == "sunset" else (0.12, 0.22)))
    captions = LANDS[kind].captions
    words = captions[0] if generator.random() < 0.6 else str(generator.choice(captions))
    return Ground(kind, (), words, (float(horizon), float(phase), float(sun_x), float(sun_y)))

"""The things that composed scenes show: their names, how often they come, and their pictures'
codes.

`things.txt` has a line for each: the emoji's code points, its name and its weight among the others.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from standalone.model.scenes.wording import with_article

STYLES = ("3d", "flat")
"""3D is drawn where a caption names no style."""
PLURALS = {
    "mouse": "mice", "fox": "foxes", "fish": "fish", "sheep": "sheep", "butterfly": "butterflies",
    "octopus": "octopuses", "bus": "buses", "strawberry": "strawberries", "tomato": "tomatoes",
    "peach": "peaches", "corn": "corn", "leaf": "leaves", "church": "churches",
}  # fmt: skip
"""Of names that take more than an s."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """One of `THINGS`; `counted` is False for "grapes", which have neither article nor number."""

    name: str
    code: str
    weight: int
    counted: bool

    @property
    def words(self) -> str:
        """As "a fox"."""
        return with_article(self.name) if self.counted else self.name

    @property
    def plural(self) -> str:
        """As "foxes"."""
        return PLURALS.get(self.name, f"{self.name}s")


def _read_things() -> tuple[Thing, ...]:
    lines = Path(__file__).with_name("things.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for code, name, weight in map(str.split, lines):
        words = name.rstrip("*").replace("%", " ")
        found.append(Thing(words, code, int(weight), counted=not name.endswith("*")))
    return tuple(found)


THINGS = _read_things()
_WEIGHTS = np.array([thing.weight for thing in THINGS], float)
_SHARES = _WEIGHTS / _WEIGHTS.sum()


def random_things(
    generator: np.random.Generator, count: int = 1, counted: bool = False
) -> list[int]:
    """Indices of that many different things; with `counted` only such as have a number."""
    shares = _SHARES * [thing.counted for thing in THINGS] if counted else _SHARES
    drawn = generator.choice(len(THINGS), count, replace=False, p=shares / shares.sum())
    return [int(index) for index in drawn]

"""How scenes are put into words."""

from __future__ import annotations

import numpy as np

PLAIN_WORDING = "{things} on {a_ground} background"
WORDINGS = (
    PLAIN_WORDING,
    "a picture of {things} on {a_ground} background",
    "a drawing of {things}, {ground} background",
    "{things}, {ground} background",
    "{a_ground} background with {things}",
    "{things} in front of {a_ground} background",
)
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 9: "nine"}
CONSONANTS = ("unicorn", "ufo")
"""Words that begin with a vowel's letter and the sound of "you"."""


def with_article(words: str) -> str:
    """The words after "a" or "an"."""
    vowel = words[0] in "aeiou" and not words.startswith(CONSONANTS)
    return f"{'an' if vowel else 'a'} {words}"


def counted(count: int, thing: str, plural: str = "") -> str:
    """A number of a thing: "a red circle", "two red circles"."""
    return with_article(thing) if count == 1 else f"{NUMBERS[count]} {plural or f'{thing}s'}"


def worded(wording: str, things: str, ground: str) -> str:
    """A caption: what is seen and the colour of the background, in one of `WORDINGS`."""
    return wording.format(things=things, ground=ground, a_ground=with_article(ground))


def random_wording(generator: np.random.Generator) -> str:
    """The plain wording in 58 % of the cases, else one of the others."""
    return PLAIN_WORDING if generator.random() < 0.5 else str(generator.choice(WORDINGS))

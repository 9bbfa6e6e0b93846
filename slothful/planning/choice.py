"""One control that chooses: settings for a wish, by what they change and by what they take here.

What settings change is known from the study (docs/effects/contest.csv), and is the same everywhere.
What they take is not: it follows from the U-Net, the sizes, the steps and the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..settings.methods import DEEP, NO_METHOD, SLOTHFUL
from ..settings.parameter import SettingsError, echo
from ..settings.settings import Settings
from .cost import NO_COST, UnetShape, estimate
from .counts import tokens_of
from .moment import Moment
from .seconds import NO_SECONDS, MachineCosts, estimate_seconds
from .site import grid_of

OFF, GENTLE, BALANCED, STRONG, CUSTOM = LEVELS = ("off", "gentle", "balanced", "strong", "custom")
"""The wishes. "custom" is none: what was set stays."""

MOST_CHANGE = {GENTLE: 0.4, BALANCED: 0.7, STRONG: 1.0}
"""How much a wish lets an image change, relative to what half as many steps do to it."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Settings that the study has looked at, and how much they change an image, relative to what
    half as many steps do to it: with as many tokens at the finest attention as an image has in
    SD1.5 at 256x256 (`small`), and at 512x512 (`large`), where a method's is smaller.
    """

    small: float
    large: float
    settings: Mapping[str, Any]

    def change(self, tokens: int) -> float:
        """With so many tokens at the finest self-attention."""
        return self.large if tokens >= LARGE else self.small


LARGE = 64 * 64
"""Tokens at the finest self-attention from which on changes are those of large images."""


def _asleep(small: float, large: float, every: float, **others: Any) -> Candidate:
    asleep = {"method": NO_METHOD, "sleep": DEEP, "sleep_every": every, **others}
    return Candidate(small, large, asleep)


FRONT = (
    _asleep(0.26, 0.28, 2),
    _asleep(0.75, 0.59, 3),
    _asleep(1.66, 0.60, 2, method=SLOTHFUL),
    _asleep(1.99, 0.83, 3, method=SLOTHFUL),
)
"""Those that change images no more than half the steps do at one of the sizes, but for what takes
more and changes more than another one on every machine. Changes are from
docs/effects/contest.csv: Euler, 20 steps, captions of all kinds, the images that there are of
both.
"""

WORTH = 0.01
"""A part of what nothing takes, by which the choice must be less: less cannot be told apart."""

WORTH_A_METHOD = 0.1
"""The same for a method beside sleep where the machine was not measured: what a method adds besides
arithmetic is more than that on a machine whose GPU waits for its host.
"""

Passes = Sequence[tuple[str, int, int, Sequence[Moment]]]
"""The (name, width, height, moments) of an image's passes, sizes in pixels."""


def check_level(level: Any) -> str:
    """One of `LEVELS`. Raises `SettingsError` for anything else."""
    if not isinstance(level, str) or level.strip().lower() not in LEVELS:
        raise SettingsError(f"lazy must be one of {', '.join(LEVELS)}, got {echo(level)}")
    return level.strip().lower()


def choose(
    level: str, shape: UnetShape | None, passes: Passes, costs: MachineCosts | None = None
) -> Settings:
    """The settings of a wish for an image of these passes: of those that change it no more than the
    wish allows, the ones that take least. `costs` are those of the U-Net on this machine; without
    them arithmetic decides. Never takes what would be slower than nothing.

    Without a `shape`, as of a model that is not supported, nothing is chosen. Raises
    `SettingsError` where the level is none or "custom", of which nothing follows.
    """
    level = check_level(level)
    if level == CUSTOM:
        raise SettingsError("lazy must be off, gentle, balanced or strong to choose, got 'custom'")
    nothing = Settings(method=NO_METHOD)
    if level == OFF or shape is None:
        return nothing
    whole = _taken(nothing, shape, passes, costs)
    best, least = nothing, whole * (1.0 - WORTH)
    # sleep first: a method beside it has to be worth its own trouble
    allowed = _allowed(MOST_CHANGE[level], shape, _tokens(shape, passes))
    for settings in sorted(allowed, key=lambda each: each.method != NO_METHOD):
        part = 0.0 if settings.method == NO_METHOD else WORTH if costs else WORTH_A_METHOD
        taken = _taken(settings, shape, passes, costs)
        if taken + part * whole < least:
            best, least = settings, taken
    return best


def _tokens(shape: UnetShape, passes: Passes) -> int:
    """At the finest self-attention, in the smallest of the passes."""
    level = min((each.site.level for each in shape.sites), default=1)
    return min((tokens_of(grid_of(w, h, level)) for _, w, h, _ in passes), default=0)


def _allowed(most: float, shape: UnetShape, tokens: int) -> Iterator[Settings]:
    if not shape.deep:
        return
    for candidate in FRONT:
        if candidate.change(tokens) <= most:
            yield Settings(**candidate.settings)


def _taken(
    settings: Settings, shape: UnetShape, passes: Passes, costs: MachineCosts | None
) -> float:
    """Seconds of all passes, or operations where the machine was not measured."""
    cost, seconds = NO_COST, NO_SECONDS
    for name, width, height, moments in passes:
        here = [dataclasses.replace(moment, pass_name=name) for moment in moments]
        if costs is None:
            cost += estimate(settings, shape, width, height, here)
        else:
            seconds += estimate_seconds(settings, shape, costs, width, height, here)
    return cost.left if costs is None else seconds.left

"""One control that chooses: settings for a wish, by what they change and by what they take here.

What settings change is known from the study (docs/effects/sleep.csv), and is the same everywhere.
What they take is not: it follows from the U-Net, the sizes, the steps and the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..settings.methods import DEEP, NEAR_SIGHTED, NO_METHOD, SLOTHFUL
from ..settings.parameter import SettingsError, echo
from ..settings.settings import Settings
from .cost import NO_COST, UnetShape, estimate
from .moment import Moment
from .seconds import NO_SECONDS, MachineCosts, estimate_seconds

OFF, GENTLE, BALANCED, STRONG, CUSTOM = LEVELS = ("off", "gentle", "balanced", "strong", "custom")
"""The wishes. "custom" is none: what was set stays."""

MOST_CHANGE = {GENTLE: 0.3, BALANCED: 0.6, STRONG: 1.2}
"""How much a wish lets an image change, relative to what half as many steps do to it."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Settings that the study has looked at, and how much they change an image, relative to what
    half as many steps do to it: the larger of what was seen on two models.
    """

    change: float
    settings: Mapping[str, Any]


def _asleep(change: float, every: float, **others: Any) -> Candidate:
    return Candidate(change, {"method": NO_METHOD, "sleep": DEEP, "sleep_every": every, **others})


FRONT = (
    _asleep(0.24, 2),
    _asleep(0.55, 3),
    _asleep(0.57, 2, method=SLOTHFUL),
    _asleep(0.83, 3, method=SLOTHFUL),
    _asleep(1.07, 3, method=SLOTHFUL, sleep_first=0.0),
    _asleep(1.12, 3, method=NEAR_SIGHTED, sleep_first=0.0),
    _asleep(1.18, 4, sleep_first=0.1),
)
"""Those that no other one beats at both, from the gentlest on. Changes are from
docs/effects/sleep.csv: Euler, 20 steps, 24 images a model.
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
    for settings in sorted(_allowed(level, shape), key=lambda each: each.method != NO_METHOD):
        part = 0.0 if settings.method == NO_METHOD else WORTH if costs else WORTH_A_METHOD
        taken = _taken(settings, shape, passes, costs)
        if taken + part * whole < least:
            best, least = settings, taken
    return best


def _allowed(level: str, shape: UnetShape) -> Iterator[Settings]:
    for candidate in FRONT:
        if candidate.change <= MOST_CHANGE[level] and shape.deep:
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

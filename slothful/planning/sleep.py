"""Sleep: in which steps of a pass a part of the U-Net is computed, and in which it gives what it
gave before. Pure numbers, so that it can be drawn and counted before an image is made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from ..settings.methods import ASLEEP, AWAKE, COMPUTED, DEEP, WHOLE
from ..settings.parameter import SettingsError
from ..settings.settings import Settings
from .limits import skipped
from .moment import Moment
from .schedule import time_ratio
from .site import Site

_DUE = 1.0 - 1e-9
"""Of an interval; shares such as three thirds do not sum up to one exactly."""


def site_asleep_since(settings: Settings, moment: Moment, site: Site) -> int | None:
    """The step since which a site sleeps at a moment, None where it is awake."""
    if settings.sleep == DEEP and site.inside < settings.sleep_awake_blocks:
        return None
    return asleep_since(settings, moment, weight_of(settings, [site]))


def weight_of(settings: Settings, sites: Sequence[Site]) -> float:
    """How much longer or shorter than others a part sleeps, by the weight of its block, >= 0; parts
    of many blocks sleep as one.
    """
    if settings.sleep in (DEEP, WHOLE):
        return 1.0
    block = sites[0]
    return 0.0 if skipped(settings, block) else settings.block_weights.get(block.name, 1.0)


def is_wanted(settings: Settings, moment: Moment, weight: float = 1.0) -> bool:
    """Whether a later step gives again, or forecasts from, what is computed in this one."""
    later = pass_steps(settings, moment, weight)[moment.index + 1 :]
    return not all(later[:1] if settings.sleep_forecast == "last" else later)


def asleep_since(settings: Settings, moment: Moment, weight: float = 1.0) -> int | None:
    """The step in which what sleeps at a moment was last awake, None where it is awake now."""
    if pass_steps(settings, moment, weight)[moment.index]:
        return None
    return awake_before(settings, moment, weight)


def awake_before(settings: Settings, moment: Moment, weight: float = 1.0) -> int:
    """The last step before that of a moment that is awake; of the first step, itself."""
    return _last_before(moment, pass_steps(settings, moment, weight))


def pass_steps(settings: Settings, moment: Moment, weight: float = 1.0) -> tuple[bool, ...]:
    """Which steps of the pass of a moment are awake, at least up to the one after the moment's own.

    Where the steps of a pass are not known beforehand, it is decided as if all of them were at the
    time of this one. A step in which the negative side wakes is awake if that side slept in the
    last one that was: nobody knows what the negative rows would have given there.
    """
    if settings.sleep == AWAKE:
        return (True,) * _count(moment)
    own = {"hires": settings.sleep_every_hires, "img2img": settings.sleep_every_img2img}
    every = own.get(moment.pass_name, 0.0) or settings.sleep_every
    curve = settings.sleep_peak_time, settings.sleep_time_decay
    ends = settings.sleep_first, settings.sleep_last
    steps = _scheduled(settings, moment, every, ends, weight, curve)
    return _with_halves(steps, negative_steps(settings, moment))


def negative_asleep_since(settings: Settings, moment: Moment) -> int | None:
    """The step in which the negative side that sleeps at a moment was last awake, None where it is
    awake now.
    """
    asleep = not negative_steps(settings, moment)[moment.index]
    return negative_awake_before(settings, moment) if asleep else None


def negative_awake_before(settings: Settings, moment: Moment) -> int:
    """The last step before that of a moment in which the negative side is awake; of the first step,
    itself.
    """
    return _last_before(moment, negative_steps(settings, moment))


def negative_steps(settings: Settings, moment: Moment) -> tuple[bool, ...]:
    """In which steps of the pass of a moment the negative side is computed; see `pass_steps`."""
    if settings.negative == COMPUTED:
        return (True,) * _count(moment)
    ends = settings.negative_first, settings.negative_last
    if settings.negative != ASLEEP:
        return _at_ends(moment, ends)
    return _scheduled(settings, moment, settings.negative_every, ends)


def agents_asleep_since(settings: Settings, moment: Moment) -> int | None:
    """The step in which agents that repeat at a moment what they saw last looked at the image, None
    where they look now.
    """
    return (
        None
        if _agent_steps(settings, moment)[moment.index]
        else agents_awake_before(settings, moment)
    )


def agents_awake_before(settings: Settings, moment: Moment) -> int:
    """The last step before that of a moment in which agents look; of the first step, itself."""
    return _last_before(moment, _agent_steps(settings, moment))


def _agent_steps(settings: Settings, moment: Moment) -> tuple[bool, ...]:
    return _scheduled(settings, moment, settings.agent_every, (0.0, 0.0))


def _scheduled(
    settings: Settings,
    moment: Moment,
    every: float,
    ends: tuple[float, float],
    weight: float = 1.0,
    curve: tuple[float, float] = (0.0, 0.0),
) -> tuple[bool, ...]:
    """Which steps are awake of what is awake every so many, and always in the shares at both `ends`
    of a pass.
    """
    count, (first, last) = _count(moment), ends
    if is_short(settings, moment):
        return (True,) * count
    if moment.times:
        always = max(_steps_of(first, count), 1), _steps_of(last, count)
        return awake_steps(_intervals(every, weight, curve, moment.times), *always)
    if not first <= moment.time < 1.0 - last:
        return (True,) * count
    return awake_steps(_intervals(every, weight, curve, (moment.time,) * count))


def _at_ends(moment: Moment, ends: tuple[float, float]) -> tuple[bool, ...]:
    """Which steps are in the shares at both `ends` of a pass, however few there are."""
    count, (first, last) = _count(moment), ends
    if not moment.times:
        return (moment.time < first or moment.time > 1.0 - last,) * count
    begin, end = _steps_of(first, count), count - _steps_of(last, count)
    return tuple(index < begin or index >= end for index in range(count))


@functools.lru_cache(maxsize=256)
def _with_halves(steps: tuple[bool, ...], both: tuple[bool, ...]) -> tuple[bool, ...]:
    """The awake ones of `steps`, where in `both` of them both sides are computed."""
    found, known = [], True
    for planned, whole in zip(steps, both):
        awake = planned or (whole and not known)
        known = whole if awake else known
        found.append(awake)
    return tuple(found)


def _last_before(moment: Moment, steps: Sequence[bool]) -> int:
    """The last of the awake `steps` before that of a moment; 0 if there is none."""
    return max((index for index in range(moment.index) if steps[index]), default=0)


def _count(moment: Moment) -> int:
    """Steps of a pass, as far as they are known."""
    return len(moment.times) or moment.index + 2


def check_awake_blocks(settings: Settings, most: int) -> None:
    """Raises `SettingsError` where so many blocks are to stay awake that none is left to sleep;
    `most`: as many as a model can have awake.
    """
    awake = settings.sleep_awake_blocks
    if settings.sleep == DEEP and awake > most:
        raise SettingsError(
            f"sleep_awake_blocks must be between 1 and {most} for this model, got {awake}"
        )


def is_measured(settings: Settings) -> bool:
    """Whether steps that the schedule lets sleep may be computed all the same, for what changes is
    measured.
    """
    return settings.sleep in (DEEP, WHOLE) and settings.sleep_threshold > 0


def is_short(settings: Settings, moment: Moment) -> bool:
    """Whether the pass of a moment has too few steps to sleep. A pass that begins inside the
    schedule of noise has as many as its part of it asks for.
    """
    times = moment.times
    return bool(times) and len(times) < settings.sleep_min_steps * (1.0 - times[0])


def _steps_of(share: float, count: int) -> int:
    """A share of the steps of a pass, in whole steps."""
    return math.ceil(share * count - 1e-9)


@functools.lru_cache(maxsize=256)
def _intervals(
    every: float, weight: float, curve: tuple[float, float], times: tuple[float, ...]
) -> tuple[float, ...]:
    return tuple(1.0 + (every - 1.0) * weight * time_ratio(time, *curve) for time in times)


@functools.lru_cache(maxsize=256)
def awake_steps(intervals: tuple[float, ...], first: int = 1, last: int = 0) -> tuple[bool, ...]:
    """Which steps of a pass are awake.

    `intervals`: for each step, how many steps one awake step serves there, >= 1; where it is no
    whole number, longer and shorter ones take turns (2.5: 3, 2, 3, 2). The `first` and the `last`
    steps are awake in any case.
    """
    steps, share = [], 1.0
    for index, interval in enumerate(intervals):
        always = index < first or index >= len(intervals) - last
        awake = always or share >= _DUE
        steps.append(awake)
        share = (0.0 if always else share - awake) + 1.0 / interval
    return tuple(steps)

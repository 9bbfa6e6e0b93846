"""When a call of the U-Net happens, and over what."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..settings.settings import Settings
from .schedule import noise_level_time

SAME_TIME = 0.01
"""Timesteps that are so near are one: hosts compute them in more than one way."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """When a U-Net call happens.

    `timestep` is what the U-Net received (0..1000), `time` the position on the chosen time axis
    (0..1), `step` the count of different timesteps seen in this pass before this one, `pass_name`
    the pass: "base", "img2img" or "hires". `size` is the (width, height) of the image in pixels;
    where it is not known, no limit of size is met. `times` are the times of all steps of the pass
    and `index` that of the step that the call belongs to; where the steps are not known beforehand,
    `times` is empty and `index` counts.
    """

    timestep: float
    time: float
    step: int = 0
    pass_name: str = "base"
    size: tuple[int, int] | None = None
    times: tuple[float, ...] = ()
    index: int = 0


@dataclasses.dataclass(frozen=True)
class PassClock:
    """Progress through one sampling pass, in [0, 1], from the timesteps of its schedule.

    `timesteps` are the (descending) timesteps at which the pass calls the model, one a step. The
    progress is read off this schedule and never counted in calls, because samplers call the model
    once or twice a step and some (Restart, DPM fast) go back.
    """

    timesteps: Sequence[float]

    def index(self, timestep: float, within: float = SAME_TIME) -> int:
        """The step that a timestep belongs to, from 0: the nearest one if it lies `within` so many
        timesteps, else the last that has begun by then.
        """
        away = [abs(step - timestep) for step in self.timesteps]
        if min(away) <= within:
            return max(index for index, each in enumerate(away) if each == min(away))
        begun = sum(step >= timestep for step in self.timesteps)
        return max(begun - 1, 0)

    def progress(self, timestep: float) -> float:
        """0 at the schedule's first timestep, 1 at its last, linear in steps between.

        A schedule of one step is all start: 0.
        """
        steps = sorted(self.timesteps, reverse=True)
        if timestep >= steps[0] or len(steps) == 1:
            return 0.0
        for index, (before, after) in enumerate(zip(steps, steps[1:])):
            if timestep >= after:
                part = (before - timestep) / (before - after) if before > after else 0.0
                return (index + part) / (len(steps) - 1)
        return 1.0


def pass_moments(
    settings: Settings, timesteps: Sequence[float], name: str, size: tuple[int, int]
) -> list[Moment]:
    """One for each step of a pass with these timesteps, descending; `size` is (width, height) in
    pixels.
    """
    by_noise = settings.time_axis == "noise level"
    times = tuple(map(noise_level_time if by_noise else PassClock(timesteps).progress, timesteps))
    return [
        Moment(timestep, times[step], step, name, size, times, step)
        for step, timestep in enumerate(timesteps)
    ]

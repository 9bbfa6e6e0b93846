"""The schedule: how strong the effect is at a time and a depth. Plain numbers, no tensors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

TRAIN_STEPS = 1000
"""Length of the noise schedule that Stable Diffusion models were trained on."""


def noise_level_time(timestep: float) -> float:
    """Time in [0, 1] of a timestep in [0, 1000]: 0 is pure noise, 1 is the clean picture."""
    return min(max(1.0 - timestep / TRAIN_STEPS, 0.0), 1.0)


def time_ratio(time: float, peak_time: float, time_decay: float) -> float:
    """Share of the full effect at a time, in (0, 1]: a Gaussian bump around `peak_time`.

    `time_decay` = 0 gives 1 everywhere. Source: the ComfyUI original's schedule.
    """
    return math.exp(-(((time - peak_time) * time_decay) ** 2))


def depth_ratio(depth: float, depth_decay: float) -> float:
    """Share of the full effect at a depth (1 = finest self-attention, 2, 4, 8), in (0, 1]."""
    return depth**-depth_decay


def lerp(start: float, end: float, ratio: float) -> float:
    """Linear interpolation: `start` at ratio 0, `end` at ratio 1, both exactly."""
    return end if ratio == 1 else start + (end - start) * ratio


@dataclasses.dataclass(frozen=True)
class PassClock:
    """Progress through one sampling pass, in [0, 1], from the timesteps of its schedule.

    `timesteps` are the (descending) timesteps at which the pass calls the model, one a step. The
    progress is read off this schedule and never counted in calls, because samplers call the model
    once or twice a step and some (Restart, DPM fast) go back.
    """

    timesteps: Sequence[float]

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


@dataclasses.dataclass(frozen=True)
class Moment:
    """When a U-Net call happens.

    `timestep` is what the U-Net received (0..1000), `time` the position on the chosen time axis
    (0..1), `step` the count of different timesteps seen in this pass before this one, `pass_name`
    the pass: "base", "img2img" or "hires".
    """

    timestep: float
    time: float
    step: int = 0
    pass_name: str = "base"

"""The schedule: how strong the effect is at a time and a depth. Plain numbers, no tensors."""

from __future__ import annotations

import math

TRAIN_STEPS = 1000
"""Length of the noise schedule that Stable Diffusion models were trained on."""


def noise_level_time(timestep: float) -> float:
    """Time in [0, 1] of a timestep in [0, 1000]: 0 is pure noise, 1 is the clean image."""
    return min(max(1.0 - timestep / TRAIN_STEPS, 0.0), 1.0)


def time_ratio(time: float, peak_time: float, time_decay: float) -> float:
    """Share of the full effect at a time, in (0, 1]: a Gaussian bump around `peak_time`.

    `time_decay` = 0 gives 1 everywhere. Source: the original's schedule (MitoshiroPJ).
    """
    return math.exp(-(((time - peak_time) * time_decay) ** 2))


def depth_ratio(depth: float, depth_decay: float) -> float:
    """Share of the full effect at a depth (1 = finest self-attention, 2, 4, 8), in (0, 1]."""
    ratio: float = depth**-depth_decay
    return ratio


def lerp(start: float, end: float, ratio: float) -> float:
    """Linear interpolation: `start` at ratio 0, `end` at ratio 1, both exactly."""
    return end if ratio == 1 else start + (end - start) * ratio

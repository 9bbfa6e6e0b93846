"""The method, and the parameters of when and where it is strongest."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import (
    DOWNSAMPLING,
    KEPT,
    METHODS,
    ROUNDINGS,
    SCHEDULED,
    SLOTHFUL,
    SUBSAMPLING,
    TIME_AXES,
)
from .parameter import param

_TIMED: dict[str, Any] = dict(group="schedule", methods=SCHEDULED)
_DECAYS = ("time_decay",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleParameters:
    """Fields of `Settings`."""

    method: str = param(
        SLOTHFUL,
        "Method",
        "Slothful Attention reduces keys and values, Near-sighted Tile splits the queries into "
        "tiles, Near-sighted Attention does both; the others are HyperTile, ToMe and ToDo.",
        group="main",
        choices=METHODS,
    )
    peak_time: float = param(
        0.4,
        "Peak time",
        "When the effect is strongest: 0 is pure noise (start), 1 is the clean picture (end).",
        range=(0, 1),
        step=0.05,
        needs=_DECAYS,
        **_TIMED,
    )
    time_decay: float = param(
        2.0,
        "Time decay",
        "How fast the effect fades away from the peak; 0 keeps it constant.",
        range=(0, 4),
        step=0.1,
        **_TIMED,
    )
    time_axis: str = param(
        "noise level",
        "Time axis",
        "Noise level measures the noise in the latent; pass progress runs from 0 to 1 over each "
        "pass, so that img2img and hires passes get the whole schedule.",
        choices=TIME_AXES,
        needs=_DECAYS,
        **_TIMED,
    )
    keep_middle: bool = param(
        True,
        "Keep the middle block",
        "Leave the middle block alone; it decides the composition.",
        group="schedule",
    )
    rounding: str = param(
        "stride",
        "Rounding",
        "Stride rounds the cells to whole tokens, as the original does; smooth lets the number "
        "of cells follow the strength closely.",
        group="schedule",
        choices=ROUNDINGS,
        needs=(
            "in_slothful>0.5",
            "out_slothful>0.5",
            "global_ratio",
            "base_global_ratio",
            "peak_global_ratio",
        ),
        methods=SUBSAMPLING,
    )
    kept_token: str = param(
        "merged",
        "Kept token",
        "Which token of a cell is kept where nothing is pooled: always the first, one that moves "
        "from step to step (jittered), or such a one that stands for all tokens that are most "
        "like it and weighs as much as they do (merged: nearest to the picture without it).",
        group="schedule",
        choices=KEPT,
        needs=(
            "in_k_blend<1",
            "in_v_blend<1",
            "out_k_blend<1",
            "out_v_blend<1",
            "global_ratio",
            "base_global_ratio",
            "peak_global_ratio",
            "downsample_mode=nearest",
        ),
        methods=(*SUBSAMPLING, DOWNSAMPLING),
    )

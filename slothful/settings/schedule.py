"""The method, and the parameters of when and where it is strongest."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import (
    AGENTS,
    DOWNSAMPLING,
    KEPT,
    METHODS,
    NO_METHOD,
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
        "Slothful Attention uses fewer keys and values, Near-sighted Tile splits the image into "
        "tiles, Near-sighted Attention does both. Plain Tiles, Token Merging and Token "
        "Downsampling are HyperTile, ToMe and ToDo. Agent Attention is for study: a few agents "
        "look at the image for all tokens. With under half of the arithmetic, the U-Net's output "
        "is off by 3.9 %, with Slothful Attention by 1.4 %.",
        brief="What is made cheaper: keys and values, tiles of the image, or both.",
        group="main",
        choices=(*METHODS, NO_METHOD),
    )
    peak_time: float = param(
        0.4,
        "Peak time",
        "When the effect is strongest: 0 is pure noise (start), 1 is the finished image (end).",
        brief="When it is strongest: 0 is pure noise, 1 the finished image.",
        range=(0, 1),
        step=0.05,
        needs=_DECAYS,
        **_TIMED,
    )
    time_decay: float = param(
        2.0,
        "Time decay",
        "How quickly the effect fades before and after the peak; 0 keeps it constant.",
        range=(0, 4),
        step=0.1,
        **_TIMED,
    )
    time_axis: str = param(
        "noise level",
        "Time axis",
        "noise level: time follows the noise that is left in the latent. pass progress: time runs "
        "from 0 to 1 in each pass, so that img2img and hires passes get the whole schedule.",
        brief="What time means: the noise that is left, or the progress of a pass.",
        choices=TIME_AXES,
        needs=_DECAYS,
        **_TIMED,
    )
    keep_middle: bool = param(
        True,
        "Skip the middle block",
        "Skip the middle block, which decides the composition.",
        group="limits",
    )
    rounding: str = param(
        "stride",
        "Rounding",
        "stride: rounds the cells to whole tokens, as the original does. smooth: the number of "
        "cells follows the strength closely.",
        brief="Whether cells are rounded to whole tokens.",
        group="kept",
        choices=ROUNDINGS,
        needs=(
            "in_slothful>0.5",
            "out_slothful>0.5",
            "global_ratio",
            "base_global_ratio",
            "peak_global_ratio",
        ),
        methods=(*SUBSAMPLING, AGENTS),
    )
    kept_token: str = param(
        "merged",
        "Kept token",
        "Which token of a cell is kept when nothing is pooled. first: always the same one. "
        "jittered: a different one at each step. merged: like jittered, but it represents all "
        "similar tokens and carries their combined weight; stays closest to the original image.",
        brief="Which token of a cell is kept where nothing is pooled.",
        group="kept",
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

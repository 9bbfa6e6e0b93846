"""The parameters of fewer channels: in how many of them queries and keys are compared."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import COMPARING
from .parameter import param

_STUDY = (
    " For study: with three quarters at all levels, 3 % of self-attention's arithmetic are saved "
    "and the U-Net's output is off by 0.5 %; Token Merging saves 20 % at 0.3 %."
)


def _share(label: str, which: str, more: str = "") -> Any:
    return param(
        1.0,
        label,
        f"Share of the channels in which queries and keys are compared at the peak, {which}; 1 "
        f"compares all of them.{more}",
        brief=f"Share of the channels that are compared {which}; 1 is all.",
        range=(0.05, 1),
        step=0.05,
        group="channels",
        methods=COMPARING,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChannelParameters:
    """Fields of `Settings`."""

    channels_depth_1: float = _share("Channels at depth 1", "at the finest level", _STUDY)
    channels_depth_2: float = _share("Channels at depth 2", "at the next level")
    channels_depth_3: float = _share("Channels at depth 3", "at all deeper levels")

"""The parameters of token downsampling, under the names that ToDo has for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import DOWNSAMPLERS, DOWNSAMPLING
from .parameter import param

_SAMPLES: dict[str, Any] = dict(group="downsampling", methods=(DOWNSAMPLING,))


def _factor(default: float, label: str, which: str, **others: Any) -> Any:
    return param(
        default,
        label,
        f"Keys and values {which} are reduced by this factor along each side at the peak; 1 keeps "
        "all of them.",
        brief=f"Fewer keys and values {which}, by this factor along each side.",
        range=(1, 10),
        step=0.1,
        **_SAMPLES,
        **others,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DownsamplingParameters:
    """Fields of `Settings`."""

    downsample_mode: str = param(
        "nearest",
        "Downsampling",
        "nearest: keeps one token of each cell. area: takes the average of the cell.",
        choices=DOWNSAMPLERS,
        needs=(
            "downsample_depth_1>1",
            "downsample_depth_2>1",
            "downsample_depth_3>1",
            "block_weights>1",
        ),
        **_SAMPLES,
    )
    downsample_depth_1: float = _factor(
        2.0, "Factor at depth 1", "at the finest level", is_strength=True
    )
    downsample_depth_2: float = _factor(1.0, "Factor at depth 2", "at the next level")
    downsample_depth_3: float = _factor(1.0, "Factor at depth 3", "at all deeper levels")

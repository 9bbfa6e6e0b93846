"""The parameters of where nothing is changed: passes, sizes, single blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .methods import PASSES
from .parameter import param

_PIXELS: dict[str, Any] = dict(group="sizes", range=(0, 2048), step=64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimitParameters:
    """Fields of `Settings`."""

    passes: str = param(
        "both",
        "Passes",
        "Apply in the base pass (txt2img, img2img), in the hires pass, or in both.",
        group="limits",
        choices=PASSES,
    )
    min_size: int = param(
        0,
        "Minimum shorter side",
        "Skip images whose shorter side is below this many pixels; 0 never skips.",
        group="limits",
        range=(0, 2048),
        step=64,
    )
    min_width: int = param(
        0,
        "Minimum width",
        "Skip images whose width is below this many pixels; 0 never skips.",
        **_PIXELS,
    )
    min_height: int = param(
        0,
        "Minimum height",
        "Skip images whose height is below this many pixels; 0 never skips.",
        **_PIXELS,
    )
    only_where_it_pays: bool = param(
        False,
        "Only where it is faster",
        "Skip blocks where the method would take more time than it saves, as on small images.",
        brief="Skip blocks where the method would take longer than it saves.",
        group="limits",
    )
    block_weights: Mapping[str, float] = param(
        {},
        "Block weights",
        "Multiplies the strength in individual blocks; 0 skips a block, whatever the method.",
        group="blocks",
        range=(0, 2),
        step=0.05,
    )

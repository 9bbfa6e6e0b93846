"""The parameters of where nothing is changed: passes, sizes, single blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .methods import PASSES
from .parameter import param

_PIXELS: dict[str, Any] = dict(group="limits", range=(0, 2048), step=64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimitParameters:
    """Fields of `Settings`."""

    passes: str = param(
        "both",
        "Passes",
        "Act in the base pass (txt2img, img2img), in the hires pass, or in both.",
        group="limits",
        choices=PASSES,
    )
    min_size: int = param(
        0,
        "Smallest side",
        "Leave pictures alone whose shorter side has fewer pixels than this; 0 acts on all.",
        group="limits",
        range=(0, 2048),
        step=64,
    )
    min_width: int = param(
        0,
        "Smallest width",
        "Leave pictures alone that are narrower than so many pixels; 0 acts on all.",
        **_PIXELS,
    )
    min_height: int = param(
        0,
        "Smallest height",
        "Leave pictures alone that are lower than so many pixels; 0 acts on all.",
        **_PIXELS,
    )
    only_where_it_pays: bool = param(
        False,
        "Only where it pays",
        "Leave blocks alone where the method would cost more time than it saves, as on small "
        "pictures.",
        group="limits",
    )
    block_weights: Mapping[str, float] = param(
        {},
        "Block weights",
        "Multiplies the strength of single blocks; 0 leaves a block alone in every method.",
        group="blocks",
        range=(0, 2),
        step=0.05,
    )

"""The parameters of Slothful and Near-sighted Attention, and those that all methods share.

Names and defaults follow the method's ComfyUI original (MitoshiroPJ, Slothful Attention).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from slothful.methods import (
    METHODS,
    MODES,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    PASSES,
    PLAIN_TILES,
    POOLING,
    ROUNDINGS,
    SCHEDULED,
    SHIFTS,
    SLOTHFUL,
    SUBSAMPLING,
    TILING,
    TIME_AXES,
)
from slothful.parameters import param

_TIMED = dict(group="schedule", methods=SCHEDULED)
_TILE = dict(group="tiling", range=(16, 64), step=2)
_RATIO = dict(group="tiling", range=(0, 1), step=0.1)
_DECAYS = ("time_decay",)
_STEADY = dict(methods=(NEAR_SIGHTED_TILE,))
_VARYING = dict(methods=(NEAR_SIGHTED,))


def _sides(side: str, blocks: str, slothful: float) -> dict[str, Any]:
    """The parameters that exist once for the input blocks and once for the output blocks."""
    options = dict(group=side, methods=POOLING)
    # a block's weight can double the strength, and above 1 it reduces
    strong = dict(needs=(f"{side}_slothful>0.5",), **options)
    return {
        "mode": param(
            "2D_AVG",
            f"{blocks}: mode",
            "How a cell of tokens is pooled: average, maximum, its strongest token (NORM) or the "
            "average of those like it (SIM), over a rectangle (2D) or over consecutive tokens in "
            "row order (1D).",
            choices=MODES,
            needs=(f"{side}_k_blend", f"{side}_v_blend"),
            idle="Only 1D or 2D matters while {reason}.",
            **options,
        ),
        "depth_decay": param(
            2.0,
            f"{blocks}: depth decay",
            "How much weaker the effect is in deeper blocks; 0 acts on all levels alike, "
            "large values keep the composition.",
            range=(0, 4),
            step=0.1,
            **strong,
        ),
        "slothful": param(
            slothful,
            f"{blocks}: strength",
            "How many tokens share one key and value at the peak; 1 or less does nothing.",
            range=(0, 50),
            step=0.5,
            **options,
        ),
        "k_blend": param(
            0.0,
            f"{blocks}: key blend",
            "0 keeps one token of each cell as the key (see kept token), 1 pools the whole cell.",
            range=(0, 1),
            step=0.05,
            **strong,
        ),
        "v_blend": param(
            0.0,
            f"{blocks}: value blend",
            "0 keeps one token of each cell as the value (see kept token), 1 pools the whole cell.",
            range=(0, 1),
            step=0.05,
            **strong,
        ),
    }


_IN = _sides("in", "Input blocks", 12.0)
_OUT = _sides("out", "Output blocks", 12.0)


@dataclasses.dataclass(frozen=True)
class OwnParameters:
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
    in_mode: str = _IN["mode"]
    in_depth_decay: float = _IN["depth_decay"]
    in_slothful: float = _IN["slothful"]
    in_k_blend: float = _IN["k_blend"]
    in_v_blend: float = _IN["v_blend"]
    out_mode: str = _OUT["mode"]
    out_depth_decay: float = _OUT["depth_decay"]
    out_slothful: float = _OUT["slothful"]
    out_k_blend: float = _OUT["k_blend"]
    out_v_blend: float = _OUT["v_blend"]
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
    tiling_max_depth: int = param(
        2,
        "Tile down to depth",
        "1 tiles only the finest self-attention, 2 also the next level, 3 the one after.",
        group="tiling",
        methods=TILING,
        range=(1, 3),
        step=1,
    )
    tile_size: int = param(
        16, "Tile size", "Largest side of a tile, in tokens.", **_TILE, **_STEADY
    )
    global_ratio: float = param(
        0.8,
        "Global ratio",
        "Keys from the rest of the picture, as dense as if the whole picture gave so many for each "
        "key of the tile; more keeps the picture consistent.",
        **_RATIO,
        **_STEADY,
    )
    base_tile_size: int = param(
        24,
        "Base tile size",
        "Tile size far from the peak time, in tokens.",
        needs=_DECAYS,
        **_TILE,
        **_VARYING,
    )
    peak_tile_size: int = param(
        32, "Peak tile size", "Tile size at the peak time, in tokens.", **_TILE, **_VARYING
    )
    base_global_ratio: float = param(
        0.2,
        "Base global ratio",
        "Global ratio far from the peak time.",
        needs=_DECAYS,
        **_RATIO,
        **_VARYING,
    )
    peak_global_ratio: float = param(
        0.8, "Peak global ratio", "Global ratio at the peak time.", **_RATIO, **_VARYING
    )
    tile_shift: str = param(
        "none",
        "Tile shift",
        "Move the tiles from step to step, so that seams do not sit still; costs some speed.",
        group="tiling",
        methods=(*TILING, PLAIN_TILES),
        choices=SHIFTS,
    )
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

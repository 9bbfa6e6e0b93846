"""The parameters of tiles, with keys of the whole image (Near-sighted) and without (HyperTile)."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import NEAR_SIGHTED, NEAR_SIGHTED_TILE, PLAIN_TILES, SHIFTS, TILING
from .parameter import param

_TILE: dict[str, Any] = dict(group="tiling", range=(16, 64), step=2)
_RATIO: dict[str, Any] = dict(group="tiling", range=(0, 1), step=0.1)
_DECAYS = ("time_decay",)
_STEADY: dict[str, Any] = dict(methods=(NEAR_SIGHTED_TILE,))
_VARYING: dict[str, Any] = dict(methods=(NEAR_SIGHTED,))
_PLAIN: dict[str, Any] = dict(group="tiling", methods=(PLAIN_TILES,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TileParameters:
    """Fields of `Settings`."""

    tiling_max_depth: int = param(
        2,
        "Tile down to depth",
        "1 tiles the finest level only, 2 also the next level, 3 also the one after that.",
        group="tiling",
        methods=TILING,
        range=(1, 3),
        step=1,
    )
    tile_size: int = param(
        16,
        "Tile size",
        "Maximum side length of a tile, in tokens.",
        is_strength=True,
        **_TILE,
        **_STEADY,
    )
    global_ratio: float = param(
        0.8,
        "Global ratio",
        "How much each tile sees of the rest of the image: the number of keys taken from the whole "
        "image, relative to the tile's own keys. Higher values keep the image coherent.",
        brief="How much each tile sees of the rest of the image.",
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
        "Move the tiles from step to step, so that seams do not stay in place; slightly slower.",
        brief="Move the tiles from step to step, so that no seams stay.",
        group="tiling",
        methods=(*TILING, PLAIN_TILES),
        choices=SHIFTS,
    )
    tile_halo: int = param(
        0,
        "Tile halo",
        "How many tokens a tile's own keys extend beyond its edges, which softens seams.",
        group="tiling",
        methods=(*TILING, PLAIN_TILES),
        range=(0, 16),
        step=1,
    )
    plain_tile_size: int = param(
        512,
        "Minimum tile size in pixels",
        "Minimum tile size at the peak, in pixels. A size that divides the image evenly is used "
        "where possible.",
        brief="Minimum tile size at the peak, in pixels.",
        range=(32, 1024),
        step=16,
        is_strength=True,
        **_PLAIN,
    )
    plain_scale_depth: bool = param(
        True,
        "Scale tiles with depth",
        "Enlarge the tiles (in tokens) in deeper blocks, in proportion to how coarse they are.",
        brief="Enlarge the tiles in deeper, coarser blocks.",
        needs=("plain_max_depth>1",),
        **_PLAIN,
    )
    plain_max_depth: int = param(
        4,
        "Plain tiles down to depth",
        "1 tiles the finest level only, 2 also the next level, up to 4 for all levels.",
        range=(1, 4),
        step=1,
        **_PLAIN,
    )
    plain_swap: int = param(
        3,
        "Tile sizes to swap",
        "Number of tile sizes to alternate between at random, one per step; 1 always uses the "
        "smallest.",
        brief="How many tile sizes alternate at random, one per step.",
        range=(1, 64),
        step=1,
        **_PLAIN,
    )

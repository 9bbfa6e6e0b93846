"""The methods: what each is made of, and the choices that their parameters have.

No method is an implementation of its own. Each is a reduction of keys and values, a tiling of
queries, a merge of tokens, or several of them, performed by the same hooks.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Method:
    """A method by its parts, in words; an empty text where it lacks the part."""

    name: str
    reduction: str = ""
    tiling: str = ""
    merge: str = ""


SLOTHFUL = "Slothful Attention"
NEAR_SIGHTED_TILE = "Near-sighted Tile"
NEAR_SIGHTED = "Near-sighted Attention"
PLAIN_TILES = "Plain Tiles"
TOKEN_MERGING = "Token Merging"
DOWNSAMPLING = "Token Downsampling"

METHOD_PARTS = (
    Method(
        SLOTHFUL,
        reduction="cells of `strength` tokens, one kept (for all that are like it) or pooled",
    ),
    Method(
        NEAR_SIGHTED_TILE,
        reduction="none within a tile; from the rest one token of each cell (for all like it)",
        tiling="tiles of at most `tile_size` tokens",
    ),
    Method(
        NEAR_SIGHTED,
        reduction="as Slothful Attention, within a tile and from the rest of the picture",
        tiling="as Near-sighted Tile, its size on the schedule",
    ),
    Method(PLAIN_TILES, tiling="tiles of at least `plain_tile_size` that divide the picture"),
    Method(TOKEN_MERGING, merge="the most similar tokens, before attention or for its keys alone"),
    Method(
        DOWNSAMPLING,
        reduction="cells of factor x factor tokens, one kept (for all like it) or the average",
    ),
)
METHODS = tuple(method.name for method in METHOD_PARTS)

POOLING = (SLOTHFUL, NEAR_SIGHTED)
"""The methods whose keys and values are pools, by the modes and blends."""

SUBSAMPLING = (SLOTHFUL, NEAR_SIGHTED_TILE, NEAR_SIGHTED)
"""The methods that keep tokens by the strides of a strength."""

TILING = (NEAR_SIGHTED_TILE, NEAR_SIGHTED)
"""The methods whose tiles also see the whole picture."""

SCHEDULED = tuple(name for name in METHODS if name != NEAR_SIGHTED_TILE)
"""The methods that follow a schedule over time."""

POOLS = ("AVG", "MAX", "NORM", "SIM")
MODES = tuple(f"{dimensions}_{pool}" for pool in POOLS for dimensions in ("1D", "2D"))
ROUNDINGS = ("stride", "smooth")
KEPT = ("first", "jittered", "merged")
SHIFTS = ("none", "random", "alternating")
TIME_AXES = ("noise level", "pass progress")
PASSES = ("both", "base", "hires")
DOWNSAMPLERS = ("nearest", "area")

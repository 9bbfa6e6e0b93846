"""How many tokens of a site merge, and before which of its parts."""

from __future__ import annotations

from ..settings.settings import Settings, merge_limit
from .counts import tokens_of
from .plan import Merge
from .site import Grid


def plan_merging(settings: Settings, grid: Grid, ratio: float, seed: int) -> Merge | None:
    """The merging of `ratio` of a grid's tokens, None where that is none of them.

    A ratio over the limit of the strides is clamped to it, as weights of blocks can lead there;
    strides that are longer than the grid are clamped to it.
    """
    if not (settings.merge_attention or settings.merge_cross or settings.merge_mlp):
        return None
    tokens = tokens_of(grid)
    stride = min(settings.merge_stride_y, grid[0]), min(settings.merge_stride_x, grid[1])
    destinations = (grid[0] // stride[0]) * (grid[1] // stride[1])
    # on a tiny grid there may be fewer others than destinations
    count = min(int(tokens * min(ratio, merge_limit(settings))), tokens - destinations)
    if count <= 0:
        return None
    return Merge(
        grid,
        count,
        stride,
        seed if settings.merge_random else None,
        settings.merge_attention,
        settings.merge_cross,
        settings.merge_mlp,
        settings.merge_keys_only,
        settings.merge_proportional,
    )

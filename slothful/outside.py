"""What a window sees of the rest of the grid: the cells that are not its own tokens again."""

from __future__ import annotations

import functools

import torch
from einops import rearrange

from slothful.pooling import kept_index
from slothful.reduction import Reduction
from slothful.tiling import AxisWindows, Tiling


# random shifts make new windows every step, so the cache is kept small
@functools.lru_cache(maxsize=64)
def outside_cells(reduction: Reduction, tiling: Tiling) -> torch.Tensor:
    """For each window the cells whose kept token it does not hold: (windows, count) int64, on the
    CPU, in row order.

    A token that is among a window's own keys would have two votes as a global key. The count is
    that of the window that has most outside; what others lack, cells of their own fill up.
    Source: this project.
    """
    kept = kept_index(reduction, torch.device("cpu"))
    width = tiling.columns.length
    in_rows, in_columns = _held(tiling.rows, kept // width), _held(tiling.columns, kept % width)
    held = rearrange(in_rows, "y k -> y 1 k") & rearrange(in_columns, "x k -> 1 x k")
    held = rearrange(held, "y x k -> (y x) k")
    count = int((~held).sum(dim=1).max())
    outside_first = held.int().argsort(dim=1, stable=True)
    return outside_first[:, :count].sort(dim=1).values


def _held(windows: AxisWindows, places: torch.Tensor) -> torch.Tensor:
    """Whether each window holds each place along its axis: (windows, places)."""
    starts = torch.tensor(windows.starts)[:, None]
    return (places >= starts) & (places < starts + windows.size)
